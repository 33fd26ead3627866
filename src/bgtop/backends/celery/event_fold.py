"""What Celery's events come to: every task's life, who is gone, and what was missed. No I/O.

A producer says ``task-sent`` after the message is out, so an idle worker's words often overtake it;
and only the producer knows the queue. So what workers say waits a moment for what producers say.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from bgtop.backends.celery.checkup import events_off, task_sent_off
from bgtop.backends.celery.event_gaps import Gaps
from bgtop.backends.celery.event_wire import Presence, Reader
from bgtop.backends.clocks import Clock
from bgtop.backends.raw_names import text
from bgtop.state.events import Bounds, TaskLog
from bgtop.symptoms import DRIFT, clock_drift
from bgtop.task_events import EventKind, EventsReading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from bgtop.backends.celery.event_wire import Told
    from bgtop.backends.celery.told_events import ToldEvents
    from bgtop.symptoms import Finding

DELAY: Final = 0.3
"""Seconds that the words of workers wait."""

STALLED: Final = 5.0
"""Seconds without a look after which the broker may have dropped what it had kept for us."""

_EXPIRE_EVERY: Final = 1.0
_LOOK_FOR_IDLE_EVERY: Final = 10.0
_BY_WORKERS: Final = frozenset(EventKind) - {EventKind.SENT}


class EventFold:
    """A fold: ``look``, ``hear`` bodies, ``advance`` the time.

    ``now`` is a monotonic clock throughout.
    """

    def __init__(self, dead_after: float, now: float, bounds: Bounds | None = None) -> None:
        self._log = TaskLog(bounds)
        self._gaps = Gaps()
        self._reader = Reader()
        self._dead_after = dead_after
        self._waiting: deque[tuple[float, list[Told]]] = deque()
        self._batch: list[Told] = []
        self._kinds: set[EventKind] = set()
        self._workers_tell = False
        self._heard: dict[str, float] = {}
        """By worker that has heartbeats: when we heard of it last."""
        self._clocks: dict[str, Clock] = {}
        """By the same."""
        self._epoch = 0.0
        """What is added to ``now`` to have the wall's time."""
        self._idle: dict[str, tuple[float, float]] = {}
        """By worker that runs nothing: its last two heartbeats that said so."""
        self._unread = 0
        self._since: datetime | None = None
        self._heard_since = self._looked = now
        self._advanced = self._expired = self._sought = now
        self._told_since = now
        """Until then not every worker told what it received."""
        self.told: ToldEvents | None = None
        """What is kept of the words themselves, for whoever takes them."""

    def hear(self, body: object, now: float) -> None:
        """The body of one message."""
        if body is None:
            self._unread += 1
            return
        if self.told is not None:
            self.told.hear(body)
        self._batch = []
        self._reader.read(body, self._take)
        if self._batch:
            self._waiting.append((now, self._batch))

    def _take(self, told: Told) -> None:
        if isinstance(told, Presence) or told.kind is not EventKind.SENT:
            self._batch.append(told)
        else:
            self._kinds.add(EventKind.SENT)
            self._log.take(told, self._advanced)

    def listening(self, now: float, moment: datetime) -> None:
        """We hear, from now on, after we did not; ``moment`` is now as the wall has it."""
        self._since = self._since or moment
        self._epoch = moment.timestamp() - now
        self._still_there(now)

    def _still_there(self, now: float) -> None:
        """Nobody is dead because we could not hear."""
        self._heard_since = self._looked = now
        self._heard = dict.fromkeys(self._heard, now)

    def deaf(self) -> None:
        """We do not hear any more."""
        self._learn_until(float("inf"))
        self._gaps.deaf()
        self._idle.clear()

    def look(self, now: float) -> None:
        """We are about to take what is here, which may not be all if we come late."""
        if now - self._looked > STALLED:
            self.deaf()
            self._still_there(now)
        self._looked = now

    def advance(self, now: float) -> None:
        """Conclude what follows from the time that has passed."""
        self._advanced = now
        self._learn_until(now - DELAY)
        if now - self._expired >= _EXPIRE_EVERY:
            self._expired = now
            if not self._all_tell():
                self._told_since = now
            self._log.expire(now, told_since=self._told_since)
            self._look_for_dead(now)
        if now - self._sought >= _LOOK_FOR_IDLE_EVERY:
            self._sought = now
            self._look_for_idle()

    def _learn_until(self, moment: float) -> None:
        while self._waiting and self._waiting[0][0] <= moment:
            at, batch = self._waiting.popleft()
            for told in batch:
                self._learn(told, at)

    def _learn(self, told: Told, at: float) -> None:
        worker = told.worker
        if isinstance(told, Presence):
            self._gaps.hear(told.worker, started=False)
            self._heard[told.worker] = at
            if told.at is not None:
                moment = at + self._epoch
                clock = self._clocks.setdefault(told.worker, Clock())
                clock.hear(told.at, since=moment, now=moment)
            self._beat(told)
            return
        if worker is not None:
            self._gaps.hear(worker, started=told.kind is EventKind.STARTED)
            if worker in self._heard:
                self._heard[worker] = at
        if not self._workers_tell:
            self._workers_tell = True
            self._kinds |= _BY_WORKERS
        self._log.take(told, at)

    def _beat(self, told: Presence) -> None:
        """Heartbeats that remote control asks for count nothing."""
        if told.processed is not None and self._gaps.beat(told.worker, told.processed, told.clock):
            self._log.worker_gone(told.worker)
        if told.active is None or told.at is None:
            return
        if told.active or told.is_leaving:
            self._idle.pop(told.worker, None)
        else:
            _, last = self._idle.get(told.worker, (told.at, told.at))
            self._idle[told.worker] = (last, told.at)

    def _look_for_dead(self, now: float) -> None:
        for worker, at in [*self._heard.items()]:
            if now - at > self._dead_after:
                del self._heard[worker]
                self._clocks.pop(worker, None)
                self._idle.pop(worker, None)
                self._gaps.forget(worker)
                self._log.worker_gone(worker)

    def _all_tell(self) -> bool:
        """Whether every worker that runs tasks says so, as far as it shows."""
        return self._workers_tell and not self._gaps.mute()

    def _look_for_idle(self) -> None:
        idle = {worker: before for worker, (before, last) in self._idle.items() if before < last}
        if idle:
            self._log.workers_idle(idle, self._heard_since)

    def findings(self) -> Iterator[Finding]:
        """Who could tell events, and does not; and whose clock is another than ours."""
        for worker, begun in sorted(self._gaps.mute().items()):
            yield events_off(worker.rpartition(" ")[0], begun)
        for worker, clock in sorted(self._clocks.items()):
            if abs(clock.ahead) > DRIFT:
                name = worker.rpartition(" ")[0]
                label = text(name.encode("utf-8", "replace"))
                yield clock_drift(label, clock.ahead, name.partition("@")[2])
        if self._workers_tell and EventKind.SENT not in self._kinds:
            received = sum(
                one.counts.get(EventKind.RECEIVED, 0) for one in self._log.series.values()
            )
            yield task_sent_off(received)

    def reading(self) -> EventsReading | None:
        """All as of now; ``None`` when nothing was listened to yet."""
        if self._since is None:
            return None
        return EventsReading(
            since=self._since,
            series=self._log.readings(),
            kinds=frozenset(self._kinds),
            missed=self._gaps.missed + self._unread,
            forgotten=self._log.forgotten,
        )
