"""From the events of tasks to counters, balances and histograms; pure, bounded, never negative.

Events are told by many clocks and may be missing, doubled or late. Each job is followed from one
attempt to the next. What must have happened is counted when it is implied (who has succeeded was
received and started), and not once more when the event itself comes late. So at rest
``received - ended`` is nothing for every task, whatever was lost on the way.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from bgtop.state.event_series import MOST_SERIES, OTHER, Series, readings_of
from bgtop.task_events import EventKind
from bgworker.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bgtop.state.event_series import SeriesKey
    from bgtop.task_events import TaskEventsReading


_BIT: Final = {kind: 1 << number for number, kind in enumerate(EventKind)}
"""Kinds as bits: a set of them is a small integer, which takes no memory of its own."""

_SENT: Final = _BIT[EventKind.SENT]
_ENDINGS: Final = frozenset(EventKind) - {EventKind.SENT, EventKind.RECEIVED, EventKind.STARTED}
_AFTER_START: Final = frozenset({EventKind.SUCCEEDED, EventKind.FAILED, EventKind.RETRIED})
"""Endings that only a started attempt can have."""

_SAME_END: Final = frozenset({EventKind.FAILED, EventKind.REJECTED})
"""Celery tells both of one attempt, whose message it rejects because it failed.

And it fails twice what exceeds its hard time limit: for the limit, and for the process it killed.
"""

_MOST_FINGERPRINTS: Final = 12
_COST_OF_A_LIFE: Final = 775
"""Bytes that following one job takes, beside its id; measured."""


class TaskEvent(NamedTuple):
    """Something that happened to a job; ``at`` is in epoch seconds of the clock of its teller.

    ``due`` is when it shall run at the earliest, and ``retries`` how often it was tried before,
    where that was said.
    """

    kind: EventKind
    id: str
    at: float
    task: str | None = None
    queue: str | None = None
    worker: str | None = None
    runtime: float | None = None
    exception: str | None = None
    due: float | None = None
    retries: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is remembered: bytes in all, and seconds of the clock on our own wall.

    Who was sent and not received within ``max_age`` is lost. Jobs that have ended are remembered
    for ``memory``, in case something late is told of them.
    """

    bytes: int = 32_000_000
    max_age: float = 3600.0
    memory: float = 3600.0


class _Life:
    """One job, and how far its current attempt has come."""

    __slots__ = (
        "ahead",
        "due",
        "ended_by",
        "fingerprints",
        "flight",
        "implied",
        "late",
        "owed",
        "queue",
        "retries",
        "seen_at",
        "sent_at",
        "started_at",
        "task",
        "told",
        "until",
        "worker",
    )

    def __init__(self, now: float) -> None:
        self.task: str | None = None
        self.queue: str | None = None
        self.worker: str | None = None
        self.due: float | None = None
        self.retries: int | None = None
        self.sent_at: float | None = None
        self.started_at: float | None = None
        self.ended_by: EventKind | None = None
        self.flight: Series | None = None
        """Where this attempt counts as in flight, if it does."""
        self.told = 0
        """Bits of what was counted of this attempt, ``implied`` or told."""
        self.implied = 0
        self.late = 0
        """Bits of what was implied of the attempt before and may still be told ``until`` then."""
        self.until = 0.0
        self.owed = 0
        """How many attempts were overtaken by the next, and have not told yet that they retry."""
        self.ahead = False
        """Whether the next attempt was sent before the end of this one was told."""
        self.fingerprints: tuple[int, ...] = ()
        self.seen_at = now


class TaskLog:
    """Follows jobs by their events; used from one thread, told the time by its caller."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._series: dict[SeriesKey, Series] = {}
        self._open: OrderedDict[str, _Life] = OrderedDict()
        self._ended: OrderedDict[str, _Life] = OrderedDict()
        self._bytes = 0
        self.forgotten = 0
        """Jobs that were dropped unfinished because there was no room for them."""

    @property
    def series(self) -> Mapping[SeriesKey, Series]:
        """By task and queue."""
        return self._series

    def readings(self) -> tuple[TaskEventsReading, ...]:
        """Every series as it is now, sorted by task and queue."""
        return readings_of(self._series)

    @property
    def followed(self) -> int:
        """How many jobs are remembered."""
        return len(self._open) + len(self._ended)

    def take(self, event: TaskEvent, now: float) -> None:
        """Learn one event; ``now`` in seconds of a clock that never goes back."""
        life = self._open.get(event.id) or self._ended.get(event.id)
        if life is None:
            life = self._open[event.id] = _Life(now)
            self._bytes += _COST_OF_A_LIFE + len(event.id)
        if _is_double(life, event):
            return
        life.seen_at = now
        life.task = life.task or event.task
        life.queue = event.queue or life.queue
        life.due = life.due if event.due is None else event.due
        if event.kind is EventKind.SENT:
            self._sent(life, event)
        else:
            self._worked(life, event)
        self._file(event.id, life)
        if self._bytes > self._bounds.bytes:
            self._make_room()

    def worker_gone(self, worker: str) -> None:
        """What it had received and not ended is lost; what comes back is a new attempt."""
        for id_, life in [(i, each) for i, each in self._open.items() if each.worker == worker]:
            if life.flight is not None:
                self._end(life, EventKind.LOST)
                self._file(id_, life)

    def workers_idle(self, idle: Mapping[str, float], heard_since: float) -> None:
        """Conclude what idle workers cannot be running any more, as its end did not reach us.

        By worker the moment, of its clock, since when it has said that it runs nothing. What was
        only received may wait there for its time; but not if we were deaf between its last event
        and ``heard_since`` (of our clock), and may have missed the rest.
        """
        for id_, life in [(i, each) for i, each in self._open.items() if each.worker in idle]:
            moment = idle[life.worker or ""]
            if life.flight is not None and _is_over(life, moment, heard_since):
                self._end(life, EventKind.LOST)
                self._file(id_, life)

    def expire(self, now: float, *, told_since: float = float("-inf")) -> None:
        """Conclude what was lost, and forget what ended long ago.

        Of what was sent before ``told_since``, when not all workers told what they receive, nobody
        knows what became.
        """
        for id_, life in [*_older(self._open, now - self._bounds.max_age)]:
            if life.told & ~_SENT:
                continue
            if life.seen_at > told_since:
                self._end(life, EventKind.LOST)
                self._file(id_, life)
            else:
                self._forget(self._open, id_)
        for id_, _ in [*_older(self._ended, now - self._bounds.memory)]:
            self._forget(self._ended, id_)

    def _sent(self, life: _Life, event: TaskEvent) -> None:
        life.sent_at = event.at
        if not life.told & _SENT:
            life.told |= _SENT
        elif life.ended_by is None:
            life.ahead = True
        else:
            self._begin(life, event.at)
            life.told = _SENT
        self._of(life).count(EventKind.SENT)

    def _worked(self, life: _Life, event: TaskEvent) -> None:
        kind, bit = event.kind, _BIT[event.kind]
        if bit & life.late and event.at <= life.until:
            life.late &= ~bit
            return
        if life.owed and kind is EventKind.RETRIED:
            life.owed -= 1
            self._failed_by(life, event)
            return
        if bit & life.implied:
            life.implied &= ~bit  # what was concluded is now told as well
            return
        if _is_end_again(life, event):
            return
        if _is_another_attempt(life, kind):
            if life.flight is not None:
                self._overtaken(life, event)
            self._begin(life, event.at)
        life.worker = event.worker or life.worker
        life.retries = life.retries if event.retries is None else event.retries
        if kind in _ENDINGS:
            self._ended_by(life, event)
            return
        if kind is EventKind.STARTED:
            self._imply(life, EventKind.RECEIVED)
            life.started_at = event.at
            if life.sent_at is not None:
                self._of(life).wait.observe(event.at - max(life.sent_at, life.due or 0.0))
        self._count(life, kind)

    def _overtaken(self, life: _Life, event: TaskEvent) -> None:
        """The next attempt is told before the end of this one, which was a retry if that counts."""
        if (event.retries or 0) > (life.retries or 0):
            self._end(life, EventKind.RETRIED)
            life.owed += 1
        else:
            self._end(life, EventKind.LOST)

    def _begin(self, life: _Life, at: float) -> None:
        """The next attempt, which was sent already if that was told ahead."""
        life.late, life.until = life.implied, at
        life.told = _SENT if life.ahead else 0
        life.implied = 0
        life.started_at = life.ended_by = None
        life.ahead = False

    def _ended_by(self, life: _Life, event: TaskEvent) -> None:
        late = life.ended_by is EventKind.LOST
        if not late:
            self._imply(life, EventKind.RECEIVED)
            if event.kind in _AFTER_START:
                self._imply(life, EventKind.STARTED)
        series = self._of(life)
        took = event.runtime
        if took is None and life.started_at is not None and event.kind in _AFTER_START:
            took = event.at - life.started_at
        if took is not None:
            series.runtime.observe(took)
        self._failed_by(life, event)
        self._end(life, event.kind)
        if life.ahead:
            self._begin(life, event.at)

    def _failed_by(self, life: _Life, event: TaskEvent) -> None:
        if event.exception is not None:
            self._of(life).fail(event.exception, at_last=event.kind is EventKind.FAILED)

    def _end(self, life: _Life, kind: EventKind) -> None:
        if life.flight is not None:
            life.flight.in_flight -= 1
            life.flight = None
        life.ended_by = kind
        life.told |= _BIT[kind]
        self._of(life).count(kind)

    def _imply(self, life: _Life, kind: EventKind) -> None:
        if not life.told & _BIT[kind]:
            life.implied |= _BIT[kind]
            self._count(life, kind)

    def _count(self, life: _Life, kind: EventKind) -> None:
        life.told |= _BIT[kind]
        series = self._of(life)
        series.count(kind)
        if kind is EventKind.RECEIVED:
            life.flight = series
            series.in_flight += 1

    def _of(self, life: _Life) -> Series:
        key = (life.task, life.queue)
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= MOST_SERIES:
                key = (OTHER, OTHER)
            series = self._series.setdefault(key, Series())
        return series

    def _file(self, id_: str, life: _Life) -> None:
        """Ended ones apart from the others, each in the order of what was heard of them last."""
        here, there = self._open, self._ended
        if life.ended_by is not None:
            here, there = there, here
        if there.pop(id_, None) is None and id_ in here:
            here.move_to_end(id_)
        else:
            here[id_] = life

    def _make_room(self) -> None:
        while self._bytes > self._bounds.bytes and self.followed > 1:
            if self._ended:
                self._forget(self._ended, next(iter(self._ended)))
                continue
            id_, life = next(iter(self._open.items()))
            if life.flight is not None:
                life.flight.in_flight -= 1
            self.forgotten += 1
            self._forget(self._open, id_)

    def _forget(self, lives: OrderedDict[str, _Life], id_: str) -> None:
        del lives[id_]
        self._bytes -= _COST_OF_A_LIFE + len(id_)


def _is_double(life: _Life, event: TaskEvent) -> bool:
    """Whether this very event was there before; it is then no news, however late it comes."""
    fingerprint = hash((event.kind, event.at, event.worker))
    if fingerprint in life.fingerprints:
        return True
    life.fingerprints = (*life.fingerprints[1 - _MOST_FINGERPRINTS :], fingerprint)
    return False


def _is_another_attempt(life: _Life, kind: EventKind) -> bool:
    """Whether this cannot be of the attempt that is known.

    Who has ended begins anew by whatever a worker tells; what we gave up as lost may still end.
    """
    if life.ended_by is None:
        return bool(life.told & _BIT[kind])
    return not (life.ended_by is EventKind.LOST and kind in _ENDINGS)


def _is_end_again(life: _Life, event: TaskEvent) -> bool:
    """Whether the end that is known is told once more, in the same or in another word."""
    if event.kind not in _SAME_END or life.ended_by not in _SAME_END or life.ahead:
        return False
    return event.kind is not life.ended_by or event.worker == life.worker


def _is_over(life: _Life, moment: float, heard_since: float) -> bool:
    """Whether a job of a worker that runs nothing since ``moment`` has ended unheard."""
    if life.told & _BIT[EventKind.STARTED]:
        return life.started_at is None or life.started_at < moment
    return life.seen_at < heard_since and (life.due or 0.0) < moment


def _older(lives: OrderedDict[str, _Life], than: float) -> Iterator[tuple[str, _Life]]:
    for id_, life in lives.items():
        if life.seen_at >= than:
            return
        yield id_, life
