"""Counts that only grow, made of readings that may begin anew.

A backend counts since it began to follow a source. When it has to begin again (``since`` is then
later) what it had counted before is kept here and added from then on, so whoever watches the sums
sees no counter go back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from bgtop.task_events import HistogramReading, TaskEventsReading
from bgworker.values import dataclass, field, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bgtop.model import Frame, Reading
    from bgtop.task_events import EventKind, EventsReading

_Key: TypeAlias = tuple[str | None, str | None]
"""(task, queue)"""

K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Everything ever counted of one source. ``series`` are in the order they were first seen."""

    followed: bool = False
    """Whether events of this source are counted at all."""
    series: tuple[TaskEventsReading, ...] = ()
    kinds: frozenset[EventKind] = frozenset()
    missed: int | None = None
    forgotten: int = 0


_NOTHING: Final = Counted()


@dataclass(slots=True)
class _OfSource:
    """What was counted ``before`` the present count, and the present one."""

    before: dict[_Key, TaskEventsReading] = field(default_factory=dict)
    missed: int | None = None
    forgotten: int = 0
    now: EventsReading | None = None
    order: dict[_Key, None] = field(default_factory=dict)
    queues: dict[str, _QueueCounts] = field(default_factory=dict)
    summed: Counted | None = None
    """The answer for the present count, once somebody has asked."""


@dataclass(slots=True)
class _QueueCounts:
    """What a queue has counted: the last values seen, and those of counts that began anew."""

    last: dict[str, int] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)

    def take(self, name: str, value: int | None) -> None:
        if value is None:
            return
        last = self.last.get(name, 0)
        if value < last:
            self.before[name] = self.before.get(name, 0) + last
        self.last[name] = value


class Tally:
    """Sums of one exporter; it has to be shown every frame, in order."""

    def __init__(self) -> None:
        self._sources: dict[str, _OfSource] = {}

    def take(self, frame: Frame) -> None:
        """Learn what this frame has counted."""
        for source in frame.snapshot.sources:
            if source.reading is not None:
                kept = self._sources.setdefault(source.key, _OfSource())
                _take_queues(kept, source.reading)
                if source.reading.events is not None:
                    _take_events(kept, source.reading.events)

    def of(self, source: str) -> Counted:
        """All that was ever counted of the source with this key."""
        kept = self._sources.get(source)
        if kept is None or kept.now is None:
            return _NOTHING
        if kept.summed is not None:
            return kept.summed
        now = {(one.task, one.queue): one for one in kept.now.series}
        kept.summed = Counted(
            followed=True,
            series=tuple(_sum(kept.before.get(key), now.get(key)) for key in kept.order),
            kinds=kept.now.kinds,
            missed=_plus(kept.missed, kept.now.missed),
            forgotten=kept.forgotten + kept.now.forgotten,
        )
        return kept.summed

    def of_queue(self, source: str, queue: str, count: str) -> int | None:
        """``entered_total`` or ``left_total`` of a queue that is there now."""
        kept = self._sources.get(source)
        counts = kept.queues.get(queue) if kept else None
        if counts is None or count not in counts.last:
            return None
        return counts.last[count] + counts.before.get(count, 0)


def _take_events(kept: _OfSource, events: EventsReading) -> None:
    last = kept.now
    if last is events:
        return
    if last is not None and events.since > last.since:
        for one in last.series:
            # What was in flight then is known to nobody any more.
            summed = _sum(kept.before.get((one.task, one.queue)), one)
            kept.before[one.task, one.queue] = replace(summed, in_flight=None)
        kept.missed = _plus(kept.missed, last.missed)
        kept.forgotten += last.forgotten
    kept.now, kept.summed = events, None
    for one in events.series:
        kept.order.setdefault((one.task, one.queue))


def _take_queues(kept: _OfSource, reading: Reading) -> None:
    names = {queue.name for queue in reading.queues}
    for gone in [name for name in kept.queues if name not in names]:
        del kept.queues[gone]
    for queue in reading.queues:
        if queue.entered_total is None and queue.left_total is None:
            continue
        counts = kept.queues.setdefault(queue.name, _QueueCounts())
        counts.take("entered_total", queue.entered_total)
        counts.take("left_total", queue.left_total)


def _sum(before: TaskEventsReading | None, now: TaskEventsReading | None) -> TaskEventsReading:
    if before is None or now is None:
        return now or before or TaskEventsReading()
    return TaskEventsReading(
        task=now.task,
        queue=now.queue,
        counts=added([before.counts, now.counts]),
        in_flight=now.in_flight,
        runtime=summed([before.runtime, now.runtime]),
        wait=summed([before.wait, now.wait]),
        exceptions=added([before.exceptions, now.exceptions]),
        failures=added([before.failures, now.failures]),
    )


def added(counts: Iterable[Mapping[K, int]]) -> dict[K, int]:
    """The sums of the counts, key by key."""
    total: dict[K, int] = {}
    for one in counts:
        for key, count in one.items():
            total[key] = total.get(key, 0) + count
    return total


def summed(histograms: Iterable[HistogramReading | None]) -> HistogramReading | None:
    """One histogram of all; ``None`` if there is none."""
    total: HistogramReading | None = None
    for one in histograms:
        if one is not None:
            total = one if total is None else total + one
    return total


def _plus(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other
