"""What changes seldom: the health of the nodes, and which connection consumes which queues.

Only users tagged ``monitoring`` may see it; others are told that the nodes may be unwell.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from bgtop.backends.rabbit_queues import node_of
from bgtop.contracts import BackendError, NotPermitted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bgtop.backends.rabbit_management import Management
    from bgtop.backends.rabbit_queues import ListedQueue

SECONDS_BETWEEN_LOOKS = 15.0
SECONDS_WHILE_CHANGING = 2.0
"""A worker that starts has its mailbox some seconds before it consumes anything."""

MOST_TOLD = 5

_ALARMS = {
    "mem_alarm": "is short of memory: publishers are blocked",
    "disk_free_alarm": "is short of disk space: publishers are blocked",
}


class Cluster:
    """Looks when it is time, and when a mailbox came or went."""

    def __init__(self, management: Management) -> None:
        self.warnings: tuple[str, ...] = ()
        self.served: Mapping[str, frozenset[str]] = {}
        """The queues of each connection, by the connection's name."""
        self._management = management
        self._sees_all = False
        self._next = float("-inf")
        self._changed_at = float("-inf")
        self._mailboxes: frozenset[str] = frozenset()

    def look(self, queues: Iterable[ListedQueue], tick: float) -> None:
        """Bring everything up to date if need be; never raises."""
        mailboxes = frozenset(queue.name for queue in queues if node_of(queue.name) is not None)
        changed = mailboxes != self._mailboxes
        if tick < self._next and not changed:
            return
        self._changed_at = tick if changed else self._changed_at
        changing = tick - self._changed_at < SECONDS_BETWEEN_LOOKS
        self._next = tick + (SECONDS_WHILE_CHANGING if changing else SECONDS_BETWEEN_LOOKS)
        self._mailboxes = mailboxes
        self.warnings = self._health()
        self.served = served(self._rows(self._management.consumers)) if mailboxes else {}

    def consumers(self) -> dict[str, int] | None:
        """How many consumers each queue has that has any; ``None`` when we may not see them all."""
        if not self._sees_all:
            return None
        try:
            return counted(self._management.consumers())
        except BackendError:
            return None

    def _health(self) -> tuple[str, ...]:
        try:
            nodes = self._management.nodes()
            self._sees_all = True
            return troubles(nodes)
        except NotPermitted as refusal:
            self._sees_all = False
            return (f"alarms of the nodes are unknown: {refusal}",)
        except BackendError:
            # The next question for queues says what is wrong with the API itself.
            return ()

    def _rows(self, ask: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        try:
            return ask()
        except BackendError:
            return []


def troubles(nodes: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """What is wrong with the nodes, in words."""
    found = []
    for node in nodes:
        name = str(node.get("name"))
        if node.get("running") is False:
            found.append(f"the node {name!r} is down")
        found += [f"the node {name!r} {words}" for key, words in _ALARMS.items() if node.get(key)]
        if node.get("partitions"):
            found.append(f"the node {name!r} sees a partition of its cluster")
    return tuple(found[:MOST_TOLD])


def served(consumers: Iterable[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """The queues each connection consumes; rows of another form are left out."""
    found: dict[str, set[str]] = {}
    for row in consumers:
        match row:
            case {"queue": {"name": str(queue)}, "channel_details": {"connection_name": str(name)}}:
                found.setdefault(name, set()).add(queue)
    return {name: frozenset(queues) for name, queues in found.items()}


def counted(consumers: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The number of consumers by queue; rows of another form are left out."""
    names = (row["queue"].get("name") for row in consumers if isinstance(row.get("queue"), dict))
    return dict(Counter(name for name in names if isinstance(name, str)))
