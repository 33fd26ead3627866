"""Celery's workers by what was heard of them: a fold over events, whatever carries these."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.raw_names import text
from bgtop.model import WorkerReading, WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bgtop.backends.celery.wire import WorkerEvent

PATIENCE = 4.5
"""Seconds in which a live worker is heard: two of its heartbeats and a little more."""

FORGET_AFTER = 3600.0
"""Seconds after which a silent worker is dropped if the broker does not announce it either."""

MOST_WORKERS = 20_000

Node = tuple[bytes, str]
"""A worker: its application's key prefix (Redis only) and its node name."""


class Heard(NamedTuple):
    """The last a worker said; ``at`` is seconds since the epoch by our clock."""

    at: float
    event: WorkerEvent


class Roster:
    """Who was heard when: a fold over events, without any input or output."""

    def __init__(self) -> None:
        self.news = 0
        """Grows when a worker comes, leaves, or first beats after it said that it comes."""
        self._heard: dict[Node, Heard] = {}
        self._left: set[Node] = set()
        self._announced: frozenset[Node] = frozenset()
        self._had_mailbox: set[Node] = set()
        self._unboxed: set[Node] = set()
        self._lost: set[Node] = set()
        self._told: dict[Node, tuple[Heard | None, WorkerReading]] = {}
        """What the last readings were made of: many workers are silent between two looks."""

    def hear(self, prefix: bytes, event: WorkerEvent, *, since: float, now: float) -> None:
        """Fold one event, which arrived between ``since`` and ``now``."""
        node = (prefix, event.node)
        if event.kind == "offline":
            self._heard.pop(node, None)
            self._left.add(node)
            self.news += 1
            return
        self._left.discard(node)
        self._lost.discard(node)
        if event.kind == "online":
            # A heartbeat may be of before its end; this is of after it.
            self._unboxed.discard(node)
        before = self._heard.get(node)
        if before is None and len(self._heard) >= MOST_WORKERS:
            return
        if before is None or before.event.kind != event.kind:
            self.news += 1
        if before is not None and event.active is None:
            # A heartbeat asked for by remote control counts nothing.
            known = before.event
            event = event._replace(active=known.active, processed=known.processed, load=known.load)
        said_at = now if event.timestamp is None else event.timestamp
        self._heard[node] = Heard(min(max(said_at, since), now), event)

    def announce(
        self, nodes: Mapping[bytes, Iterable[str]], now: float, *, proof: bool = False
    ) -> None:
        """Note which workers have a mailbox.

        ``proof``: a mailbox is there exactly as long as its worker is connected. Elsewhere a killed
        worker keeps it until the broker is tidied.
        """
        self._announced = frozenset((prefix, node) for prefix in nodes for node in nodes[prefix])
        # Who left and lost its mailbox may come back under the same name.
        self._left &= self._announced
        for node in [*self._heard]:
            if node not in self._announced and now - self._heard[node].at > FORGET_AFTER:
                del self._heard[node]
        if proof:
            self._unboxed = (self._had_mailbox & self._heard.keys()) - self._announced
            self._had_mailbox = self._unboxed | self._announced

    def lose(self, node: Node) -> None:
        """Note that a silent worker has no mailbox any more."""
        self._lost.add(node)

    @property
    def anyone_announced(self) -> bool:
        """Whether any worker has a mailbox."""
        return bool(self._announced)

    def quiet(self, since: float) -> list[Node]:
        """Workers heard last before ``since`` of which nobody knows that they are gone."""
        return [
            node
            for node, heard in self._heard.items()
            if heard.at < since and not self._is_gone(node)
        ]

    def heard_after(self, node: Node, moment: float) -> bool:
        """Whether a worker spoke after ``moment``."""
        heard = self._heard.get(node)
        return heard is not None and heard.at > moment

    def _is_gone(self, node: Node) -> bool:
        return node in self._unboxed or node in self._lost

    def all_heard(self, since: float) -> bool:
        """Whether every announced worker spoke after ``since`` or left."""
        return all(
            node in self._left or (node in self._heard and self._heard[node].at >= since)
            for node in self._announced
        )

    def readings(
        self, silent: WorkerState, *, quiet_since: float | None = None
    ) -> tuple[WorkerReading, ...]:
        """All workers by name; ``silent`` is the state of those announced and never heard.

        Where a mailbox proves a connection, an announced worker that was last heard before
        ``quiet_since`` is there and does not speak: its state is unknown.
        """
        several = len({prefix for prefix, _ in (*self._announced, *self._heard)}) > 1
        before, self._told = self._told, {}
        found = {}
        for node in (self._announced | self._heard.keys()) - self._left:
            name = text(node[0]) + node[1] if several else node[1]
            heard = self._heard.get(node)
            state = self._state(node, heard, silent, quiet_since)
            told = before.get(node)
            if told is None or told[0] is not heard or not _is_told(told[1], name, state):
                told = heard, _reading(name, node, heard, state)
            self._told[node] = told
            found[name] = told[1]
        return tuple([found[name] for name in sorted(found)])

    def _state(
        self, node: Node, heard: Heard | None, silent: WorkerState, quiet_since: float | None
    ) -> WorkerState | None:
        """What is proven of it; ``None`` leaves the judgement to the time of its heartbeat."""
        if heard is None:
            return silent
        if quiet_since is not None and heard.at < quiet_since and node in self._announced:
            return WorkerState.UNKNOWN
        return WorkerState.DEAD if self._is_gone(node) else None


def _is_told(worker: WorkerReading, name: str, state: WorkerState | None) -> bool:
    return worker.state is state and worker.name == name


def _reading(
    name: str, node: Node, heard: Heard | None, state: WorkerState | None
) -> WorkerReading:
    host = node[1].partition("@")[2] or None
    if heard is None:
        return WorkerReading(name=name, state=state, host=host)
    event = heard.event
    return WorkerReading(
        name=name,
        state=state,
        last_heartbeat_at=datetime.fromtimestamp(heard.at, timezone.utc),
        running=event.active,
        processed=event.processed,
        pid=event.pid,
        host=host,
        version=event.version and f"celery {event.version}",
        load=event.load,
        platform=event.platform,
    )
