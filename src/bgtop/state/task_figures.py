"""The figures of each task: what its system keeps, and what was counted of its events."""

from __future__ import annotations

from collections.abc import Sequence

from bgtop.model import UNKNOWN_RATES, Frame, Reading, TaskTypeReading
from bgtop.state.records import TypeRow
from bgworker.values import names_of, replace


def figures_by_task(reading: Reading) -> Sequence[TaskTypeReading]:
    """What the system keeps by task, completed by what was counted since events are followed."""
    kept = reading.task_types or ()
    if reading.events is None:
        return kept
    from bgtop.state.event_figures import figures_of

    counted = {one.name: one for one in figures_of(reading.events)}
    for one in kept:
        counted[one.name] = _completed(one, counted[one.name]) if one.name in counted else one
    return [counted[name] for name in sorted(counted)] if kept else [*counted.values()]


def _completed(kept: TaskTypeReading, counted: TaskTypeReading) -> TaskTypeReading:
    unknown = [name for name in names_of(kept) if getattr(kept, name) is None]
    both = replace(kept, **{name: getattr(counted, name) for name in unknown})
    if kept.runtime_p50_seconds is None:
        return replace(both, percentiles_are_estimates=counted.percentiles_are_estimates)
    return both


def type_rows(frame: Frame) -> list[TypeRow]:
    """A row for each task of each source."""
    return [
        TypeRow(source, one, frame.task_rates.get((source.key, one.name), UNKNOWN_RATES))
        for source in frame.snapshot.sources
        for one in (figures_by_task(source.reading) if source.reading else ())
    ]
