"""Counters and histograms of one task on one queue, as they grow; readings are copies of them."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, TypeAlias

from bgtop.task_events import BUCKETS, EventKind, HistogramReading, TaskEventsReading
from bgworker.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping

OTHER: Final = "other"
"""The name under which everything beyond the bounds is counted."""

MOST_SERIES: Final = 2_000
MOST_EXCEPTIONS: Final = 50

SeriesKey: TypeAlias = tuple[str | None, str | None]
"""(task, queue); ``None`` where no event has said it."""


@dataclass(slots=True)
class Histogram:
    """How long things took: ``counts`` by the upper bounds of :data:`BUCKETS`, the rest at last."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0
    longest: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one; clocks that differ make no time negative."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds
        self.longest = max(self.longest, seconds)

    @property
    def total(self) -> int:
        """How many were counted."""
        return sum(self.counts)

    @property
    def reading(self) -> HistogramReading:
        """As it is now."""
        return HistogramReading(
            counts=tuple(self.counts), seconds=self.seconds, longest=self.longest
        )


@dataclass(slots=True)
class Series:
    """What is known of one task on one queue; every count only grows, ``in_flight`` excepted."""

    counts: dict[EventKind, int] = field(default_factory=dict)
    in_flight: int = 0
    """Received and not ended."""
    runtime: Histogram = field(default_factory=Histogram)
    wait: Histogram = field(default_factory=Histogram)
    exceptions: dict[str, int] = field(default_factory=dict)
    """Of failures, and of attempts that are made again."""
    failures: dict[str, int] = field(default_factory=dict)
    """Of failures alone."""

    def count(self, kind: EventKind) -> None:
        """One more."""
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def fail(self, exception: str, *, at_last: bool) -> None:
        """One more attempt that ended with this, and, ``at_last``, its job with it."""
        for counts in (self.exceptions, self.failures) if at_last else (self.exceptions,):
            known = exception in counts or len(counts) < MOST_EXCEPTIONS
            name = exception if known else OTHER
            counts[name] = counts.get(name, 0) + 1


def readings_of(series: Mapping[SeriesKey, Series]) -> tuple[TaskEventsReading, ...]:
    """Every series as it is now, sorted by task and queue."""
    return tuple(
        _reading(*key, one)
        for key, one in sorted(series.items(), key=lambda pair: _order(*pair[0]))
    )


def _order(task: str | None, queue: str | None) -> tuple[str, str]:
    return task or "", queue or ""


def _reading(task: str | None, queue: str | None, series: Series) -> TaskEventsReading:
    return TaskEventsReading(
        task=task,
        queue=queue,
        counts=dict(series.counts),
        in_flight=series.in_flight,
        runtime=series.runtime.reading,
        wait=series.wait.reading,
        exceptions=dict(series.exceptions),
        failures=dict(series.failures),
    )
