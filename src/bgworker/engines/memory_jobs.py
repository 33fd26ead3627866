"""Jobs of the engine without a file, and how an ending changes one."""

from __future__ import annotations

from collections.abc import Mapping

from bgworker.model import (
    Cancelled,
    Claim,
    Dead,
    Ended,
    Failed,
    JobRecord,
    JobSpec,
    Millis,
    Released,
    Retrying,
    Said,
    Succeeded,
)
from bgworker.states import JobState
from bgworker.values import dataclass, replace


@dataclass(slots=True)
class Job:
    """The only mutable thing: a record, its place in the queue, and who holds it.

    ``parents`` are those it comes after, until it may run. ``cancel`` is the error it is to end
    with: somebody asked for that while it ran.
    """

    record: JobRecord
    place: int
    spec: JobSpec
    parents: tuple[int, ...] = ()
    claim: int = 0
    worker: str | None = None
    cancel: str | None = None

    def end(self, end: Ended, now: Millis) -> None:
        """What became of a run; a request to cancel has the last word on it."""
        before = self.record
        if self.cancel is not None:
            not_run = isinstance(end.ending, Released)
            before = replace(before, attempts=before.attempts - not_run)
            end = replace(end, ending=Cancelled(self.cancel))
            self.cancel = None
        self.record = after(before, end, now)
        self.worker = self.worker if self.record.state.is_final else None

    def begin_anew(self, place: int, now: Millis) -> bool:
        """Queued, or blocked, once more; ``False`` if it is in no state for that."""
        was = self.record
        if was.state in {JobState.FAILED, JobState.DEAD, JobState.CANCELLED}:
            error = None if was.state is JobState.CANCELLED else was.error
            fresh = replace(was, retries=0, crashes=0, started_at=None, finished_at=None)
            self.record = replace(fresh, error=error)
            self.spec = replace(self.spec, expires_at=None)
            self.worker = None
        elif was.state not in {JobState.SCHEDULED, JobState.RETRYING}:
            return False
        state = JobState.BLOCKED if self.parents else JobState.QUEUED
        self.record = replace(self.record, state=state, run_at=now)
        self.place = place
        return True

    def is_held(self, claim: Claim) -> bool:
        """Whether this is the claim under which it runs now."""
        return self.claim == claim.number and self.record.state is JobState.RUNNING

    def note(self, said: Said) -> None:
        """Keep a word on its progress, unless that comes too late."""
        if self.is_held(said.claim):
            self.record = replace(self.record, progress=said.progress)


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
        case Released():
            return replace(record, state=JobState.QUEUED, attempts=record.attempts - 1)


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
