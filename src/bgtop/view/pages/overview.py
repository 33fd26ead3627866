"""The first page: all queues and all workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bgtop.model import Frame, WorkerState
from bgtop.state.records import QUEUE_FACTS, WORKER_FACTS, QueueRow, WorkerRow, queue_rows
from bgtop.view.columns import QUEUE_FIELDS, WORKER_FIELDS
from bgtop.view.facts import total_facts
from bgtop.view.specs import PageSpec, TableSpec, first_reading_missing
from bgtop.view.ui import OVERVIEW, Ui, Visit

QUEUES: Final = "queues"
WORKERS: Final = "workers"


def worker_rows(frame: Frame) -> list[WorkerRow]:
    """Every worker, by source and name; dead ones before all others."""
    rows = [
        WorkerRow(source, worker)
        for source in frame.snapshot.sources
        for worker in (source.reading.workers if source.reading else ())
    ]
    return sorted(rows, key=lambda row: row.worker.state is not WorkerState.DEAD)


def _queues(frame: Frame, _ui: Ui) -> Sequence[QueueRow]:
    return queue_rows(frame)


def _workers(frame: Frame, _ui: Ui) -> Sequence[WorkerRow]:
    return worker_rows(frame)


def open_queue(row: QueueRow) -> Visit:
    """The page of a queue."""
    return Visit(page="queue", subject=row.id)


def open_worker(row: WorkerRow) -> Visit:
    """The page of a worker."""
    return Visit(page="worker", subject=row.id)


QUEUES_TABLE: Final = TableSpec(
    key=QUEUES,
    fields=QUEUE_FIELDS,
    facts=QUEUE_FACTS,
    rows=_queues,
    empty=lambda frame, _: "nothing read yet" if first_reading_missing(frame) else "no queues",
    opens=open_queue,
    limit=lambda frame: frame.max_queues,
)

WORKERS_TABLE: Final = TableSpec(
    key=WORKERS,
    fields=WORKER_FIELDS,
    facts=WORKER_FACTS,
    rows=_workers,
    empty=lambda frame, _: "nothing read yet" if first_reading_missing(frame) else "no workers",
    opens=open_worker,
    limit=lambda frame: frame.max_workers,
)

PAGE: Final = PageSpec(
    name=OVERVIEW,
    words="all queues and workers",
    tables=(QUEUES_TABLE, WORKERS_TABLE),
    facts=lambda frame, _ui, _now: total_facts(frame),
)
