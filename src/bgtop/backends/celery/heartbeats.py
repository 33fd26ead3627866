"""Celery's workers, by the heartbeats they publish every two seconds even without ``-E``.

The channel is read inside each poll, from what the kernel and the server have kept meanwhile, and
not by a thread: nothing runs between polls, nothing needs a lock, and a thousand workers send some
2 MB in five seconds where the server keeps 8 MB for a minute. What is lost is the moment of
arrival; an event's own timestamp, held within the time since the last look, gives it back: exact
when the worker's clock is right, and never wrong by more than one interval when it is not.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.celery.wire import worker_events
from bgtop.backends.raw_names import text
from bgtop.contracts import BackendError
from bgtop.model import WorkerReading, WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bgtop.backends.celery.wire import WorkerEvent
    from bgtop.backends.redis_link import RedisSubscription

PATIENCE = 4.5
"""Seconds in which a live worker is heard: two of its heartbeats and a little more."""

FORGET_AFTER = 3600.0
"""Seconds after which a silent worker is dropped if the broker does not announce it either."""

MOST_WORKERS = 20_000

Node = tuple[bytes, str]
"""A worker: its application's key prefix and its node name."""


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

    def hear(self, prefix: bytes, event: WorkerEvent, *, since: float, now: float) -> None:
        """Fold one event, which arrived between ``since`` and ``now``."""
        node = (prefix, event.node)
        if event.kind == "offline":
            self._heard.pop(node, None)
            self._left.add(node)
            self.news += 1
            return
        self._left.discard(node)
        before = self._heard.get(node)
        if before is None and len(self._heard) >= MOST_WORKERS:
            return
        if before is None or before.event.kind != event.kind:
            self.news += 1
        if before is not None and event.active is None:
            # A heartbeat asked for by remote control counts nothing.
            known = before.event
            event = event._replace(active=known.active, processed=known.processed)
        said_at = now if event.timestamp is None else event.timestamp
        self._heard[node] = Heard(min(max(said_at, since), now), event)

    def announce(self, nodes: Mapping[bytes, Iterable[str]], now: float) -> None:
        """Note which workers have a mailbox; a killed one keeps it until the broker is tidied."""
        self._announced = frozenset((prefix, node) for prefix in nodes for node in nodes[prefix])
        # Who left and lost its mailbox may come back under the same name.
        self._left &= self._announced
        for node in [*self._heard]:
            if node not in self._announced and now - self._heard[node].at > FORGET_AFTER:
                del self._heard[node]

    def all_heard(self, since: float) -> bool:
        """Whether every announced worker spoke after ``since`` or left."""
        return all(
            node in self._left or (node in self._heard and self._heard[node].at >= since)
            for node in self._announced
        )

    def readings(self, silent: WorkerState) -> tuple[WorkerReading, ...]:
        """All workers by name; ``silent`` is the state of those announced and never heard."""
        several = len({prefix for prefix, _ in (*self._announced, *self._heard)}) > 1
        found = {}
        for node in (self._announced | self._heard.keys()) - self._left:
            name = text(node[0]) + node[1] if several else node[1]
            found[name] = self._reading(name, node, silent)
        return tuple(found[name] for name in sorted(found))

    def _reading(self, name: str, node: Node, silent: WorkerState) -> WorkerReading:
        host = node[1].partition("@")[2] or None
        heard = self._heard.get(node)
        if heard is None:
            return WorkerReading(name=name, state=silent, host=host)
        event = heard.event
        return WorkerReading(
            name=name,
            last_heartbeat_at=datetime.fromtimestamp(heard.at, timezone.utc),
            running=event.active,
            processed=event.processed,
            pid=event.pid,
            host=host,
            version=event.version and f"celery {event.version}",
        )


class Listener:
    """Keeps a subscription to the worker events of each key prefix, and the roster up to date."""

    def __init__(self, link: RedisSubscription, topic: bytes) -> None:
        self.roster = Roster()
        self.trouble: str | None = None
        """Why workers cannot be heard at present."""
        self._link = link
        self._topic = topic
        self._subscribed: set[bytes] = set()
        self._looked_at = 0.0
        self._began_at = 0.0
        self._began = 0.0

    def poll(self, prefixes: Iterable[bytes], *, now: float, tick: float) -> bool:
        """Fold what arrived since the last look; whether there is news of who is there.

        ``now`` is seconds since the epoch, ``tick`` a monotonic clock.
        """
        before = self.roster.news
        try:
            self._subscribe(prefixes, now, tick)
            for channel, payload in self._link.messages():
                prefix, found, _ = channel.rpartition(self._topic + b"/worker.")
                for event in worker_events(payload) if found else ():
                    self.roster.hear(prefix, event, since=self._looked_at, now=now)
        except BackendError as error:
            self.trouble = f"no heartbeats: {error}"
        self._looked_at = now
        return self.roster.news != before

    def _subscribe(self, prefixes: Iterable[bytes], now: float, tick: float) -> None:
        if not self._link.connected:
            self._subscribed.clear()
            self.trouble = None
            self._looked_at = self._began_at = now
            self._began = tick
        for prefix in prefixes:
            if prefix not in self._subscribed:
                self._subscribed.add(prefix)
                # A refusal is true, so this stops at the first pattern that is accepted.
                if all(self._link.subscribe(pattern) for pattern in self._patterns(prefix)):
                    self.trouble = "no heartbeats: the server does not let us subscribe to them"

    def _patterns(self, prefix: bytes) -> Iterator[bytes]:
        """The narrowest first; an ACL allows a pattern only if it was granted literally so."""
        literal = prefix + self._topic
        for special in (b"\\", b"*", b"?", b"["):
            literal = literal.replace(special, b"\\" + special)
        for ending in (b"/worker.*", b"/*", b"*"):
            yield literal + ending

    def is_sure(self, tick: float) -> bool:
        """Whether who is silent by now is not just about to speak."""
        if self.trouble is not None or self.roster.all_heard(self._began_at):
            return True
        return tick - self._began >= PATIENCE

    def workers(self, tick: float, dead_after: float) -> tuple[WorkerReading, ...]:
        """All workers; one that was never heard is dead after ``dead_after`` s of listening."""
        patient = self.trouble is None and tick - self._began >= dead_after
        return self.roster.readings(WorkerState.DEAD if patient else WorkerState.UNKNOWN)
