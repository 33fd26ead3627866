"""What happens to bgworker's jobs, by its own rows; counted when a job has entered or ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.state.event_series import MOST_SERIES, OTHER, Series, readings_of
from bgtop.task_events import EventKind, EventsReading
from bgworker.states import JobState
from bgworker.trail import Trail

if TYPE_CHECKING:
    from datetime import datetime

    from bgtop.state.event_series import SeriesKey
    from bgworker.inspector import Inspector, Stats
    from bgworker.trail import Ending

ENDINGS = {
    JobState.SUCCEEDED: EventKind.SUCCEEDED,
    JobState.FAILED: EventKind.FAILED,
    JobState.DEAD: EventKind.FAILED,
    JobState.CANCELLED: EventKind.REVOKED,
}
KINDS = frozenset(EventKind) - {EventKind.REJECTED}


class Events:
    """Counts from the first look on. The runs of a job are counted when it has ended.

    So received and started agree with the endings at any time; what runs at present is told by the
    workers themselves.
    """

    def __init__(self, inspector: Inspector) -> None:
        self._trail = Trail(inspector)
        self._series: dict[SeriesKey, Series] = {}
        self._since: datetime | None = None

    def look(self, stats: Stats, now: datetime) -> EventsReading:
        """All as of now; the first look begins to count."""
        self._since = self._since or now
        step = self._trail.step(int(now.timestamp() * 1000))
        for task, queue in step.entered:
            self._of(task, queue).count(EventKind.SENT)
        for ending in step.ended:
            self._end(self._of(ending.task, ending.queue), ending)
        for series in self._series.values():
            series.in_flight = 0
        for worker in stats.workers:
            for job in worker.current:
                self._of(job.task, job.queue).in_flight += 1
        return EventsReading(
            since=self._since,
            series=readings_of(self._series),
            kinds=KINDS,
            missed=step.overlooked,
        )

    def _of(self, task: str, queue: str) -> Series:
        key: SeriesKey = (task, queue)
        if key not in self._series and len(self._series) >= MOST_SERIES:
            key = (OTHER, OTHER)
        return self._series.setdefault(key, Series())

    def _end(self, series: Series, ending: Ending) -> None:
        before = ending.retried + ending.crashed
        for kind, times in (
            (EventKind.RECEIVED, before + 1),
            (EventKind.STARTED, before + (ending.run_ms is not None)),
            (EventKind.RETRIED, ending.retried),
            (EventKind.LOST, ending.crashed),
            (ENDINGS[ending.state], 1),
        ):
            if times:
                series.counts[kind] = series.counts.get(kind, 0) + times
        if ending.wait_ms is not None and ending.run_ms is not None:
            series.wait.observe(ending.wait_ms / 1000)
            series.runtime.observe(ending.run_ms / 1000)
        if ending.error is not None:
            series.fail(ending.error, at_last=ENDINGS[ending.state] is EventKind.FAILED)
