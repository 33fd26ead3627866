"""The columns of single jobs, and why a list of them may be empty."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from bgtop.model import Capability, Frame, JobList, JobQuery, JobState, Source
from bgtop.page import Cell, Column, Status, Tone
from bgtop.state.records import JobRow, runtime_of
from bgtop.view.fields import (
    Field,
    Scene,
    column,
    count_field,
    faint_if,
    source_field,
    system_field,
    text_field,
)
from bgtop.view.specs import why_nothing
from bgtop.view.text import UNKNOWN, age, duration
from bgtop.view.ui import Visit

JOB: Final = "job"

JOB_TONES: Final = {
    JobState.WAITING: Tone.PLAIN,
    JobState.RUNNING: Tone.GOOD,
    JobState.SCHEDULED: Tone.INFO,
    JobState.DEFERRED: Tone.INFO,
    JobState.FAILED: Tone.BAD,
    JobState.DEAD: Tone.BAD,
    JobState.SUCCEEDED: Tone.PLAIN,
    JobState.CANCELLED: Tone.FAINT,
}


def _runtime(row: JobRow, scene: Scene) -> Cell:
    started, ended = row.job.started_at, row.job.ended_at
    if started is None:
        return Cell(UNKNOWN, Tone.FAINT)
    if ended is None:
        return Cell(age((scene.now - started).total_seconds()), Tone.GOOD)
    return Cell(duration((ended - started).total_seconds()))


def moment_of(row: JobRow) -> datetime | None:
    """When the last thing happened to a job that is known of it."""
    job = row.job
    return job.ended_at or job.started_at or job.enqueued_at


def _when(row: JobRow, scene: Scene) -> Cell:
    """How long ago that was, or how soon a job is due."""
    due = row.job.due_at
    if due is not None and row.job.state is JobState.SCHEDULED:
        wait = (due - scene.now).total_seconds()
        return Cell(f"in {age(wait + 0.999)}" if wait > 0 else "due", Tone.INFO)
    moment = moment_of(row)
    seconds = None if moment is None else max(0.0, (scene.now - moment).total_seconds())
    return faint_if(seconds is None, age(seconds))


def _arguments(row: JobRow) -> str | None:
    parts = [part for part in (row.job.args, row.job.kwargs) if part and part not in {"[]", "{}"}]
    return " ".join(parts) or None


def _queue_unless_given(_frame: Frame, rows: Sequence[JobRow]) -> bool:
    return len({row.job.queue for row in rows if row.job.queue}) > 1


def _worker_known(_frame: Frame, rows: Sequence[JobRow]) -> bool:
    return any(row.job.worker for row in rows)


def _some_failed(_frame: Frame, rows: Sequence[JobRow]) -> bool:
    return any(row.job.error for row in rows)


def _some_priority(_frame: Frame, rows: Sequence[JobRow]) -> bool:
    return len({row.job.priority for row in rows}) > 1


JOB_FIELDS: Final[tuple[Field[JobRow], ...]] = (
    text_field(
        column("name", "JOB", 12),
        "its task; its id where that is all there is",
        lambda r: r.job.name or r.job.id,
        tone=lambda r: Tone.WARN if r.job.malformed else Tone.PLAIN,
        grows=60,
        name=True,
    ),
    text_field(column("id", "ID", 8, 6), "its id", lambda r: r.job.id, grows=36),
    text_field(
        column("state", "STATE", 9, 1),
        "waiting, running, scheduled, deferred, failed, dead",
        lambda r: r.job.state.value,
        tone=lambda r: JOB_TONES[r.job.state],
    ),
    source_field(7),
    system_field(6),
    text_field(
        column("queue", "QUEUE", 8, 5),
        "where it waits or waited",
        lambda r: r.job.queue,
        grows=24,
        needed=_queue_unless_given,
        name=True,
    ),
    count_field(
        column("prio", "PRIO", 4, 9),
        "its priority",
        lambda r: r.job.priority,
        needed=_some_priority,
    ),
    Field(
        column=column("when", "WHEN", 9, 3),
        words="since it came, began or ended; until it is due",
        cell=_when,
        value=moment_of,
    ),
    Field(
        column=column("time", "TIME", 6, 4),
        words="how long it ran",
        cell=_runtime,
        value=runtime_of,
    ),
    count_field(column("tries", "TRIES", 5, 8), "how often it began", lambda r: r.job.attempts),
    text_field(
        column("worker", "WORKER", 8, 10),
        "who runs or ran it",
        lambda r: r.job.worker,
        grows=28,
        needed=_worker_known,
        name=True,
    ),
    text_field(
        column("error", "ERROR", 12, 2),
        "the last line of its last failure",
        lambda r: r.job.error,
        tone=lambda _: Tone.BAD,
        grows=60,
        needed=_some_failed,
    ),
    text_field(
        Column(key="args", title="ARGUMENTS", least=9, most=9, rank=11),
        "what it is called with, redacted",
        _arguments,
        grows=60,
    ),
)


def answer_of(source: Source, query: JobQuery) -> JobList | None:
    """The answer to this very question, if it is there yet."""
    jobs = source.reading.jobs if source.reading else None
    return jobs if jobs is not None and jobs.query == query else None


def jobs_of(sources: Sequence[Source], query: JobQuery) -> list[JobRow]:
    """The rows of all answers."""
    rows = []
    for source in sources:
        answer = answer_of(source, query)
        rows += [JobRow(source, job) for job in answer.rows] if answer else []
    return rows


def why_no_jobs(sources: Sequence[Source], query: JobQuery, words: str) -> str:
    """Why the list is empty, in words."""
    return why_nothing(
        sources, Capability.JOBS, words, lambda source: answer_of(source, query) is not None
    )


def notes_on(sources: Sequence[Source], query: JobQuery) -> list[Status]:
    """What a list of jobs does not show."""
    answers = [(source, answer_of(source, query)) for source in sources]
    notes = [
        Status(
            "MORE",
            Tone.INFO,
            f"only the first {query.limit} of each state are listed · m lists more",
        )
        for _, answer in answers
        if answer and answer.more
    ]
    for source, answer in answers:
        if answer and answer.unreadable:
            states = ", ".join(sorted(state.value for state in answer.unreadable))
            system = source.info.system or source.info.broker
            notes.append(Status("NOTE", Tone.INFO, f"{system} cannot list what is {states}"))
    return list(dict.fromkeys(notes))


def open_job(row: JobRow) -> Visit:
    """The page of a job."""
    return Visit(page=JOB, subject=(row.source.key, row.job.id))
