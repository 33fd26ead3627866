"""The rows of a frame in the order people see them, and how many are not shown."""

from __future__ import annotations

from typing import Generic, TypeVar

from bgtop.model import Frame, QueueReading, Source, WorkerReading, WorkerState
from bgtop.state.intake import NameFilter
from bgworker.values import dataclass

R = TypeVar("R", QueueReading, WorkerReading)


@dataclass(frozen=True, slots=True)
class Listing(Generic[R]):
    """Rows with the source each belongs to; ``hidden`` were left out by ``max_queues`` or so."""

    rows: tuple[tuple[Source, R], ...]
    hidden: int = 0


def queues_of(
    frame: Frame, chosen: NameFilter | None = None, *, all_of_them: bool = False
) -> Listing[QueueReading]:
    """Queues by source, then by name; ``all_of_them`` whatever the limit."""
    rows = [
        (source, queue)
        for source in frame.snapshot.sources
        if source.reading is not None
        for queue in source.reading.queues
        if chosen is None or chosen.keeps(queue.name)
    ]
    return _cut(rows, None if all_of_them else frame.max_queues)


def workers_of(
    frame: Frame, chosen: NameFilter | None = None, *, all_of_them: bool = False
) -> Listing[WorkerReading]:
    """Workers by source, then by name; dead ones before all others, as they need attention."""
    rows = [
        (source, worker)
        for source in frame.snapshot.sources
        if source.reading is not None
        for worker in source.reading.workers
        if chosen is None or chosen.keeps(worker.name)
    ]
    rows.sort(key=lambda row: row[1].state is not WorkerState.DEAD)
    return _cut(rows, None if all_of_them else frame.max_workers)


def _cut(rows: list[tuple[Source, R]], most: int | None) -> Listing[R]:
    if most is None or len(rows) <= most:
        return Listing(tuple(rows))
    return Listing(tuple(rows[:most]), hidden=len(rows) - most)
