"""Jobs of the engine without a file, and how an ending changes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bgworker.model import (
    Cancelled,
    Claim,
    Dead,
    Ended,
    Failed,
    JobRecord,
    JobSpec,
    JobState,
    Millis,
    Released,
    Retrying,
    Succeeded,
)

FINAL = (Succeeded, Failed, Dead, Cancelled)


@dataclass(slots=True)
class Job:
    """The only mutable thing: a record, its place in the queue, and who holds it."""

    record: JobRecord
    place: int
    spec: JobSpec
    parents: tuple[int, ...] = ()
    claim: int = 0
    worker: str | None = None


def after(record: JobRecord, end: Ended, now: int) -> JobRecord:
    """The record once this has been settled."""
    ending = end.ending
    done = replace(record, started_at=end.started_at, finished_at=end.finished_at or now)
    match ending:
        case Succeeded(result):
            return replace(done, state=JobState.SUCCEEDED, result=result, error=None)
        case Failed(error):
            return replace(done, state=JobState.FAILED, error=error)
        case Cancelled(error):
            return replace(done, state=JobState.CANCELLED, error=error)
        case Dead(error, crashed):
            crashes = record.crashes + crashed
            return replace(done, state=JobState.DEAD, error=error, crashes=crashes)
        case Retrying(error, run_at, crashed):
            return replace(
                record,
                state=JobState.RETRYING,
                error=error,
                run_at=run_at,
                retries=record.retries + (not crashed),
                crashes=record.crashes + crashed,
            )
        case Released(run_at):
            state = JobState.QUEUED if run_at is None else JobState.SCHEDULED
            due = record.run_at if run_at is None else run_at
            return replace(record, state=state, run_at=due, attempts=record.attempts - 1)


def claim_of(job: Job) -> Claim:
    """What the worker that holds it was given."""
    record = job.record
    return Claim(
        id=record.id,
        number=job.claim,
        task=record.task,
        queue=record.queue,
        priority=record.priority,
        args=record.args,
        attempts=record.attempts,
        retries=record.retries,
        crashes=record.crashes,
    )


def expired(jobs: Mapping[int, Job], before: Millis) -> list[int]:
    """Those that ended before this instant, and whose results no blocked job waits for."""
    blocked = [job for job in jobs.values() if job.record.state is JobState.BLOCKED]
    awaited = {parent for job in blocked for parent in job.parents}
    return [
        number
        for number, job in jobs.items()
        if job.record.state.is_final
        and (job.record.finished_at or 0) < before
        and number not in awaited
    ]
