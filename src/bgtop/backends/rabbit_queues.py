"""Queues as RabbitMQ lists them, and which job system each one belongs to. Pure.

Facts from kombu 5.4-5.7, Celery 5.4-5.7, Dramatiq 1.17-2.2 and live brokers: Celery's workers own
exclusive queues ``<node>.celery.pidbox``, listeners to its events ``celeryev.<id>``; tasks that are
not yet due lie in ``celery_delayed_0`` to ``_27`` where its queues are quorum queues. With the
result backend ``rpc://`` each client has a queue for results, named by a UUID, with ``x-expires``
and not exclusive. Dramatiq declares ``Q``, ``Q.DQ`` (delayed) and ``Q.XQ`` (dead) together.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bgtop.backends.rabbit_watch import SeenQueue

CELERY: Final = "celery"
DRAMATIQ: Final = "dramatiq"
OWN: Final = "bgtop."
"""How the names of our own queues begin."""

DELAYED_ENDING: Final = ".DQ"
DEAD_ENDING: Final = ".XQ"

_MAILBOX = re.compile(r"(?s)(.+)\.[^.]+\.pidbox")
_RESULTS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DELAYED = re.compile(r"(?:.*_)?celery_delayed_\d{1,2}", re.DOTALL)
_LIVE_STATES = frozenset({"running", "idle", "flow"})


class ListedQueue(NamedTuple):
    """One row of the management API, checked."""

    name: str
    exclusive: bool = False
    """It belongs to one connection and is there exactly as long as that one."""
    dead_letters_to: str | None = None
    live: bool = True
    """Its node answers; a queue that is down cannot be asked."""
    ready: int | None = None
    unacked: int | None = None
    expires: bool = False
    """The broker deletes it when nobody has used it for a while."""

    @property
    def holds_results(self) -> bool:
        """Whether a client of Celery waits for results in it (``rpc://``): they are no tasks."""
        return self.expires and _RESULTS.fullmatch(self.name) is not None

    @property
    def readable(self) -> bool:
        """Whether its name is what the broker knows: the API puts a sign for what is no UTF-8."""
        return "\N{REPLACEMENT CHARACTER}" not in self.name

    @property
    def can_be_asked(self) -> bool:
        """Whether a passive declaration is answered; a refusal costs a line in the broker's log."""
        return self.live and self.readable and not self.exclusive


def listed_queue(row: Mapping[str, Any]) -> ListedQueue | None:
    """The row of one queue; ``None`` when it has no name. Wrong types count as not told."""
    name, arguments, state = (row.get(key) for key in ("name", "arguments", "state"))
    if not isinstance(name, str) or not name:
        return None
    arguments = arguments if isinstance(arguments, dict) else {}
    target = arguments.get("x-dead-letter-routing-key")
    return ListedQueue(
        name=name,
        exclusive=row.get("exclusive") is True,
        dead_letters_to=target if isinstance(target, str) else None,
        live=not isinstance(state, str) or state in _LIVE_STATES,
        ready=_count(row.get("messages_ready")),
        unacked=_count(row.get("messages_unacknowledged")),
        expires="x-expires" in arguments,
    )


def _count(value: object) -> int | None:
    known = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if known and isinstance(value, int) else None


def node_of(name: str) -> str | None:
    """The Celery node whose mailbox this queue is."""
    found = _MAILBOX.fullmatch(name)
    return None if found is None or found[1].endswith(".reply") else found[1]


def mailbox_of(node: str) -> str:
    """The queue a Celery node owns while it is connected."""
    return f"{node}.celery.pidbox"


def holds_delayed_tasks(name: str) -> bool:
    """Whether Celery keeps tasks in this queue until they are due."""
    return _DELAYED.fullmatch(name) is not None


def is_celerys_own(name: str) -> bool:
    """Whether Celery keeps this queue for itself: mailboxes, replies, events, delays."""
    return name.endswith(".pidbox") or name.startswith("celeryev.") or holds_delayed_tasks(name)


def is_brokers_own(queue: ListedQueue) -> bool:
    """Whether it is a client's for a while: replies, results, listeners, the broker's names."""
    return queue.exclusive or queue.holds_results or queue.name.startswith(("amq.", OWN))


def systems_of(queues: Iterable[ListedQueue]) -> dict[str, str | None]:
    """The job system each queue belongs to; ``None`` where nothing tells.

    A plain queue is Celery's when there is any sign of Celery in its vhost.
    """
    rows = [*queues]
    dramatiqs = {one for name in dramatiq_queues(rows) for one in with_its_shadows(name)}
    names = [queue.name for queue in rows]
    has_celery = any(is_celerys_own(name) or name == CELERY for name in names)
    found: dict[str, str | None] = {}
    for queue in rows:
        if queue.name in dramatiqs:
            found[queue.name] = DRAMATIQ
        elif is_celerys_own(queue.name) or (has_celery and not is_brokers_own(queue)):
            found[queue.name] = CELERY
        else:
            found[queue.name] = None
    return found


def dramatiq_queues(queues: Iterable[ListedQueue | SeenQueue]) -> list[str]:
    """Names of the queues that have the two others Dramatiq declares beside them."""
    by_name = {queue.name: queue for queue in queues}
    return [
        name
        for name, queue in by_name.items()
        if name + DELAYED_ENDING in by_name
        and name + DEAD_ENDING in by_name
        and queue.dead_letters_to in {name + DEAD_ENDING, None}
    ]


def with_its_shadows(name: str) -> tuple[str, str, str]:
    """A queue of Dramatiq, that of its delayed messages, and that of its dead ones."""
    return name, name + DELAYED_ENDING, name + DEAD_ENDING
