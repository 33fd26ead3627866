"""The mailbox of Celery's workers on RabbitMQ: a fanout exchange, and a queue of our own.

The queue is exclusive and goes with our channel, so a late answer is dropped by the broker. It is
reached through the default exchange: nothing is declared or bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from bgtop.backends.celery.control import NAMESPACE, Collected, Mailbox, answers_in
from bgtop.backends.rabbit_commands import Parcel, ask_around

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bgtop.backends.celery.control import Call, Heard
    from bgtop.backends.rabbit_link import RabbitLink


class RabbitMailbox(Mailbox):
    """The mailboxes of the workers of one vhost."""

    def __init__(
        self, link: RabbitLink, *, namespace: str = NAMESPACE, listeners: int | None = None
    ) -> None:
        """``listeners`` is how many workers have a mailbox, if that is known."""
        self._link = link
        self._exchange = f"{namespace}.pidbox"
        self._listeners = listeners

    @property
    def prefix(self) -> str:
        """There is none: a vhost is of one application."""
        return ""

    def ask_all(
        self, calls: Sequence[Call], *, nodes: Sequence[str] | None, seconds: float
    ) -> list[Heard]:
        """Send commands and wait for answers; raises :class:`bgtop.contracts.BackendError`."""
        found = Collected(calls, nodes, seconds, str(uuid4()))
        named = [] if nodes is None else [len(nodes)]
        known = [] if self._listeners is None else [self._listeners]
        enough = min(named + known, default=None)

        def parcels(queue: str) -> list[Parcel]:
            return [Parcel(one.headers, one.body("", queue)) for one in found.commands]

        def take(headers: Mapping[str, object], body: bytes) -> bool:
            found.add(headers.get("ticket"), answers_in(body))
            return found.by_all(enough)

        if enough != 0:
            ask_around(self._link, self._exchange, parcels, take, seconds)
        return found.heard(enough)


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
