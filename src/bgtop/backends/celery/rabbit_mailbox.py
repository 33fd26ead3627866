"""The mailbox of Celery's workers on RabbitMQ: a fanout exchange, and a queue of our own.

The queue is exclusive and goes with our channel, so a late answer is dropped by the broker. It is
reached through the default exchange: nothing is declared or bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from bgtop.backends.celery.control import NAMESPACE, SECONDS, Command, Heard, answers_in
from bgtop.backends.rabbit_commands import Parcel, ask_around

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bgtop.backends.celery.control import Answer
    from bgtop.backends.rabbit_link import RabbitLink


class RabbitMailbox:
    """Implements :class:`bgtop.backends.celery.control.Mailbox`."""

    def __init__(
        self, link: RabbitLink, *, namespace: str = NAMESPACE, listeners: int | None = None
    ) -> None:
        """``listeners`` is how many workers have a mailbox, if that is known."""
        self._link = link
        self._exchange = f"{namespace}.pidbox"
        self._listeners = listeners

    def ask(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        nodes: Sequence[str] | None = None,
        seconds: float = SECONDS,
    ) -> Heard:
        """Send a command and wait for answers; raises :class:`bgtop.contracts.BackendError`."""
        message = Command(command, arguments, nodes, str(uuid4()), seconds)
        named = [] if nodes is None else [len(nodes)]
        known = [] if self._listeners is None else [self._listeners]
        enough = min(named + known, default=None)
        found: list[Answer] = []

        def parcel(queue: str) -> Parcel:
            return Parcel(message.headers, message.body("", queue))

        def take(body: bytes) -> bool:
            found.extend(answers_in(body))
            return enough is not None and len(found) >= enough

        if enough != 0:
            ask_around(self._link, self._exchange, parcel, take, seconds)
        return Heard(tuple(found), enough)


def mailboxes_of(link: RabbitLink, queues: Iterable[str] | None) -> list[RabbitMailbox]:
    """One for each namespace among these mailboxes; ``None`` where they cannot be listed."""
    if queues is None:
        return [RabbitMailbox(link)]
    counts: dict[str, int] = {}
    for queue in queues:
        namespace = queue.removesuffix(".pidbox").rpartition(".")[2]
        counts[namespace] = counts.get(namespace, 0) + 1
    return [
        RabbitMailbox(link, namespace=namespace, listeners=count)
        for namespace, count in (counts or {NAMESPACE: 0}).items()
    ]
