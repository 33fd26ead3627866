"""Single jobs, tasks and schedules of bgworker in bgtop's words."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeAlias

from bgtop.backends.figures import runtimes
from bgtop.model import JobList, JobQuery, JobReading, JobState, ScheduleReading, TaskTypeReading
from bgworker import browse
from bgworker.codec import load_args
from bgworker.errors import NotJson, UnknownJob
from bgworker.states import JobState as Theirs
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bgworker.inspector import Inspector, WorkerStats
    from bgworker.model import JobRecord
    from bgworker.standing import Standing

_STATES = {
    JobState.WAITING: Theirs.QUEUED,
    JobState.RUNNING: Theirs.RUNNING,
    JobState.SCHEDULED: Theirs.SCHEDULED,
    JobState.DEFERRED: Theirs.BLOCKED,
    JobState.FAILED: Theirs.FAILED,
    JobState.DEAD: Theirs.DEAD,
    JobState.SUCCEEDED: Theirs.SUCCEEDED,
    JobState.CANCELLED: Theirs.CANCELLED,
}
_OURS = {**{theirs: ours for ours, theirs in _STATES.items()}, Theirs.RETRYING: JobState.SCHEDULED}
_Arguments: TypeAlias = "tuple[str, str | None, bool]"
"""Those by position, those by name, and whether the text is not what bgworker writes."""
_MOST_SHOWN = 8_192
"""Characters of arguments, result, or error of the one job that is shown whole."""
_TRACEBACK_SHOWN = 16_384
_TAKEN = ("begun", "no: its worker has taken it, and is still at others")


def job_list(inspector: Inspector, query: JobQuery, workers: Iterable[WorkerStats]) -> JobList:
    """What the query asks for; ``workers`` tell when their jobs were begun."""
    begun: dict[str, datetime] = {
        job.id: instant(job.started_at) for worker in workers for job in worker.current
    }
    if query.id is not None:
        return JobList(query=query, rows=_whole(inspector, query.id, begun))
    states = {_STATES[state] for state in query.states}
    found = browse.lines(
        inspector, states, queue=query.queue, worker=query.worker, limit=query.limit
    )
    rows = [_row(line, begun) for theirs in _STATES.values() for line in found.of.get(theirs, ())]
    return JobList(query=query, rows=tuple(rows), more=found.more)


def task_types(inspector: Inspector) -> tuple[TaskTypeReading, ...]:
    """The tasks that have jobs: figures of those that ended are made of the newest of them."""
    found = browse.figures(inspector)
    return tuple(_task_type(task, found.sampled) for task in found.tasks)


def schedules(inspector: Inspector) -> tuple[ScheduleReading, ...]:
    """What workers have declared, enabled or not."""
    return tuple(_schedule(standing) for standing in inspector.schedules())


def instant(millis: int) -> datetime:
    """A time of the file's."""
    return datetime.fromtimestamp(millis / 1000, tz=timezone.utc)


def _row(line: browse.JobLine, begun: Mapping[str, datetime]) -> JobReading:
    cut = len(line.args) >= browse.ARGS_SHOWN
    row = _plain(line, (line.args[1:] + "…", None, False) if cut else _arguments(line.args), begun)
    error = None if line.error is None else _last_line(*line.error)
    return replace(row, error=error, facts=_not_begun(row))


def _whole(inspector: Inspector, id_: str, begun: Mapping[str, datetime]) -> tuple[JobReading, ...]:
    try:
        record = inspector.job(id_)
    except UnknownJob:
        return ()
    row = _plain(record, _arguments(record.args), begun)
    error, traceback, bad_error = _failure(record.error)
    parents, children = browse.kin(inspector, record.id)
    whole = replace(
        row,
        result=None if record.result is None else _cut(record.result),
        error=error,
        traceback=traceback,
        parents=tuple(parents),
        children=tuple(children),
        facts=(*_not_begun(row), *_facts(record)),
        malformed=row.malformed or bad_error,
    )
    return (whole,)


def _plain(
    job: browse.JobLine | JobRecord, arguments: _Arguments, begun: Mapping[str, datetime]
) -> JobReading:
    """What is said of a job in a list, and of one alone."""
    state = _OURS[job.state]
    args, kwargs, malformed = arguments
    running = state is JobState.RUNNING
    return JobReading(
        id=job.id,
        state=state,
        name=job.task,
        queue=job.queue,
        priority=job.priority,
        worker=job.worker,
        args=args,
        kwargs=kwargs,
        enqueued_at=instant(job.enqueued_at),
        due_at=_maybe(job.run_at) if state is JobState.SCHEDULED else None,
        started_at=begun.get(job.id) if running else _maybe(job.started_at),
        ended_at=_maybe(job.finished_at),
        attempts=job.attempts,
        malformed=malformed,
    )


def _not_begun(row: JobReading) -> tuple[tuple[str, str], ...]:
    return (_TAKEN,) if row.state is JobState.RUNNING and row.started_at is None else ()


def _facts(record: JobRecord) -> tuple[tuple[str, str], ...]:
    facts = [("waits for", "its next try")] if record.state is Theirs.RETRYING else []
    facts += [("retries", str(record.retries))] if record.retries else []
    facts += [("crashes", str(record.crashes))] if record.crashes else []
    said = record.progress
    if said is not None:
        of = "" if said.total is None else f" of {said.total:g}"
        facts.append(("progress", f"{said.n:g}{of} {said.text}".rstrip()))
    return tuple(facts)


def _arguments(text: str) -> _Arguments:
    try:
        args, kwargs = load_args(text)
    except NotJson:
        return _cut(text), None, True
    return _cut(_json(args)), _cut(_json(kwargs)), False


def _failure(stored: str | None) -> tuple[str | None, str | None, bool]:
    """Last line and traceback of an error, and whether it is not what bgworker writes."""
    if not stored:
        return None, None, False
    try:
        found = json.loads(stored)
        kind, message, traceback = (
            str(found.get(name) or "") for name in ("type", "message", "traceback")
        )
    except (ValueError, AttributeError, RecursionError):
        return _cut(stored), None, True
    # The end of a traceback says what failed.
    return _last_line(kind, message), traceback[-_TRACEBACK_SHOWN:] or None, False


def _last_line(kind: str, message: str) -> str:
    return f"{kind}: {' '.join(message.split())}" if message.strip() else kind


def _task_type(task: browse.TaskFigures, sampled: int | None) -> TaskTypeReading:
    took = runtimes([millis / 1000 for millis in task.run_ms])
    last = task.last_ended_at
    return TaskTypeReading(
        name=task.name,
        waiting=task.waiting,
        running=task.running,
        succeeded=task.succeeded,
        failed=task.failed,
        runtime_mean_seconds=took.mean,
        runtime_p50_seconds=took.p50,
        runtime_p95_seconds=took.p95,
        exceptions=dict(task.exceptions),
        last_ended_at=_maybe(last),
        sampled=sampled,
    )


def _schedule(standing: Standing) -> ScheduleReading:
    schedule = standing.schedule
    every = f"every {(schedule.every or 0) / 1000:.10g}s"
    cron = schedule.cron and " ".join(filter(None, (schedule.cron, schedule.tz)))
    return ScheduleReading(
        name=standing.task,
        task=standing.task,
        queue=standing.queue,
        rule=cron or every,
        next_at=_maybe(standing.next_at),
        last_at=_maybe(standing.last_fired_at),
        enabled=standing.enabled,
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"


def _maybe(millis: int | None) -> datetime | None:
    return None if millis is None else instant(millis)
