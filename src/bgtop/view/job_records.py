"""Single jobs, tasks and schedules as JSON records: every key is always there, unknown is null."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bgtop.model import UNKNOWN_RATES
from bgtop.view.document import moment, rounded

if TYPE_CHECKING:
    from bgtop.model import JobReading, Rates, ScheduleReading, Source, TaskTypeReading


def job_record(source: Source, job: JobReading) -> dict[str, Any]:
    """One job; the runtime of one that runs is up to when it was read."""
    taken_at = source.reading.taken_at if source.reading else None
    ended = job.ended_at or taken_at
    runtime = (ended - job.started_at).total_seconds() if job.started_at and ended else None
    waited = taken_at - job.enqueued_at if taken_at and job.enqueued_at else None
    return {
        "source": source.name,
        "system": source.info.system,
        "id": job.id,
        "name": job.name,
        "state": job.state.value,
        "queue": job.queue,
        "priority": job.priority,
        "worker": job.worker,
        "args": job.args,
        "kwargs": job.kwargs,
        "enqueued_at": moment(job.enqueued_at),
        "due_at": moment(job.due_at),
        "started_at": moment(job.started_at),
        "ended_at": moment(job.ended_at),
        "age_seconds": rounded(max(waited.total_seconds(), 0.0)) if waited is not None else None,
        "runtime_seconds": None if runtime is None else rounded(max(runtime, 0.0)),
        "attempts": job.attempts,
        "attempts_left": job.attempts_left,
        "result": job.result,
        "error": job.error,
        "traceback": job.traceback,
        "parents": list(job.parents),
        "children": list(job.children),
        "facts": dict(job.facts),
        "malformed": job.malformed,
    }


def task_type_record(
    source: Source, task: TaskTypeReading, rates: Rates = UNKNOWN_RATES
) -> dict[str, Any]:
    """All jobs of one task."""
    return {
        "source": source.name,
        "system": source.info.system,
        "name": task.name,
        "waiting": task.waiting,
        "running": task.running,
        "succeeded": task.succeeded,
        "failed": task.failed,
        "in_per_second": rounded(rates.in_per_second),
        "out_per_second": rounded(rates.out_per_second),
        "runtime_mean_seconds": rounded(task.runtime_mean_seconds),
        "runtime_p50_seconds": rounded(task.runtime_p50_seconds),
        "runtime_p95_seconds": rounded(task.runtime_p95_seconds),
        "runtime_percentiles_are": _percentiles(task),
        "exceptions": None if task.exceptions is None else dict(task.exceptions),
        "last_ended_at": moment(task.last_ended_at),
        "sampled": task.sampled,
    }


def _percentiles(task: TaskTypeReading) -> str | None:
    if task.runtime_p50_seconds is None and task.runtime_p95_seconds is None:
        return None
    return "estimated" if task.percentiles_are_estimates else "exact"


def schedule_record(source: Source, schedule: ScheduleReading) -> dict[str, Any]:
    """Something that runs by the clock."""
    return {
        "source": source.name,
        "system": source.info.system,
        "name": schedule.name,
        "task": schedule.task,
        "queue": schedule.queue,
        "rule": schedule.rule,
        "next_at": moment(schedule.next_at),
        "last_at": moment(schedule.last_at),
        "enabled": schedule.enabled,
    }
