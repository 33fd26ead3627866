"""The figures of each task that follow from what was counted of its events."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from bgtop.model import TaskTypeReading
from bgtop.state.tally import summed
from bgtop.task_events import BUCKETS, EventKind, HistogramReading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.task_events import EventsReading, TaskEventsReading


def figures_of(events: EventsReading) -> tuple[TaskTypeReading, ...]:
    """A row for each task that is named, over all queues, sorted by name."""
    tasks: dict[str, list[TaskEventsReading]] = {}
    for series in events.series:
        if series.task is not None:
            tasks.setdefault(series.task, []).append(series)
    return tuple(_figures(name, tasks[name], events.kinds) for name in sorted(tasks))


def _figures(
    name: str, series: Sequence[TaskEventsReading], kinds: frozenset[EventKind]
) -> TaskTypeReading:
    counts: Counter[EventKind] = Counter()
    exceptions: Counter[str] = Counter()
    for one in series:
        counts.update(one.counts)
        exceptions.update(one.exceptions)
    flying = [one.in_flight for one in series if one.in_flight is not None]
    runtime = summed(one.runtime for one in series) or _NOTHING
    return TaskTypeReading(
        name=name,
        running=sum(flying) if flying else None,
        succeeded=counts[EventKind.SUCCEEDED] if EventKind.SUCCEEDED in kinds else None,
        failed=counts[EventKind.FAILED] if EventKind.FAILED in kinds else None,
        runtime_mean_seconds=runtime.seconds / runtime.total if runtime.total else None,
        runtime_p50_seconds=runtime.quantile(0.5),
        runtime_p95_seconds=runtime.quantile(0.95),
        percentiles_are_estimates=True,
        exceptions=dict(exceptions),
    )


_NOTHING: Final = HistogramReading(counts=(0,) * (len(BUCKETS) + 1), seconds=0.0)


def counts_of(events: EventsReading) -> dict[str, tuple[int | None, int]]:
    """By task how many jobs were received and have ended, over all queues."""
    tells = EventKind.RECEIVED in events.kinds
    counts: dict[str, tuple[int, int]] = {}
    for one in events.series:
        if one.task is not None:
            received, ended = counts.get(one.task, (0, 0))
            received += one.counts.get(EventKind.RECEIVED, 0)
            ended += sum(count for kind, count in one.counts.items() if kind in _ENDINGS)
            counts[one.task] = (received, ended)
    return {task: (each[0] if tells else None, each[1]) for task, each in counts.items()}


_ENDINGS: Final = frozenset(EventKind) - {EventKind.SENT, EventKind.RECEIVED, EventKind.STARTED}
