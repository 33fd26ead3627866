"""Inside one queue: its jobs, and the workers that read it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from bgtop.model import Frame
from bgtop.page import Fact, Status, Tone
from bgtop.state.records import JOB_FACTS, WORKER_FACTS, JobRow, WorkerRow, queue_state
from bgtop.view.columns import WORKER_FIELDS
from bgtop.view.facts import queue_facts, text_fact, trend_facts
from bgtop.view.job_columns import JOB_FIELDS, jobs_of, notes_on, open_job, why_no_jobs
from bgtop.view.pages.overview import open_worker, worker_rows
from bgtop.view.specs import PageSpec, TableSpec, sources_of
from bgtop.view.subjects import interest_in, jobs_in_queue, queue_of
from bgtop.view.ui import Ui

JOBS: Final = "jobs"
READERS: Final = "readers"


def _jobs(frame: Frame, ui: Ui) -> Sequence[JobRow]:
    return jobs_of(sources_of(frame, ui.visit), jobs_in_queue(ui.visit))


def _no_jobs(frame: Frame, ui: Ui) -> str:
    return why_no_jobs(sources_of(frame, ui.visit), jobs_in_queue(ui.visit), "single jobs")


def _readers(frame: Frame, ui: Ui) -> Sequence[WorkerRow]:
    source, name = ui.visit.subject or ("", "")
    return [
        row
        for row in worker_rows(frame)
        if row.source.key == source and name in (row.worker.queues or ())
    ]


def _no_readers(frame: Frame, ui: Ui) -> str:
    workers = [
        worker
        for source in sources_of(frame, ui.visit)
        for worker in (source.reading.workers if source.reading else ())
    ]
    if workers and all(worker.queues is None for worker in workers):
        return "which workers read it cannot be told"
    return "no worker reads it"


def _facts(frame: Frame, ui: Ui, _now: datetime) -> Sequence[Fact]:
    row = queue_of(frame, ui.visit)
    if row is None:
        return (text_fact("Queue", "not there at the moment", Tone.WARN),)
    facts = list(queue_facts(row.queue, row.rates))
    state = queue_state(row.queue)
    if state:
        facts.insert(0, text_fact("State", state, Tone.WARN))
    return [*facts, *trend_facts(frame, ui, row.id, Depth="depth", In="in", Out="out")]


def _notes(frame: Frame, ui: Ui) -> Sequence[Status]:
    return notes_on(sources_of(frame, ui.visit), jobs_in_queue(ui.visit))


PAGE: Final = PageSpec(
    name="queue",
    words="inside one queue",
    tables=(
        TableSpec(
            key=JOBS,
            fields=JOB_FIELDS,
            facts=JOB_FACTS,
            rows=_jobs,
            empty=_no_jobs,
            opens=open_job,
        ),
        TableSpec(
            key=READERS,
            fields=WORKER_FIELDS,
            facts=WORKER_FACTS,
            rows=_readers,
            empty=_no_readers,
            opens=open_worker,
        ),
    ),
    facts=_facts,
    interest=interest_in(jobs_in_queue),
    roomy=True,
    notes=_notes,
)
