"""Celery's workers, by the heartbeats they publish every two seconds even without ``-E``.

The channel is read inside each poll, from what the kernel and the server have kept meanwhile, and
not by a thread: nothing runs between polls, nothing needs a lock, and a thousand workers send some
2 MB in five seconds where the server keeps 8 MB for a minute. What is lost is the moment of
arrival; an event's own timestamp, held within the time since the last look, gives it back: exact
when the worker's clock is right, and never wrong by more than one interval when it is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.backends.celery.roster import PATIENCE, Roster
from bgtop.backends.celery.wire import worker_events
from bgtop.contracts import BackendError
from bgtop.model import WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bgtop.backends.redis_link import RedisSubscription
    from bgtop.model import WorkerReading


def literally(channel: bytes) -> bytes:
    """The pattern that matches this text and nothing else."""
    for special in (b"\\", b"*", b"?", b"["):
        channel = channel.replace(special, b"\\" + special)
    return channel


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
                    self.trouble = (
                        "no heartbeats: the server does not let us subscribe to them (PSUBSCRIBE)"
                    )

    def _patterns(self, prefix: bytes) -> Iterator[bytes]:
        """The narrowest first; an ACL allows a pattern only if it was granted literally so."""
        literal = literally(prefix + self._topic)
        for ending in (b"/worker.*", b"/*", b"*"):
            yield literal + ending

    def is_sure(self, tick: float) -> bool:
        """Whether who is silent by now is not just about to speak."""
        if self.trouble is not None or tick - self._began >= PATIENCE:
            return True
        return self.roster.all_heard(self._began_at)

    def workers(self, tick: float, dead_after: float) -> tuple[WorkerReading, ...]:
        """All workers; one that was never heard is dead after ``dead_after`` s of listening."""
        patient = self.trouble is None and tick - self._began >= dead_after
        return self.roster.readings(WorkerState.DEAD if patient else WorkerState.UNKNOWN)
