"""One worker: what it runs, and the queues it reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from bgtop.model import Frame, JobReading, JobState
from bgtop.page import Fact, Tone
from bgtop.state.records import (
    JOB_FACTS,
    QUEUE_FACTS,
    JobRow,
    QueueRow,
    WorkerRow,
    queue_rows,
    worker_state,
)
from bgtop.state.trends import worker_key
from bgtop.view.columns import QUEUE_FIELDS, STATE_TONES
from bgtop.view.facts import sum_fact, text_fact, trend_facts
from bgtop.view.job_columns import JOB_FIELDS, answer_of, jobs_of, open_job, why_no_jobs
from bgtop.view.pages.overview import open_queue
from bgtop.view.specs import PageSpec, TableSpec, sources_of
from bgtop.view.subjects import interest_in, jobs_of_worker, worker_of
from bgtop.view.text import UNKNOWN, age, clean, seconds_since, size
from bgtop.view.ui import Ui

RUNNING: Final = "running"
READS: Final = "reads"


def _jobs(frame: Frame, ui: Ui) -> Sequence[JobRow]:
    """What the source answers, else what the worker says of itself."""
    query = jobs_of_worker(ui.visit)
    sources = sources_of(frame, ui.visit)
    if any(answer_of(source, query) for source in sources):
        return jobs_of(sources, query)
    row = worker_of(frame, ui.visit)
    if row is None:
        return ()
    return [
        JobRow(
            row.source,
            JobReading(
                id=task.id,
                state=JobState.RUNNING,
                name=task.name,
                started_at=task.started_at,
                worker=row.worker.name,
            ),
        )
        for task in row.worker.current or ()
    ]


def _no_jobs(frame: Frame, ui: Ui) -> str:
    row = worker_of(frame, ui.visit)
    if row is not None and row.worker.current == ():
        return "it runs nothing"
    return why_no_jobs(sources_of(frame, ui.visit), jobs_of_worker(ui.visit), "single jobs")


def _queues(frame: Frame, ui: Ui) -> Sequence[QueueRow]:
    row = worker_of(frame, ui.visit)
    names = set(row.worker.queues or ()) if row else set()
    return [
        queue
        for queue in queue_rows(frame)
        if row and queue.source.key == row.source.key and queue.queue.name in names
    ]


def _no_queues(frame: Frame, ui: Ui) -> str:
    row = worker_of(frame, ui.visit)
    if row is not None and row.worker.queues is None:
        return "its queues cannot be told"
    return "no queues"


def _facts(frame: Frame, ui: Ui, now: datetime) -> Sequence[Fact]:
    row = worker_of(frame, ui.visit)
    if row is None:
        return (text_fact("Worker", "not there at the moment", Tone.WARN),)
    worker = row.worker
    cpu = UNKNOWN if worker.cpu_percent is None else f"{worker.cpu_percent:.0f}%"
    facts = [
        text_fact("State", worker_state(worker), _tone(row)),
        text_fact("Beat", age(seconds_since(worker.last_heartbeat_at, now))),
        sum_fact("Running", worker.running),
        sum_fact("Room", worker.concurrency),
        sum_fact("Processed", worker.processed),
        sum_fact("Failed", worker.failed, Tone.BAD),
        text_fact("CPU", cpu),
        text_fact("RSS", size(worker.rss_bytes)),
        text_fact("Up", age(seconds_since(worker.started_at, now))),
        text_fact("Host", clean(worker.host or UNKNOWN)),
        text_fact("PID", UNKNOWN if worker.pid is None else str(worker.pid)),
        text_fact("Version", clean(worker.version or UNKNOWN)),
    ]
    place = (row.source.key, worker_key(worker.name))
    return [*facts, *trend_facts(frame, ui, place, Run="running", CPU="cpu")]


def _tone(row: WorkerRow) -> Tone:
    return STATE_TONES[row.worker.state] if row.worker.state else Tone.WARN


PAGE: Final = PageSpec(
    name="worker",
    words="one worker",
    tables=(
        TableSpec(
            key=RUNNING,
            fields=JOB_FIELDS,
            facts=JOB_FACTS,
            rows=_jobs,
            empty=_no_jobs,
            opens=open_job,
        ),
        TableSpec(
            key=READS,
            fields=QUEUE_FIELDS,
            facts=QUEUE_FACTS,
            rows=_queues,
            empty=_no_queues,
            opens=open_queue,
        ),
    ),
    facts=_facts,
    interest=interest_in(jobs_of_worker),
    roomy=True,
)
