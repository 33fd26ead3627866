"""The jobs of the engine without a file, and the moves that concern more than one of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from bgworker.codec import dump_error
from bgworker.engines.memory_jobs import Job
from bgworker.limits import Line, Rules
from bgworker.model import (
    PAYLOAD_CAP,
    RESULTS_TOO_LARGE,
    Answer,
    Ended,
    JobId,
    JobRecord,
    JobSpec,
    Millis,
    job_number,
    with_results,
)
from bgworker.states import WAITING, JobState
from bgworker.values import replace


class JobTable:
    """Jobs by number. ``unblocked`` counts those that became available by another's success."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.last = 0
        """The highest number given so far; it is never given again."""
        self.unblocked = 0

    def find(self, id_: JobId) -> Job | None:
        """The job of this id."""
        number = job_number(id_)
        return None if number is None else self.jobs.get(number)

    def twin_of(self, spec: JobSpec) -> JobId | None:
        """The living job with the same unique key."""
        for job in self.jobs.values() if spec.unique is not None else ():
            same = (job.spec.task, job.spec.unique) == (spec.task, spec.unique)
            if same and not job.record.state.is_final:
                return job.record.id
        return None

    def block(self, job: Job, now: Millis) -> None:
        """Let a job that was just stored wait for its parents, of which some may have ended."""
        job.record = replace(job.record, state=JobState.BLOCKED)
        ended = [n for n in job.parents if self.jobs[n].record.state.is_final]
        for number in sorted(ended, key=self._succeeded):
            if job.record.state is JobState.BLOCKED:
                self._look_at_parents(job, number, now)

    def cancel(self, jobs: Sequence[Job], error: str, now: Millis, *, running: bool = True) -> int:
        """End what waits and what comes after it; note of what runs that it is to be stopped."""
        alive = self._living()
        waiting = [job for job in jobs if job.record.state in WAITING]
        for job in waiting:
            job.record = _cancelled(job.record, error, now)
        self._tell_children([int(job.record.id) for job in waiting], now)
        for job in jobs if running else ():
            if job.record.state is JobState.RUNNING:
                job.cancel = job.cancel or error
        return alive - self._living()

    def _living(self) -> int:
        return sum(not job.record.state.is_final for job in self.jobs.values())

    def retry(self, id_: JobId, now: Millis) -> Answer:
        """Bring a job back if its state, its twins and those it comes after allow it."""
        job = self.find(id_)
        if job is None:
            return Answer(id=id_, was=None, done=False)
        was = job.record.state
        known = [self.jobs[number] for number in job.parents if number in self.jobs]
        parents = [parent.record.state for parent in known]
        failed = any(state.is_final and state is not JobState.SUCCEEDED for state in parents)
        hopeless = failed or len(known) < len(job.parents)
        replaced = was.is_final and self.twin_of(job.spec) is not None
        done = not hopeless and not replaced and job.begin_anew(self.last, now)
        if done and JobState.SUCCEEDED in parents:
            number = job.parents[parents.index(JobState.SUCCEEDED)]
            self._look_at_parents(job, number, now)
        return Answer(id=id_, was=was, done=done)

    def settle(self, end: Ended, now: Millis) -> JobState | None:
        """Record an ending and tell who comes after; ``None`` if the claim is no longer held."""
        job = self.jobs.get(int(end.claim.id))
        if job is None or not job.is_held(end.claim):
            return None
        job.end(end, now)
        if job.record.state.is_final:
            self._tell_children([int(job.record.id)], now)
        return job.record.state

    def lines(
        self, queues: Sequence[str] | None, rules: Rules, declined: frozenset[str]
    ) -> list[Line]:
        """What waits in these queues (all, if ``None``), by the limits it waits for."""
        waiting: dict[tuple[str, str | None, str], list[tuple[int, int, int]]] = {}
        for number, job in self.jobs.items():
            queue, lane = job.record.queue, job.spec.lane
            served = (queues is None or queue in queues) and job.record.task not in declined
            if served and job.record.state is JobState.QUEUED:
                kind = (queue, lane, "" if lane is None else job.record.task)
                waiting.setdefault(kind, []).append((job.record.priority, job.place, number))
        return [
            Line(
                sorted(jobs),
                rules.of_queue(queue)
                if lane is None
                else rules.of_lane(queue, lane, task, self._running_in(lane)),
            )
            for (queue, lane, task), jobs in waiting.items()
        ]

    def _running_in(self, lane: str) -> int:
        return sum(
            job.spec.lane == lane and job.record.state is JobState.RUNNING
            for job in self.jobs.values()
        )

    def _succeeded(self, number: int) -> bool:
        return self.jobs[number].record.state is JobState.SUCCEEDED

    def _tell_children(self, parents: Sequence[int], now: int) -> None:
        """Level by level, so that a job names the nearest of those that failed."""
        told = deque(parents)
        while told:
            number = told.popleft()
            for child, job in list(self.jobs.items()):
                if number in job.parents and job.record.state is JobState.BLOCKED:
                    self._look_at_parents(job, number, now)
                    if job.record.state.is_final:
                        told.append(child)

    def _look_at_parents(self, job: Job, ended: int, now: int) -> None:
        """Let a blocked job go, or cancel it, or leave it blocked, now that one has ended."""
        state = self.jobs[ended].record.state
        parents = [self.jobs[number].record for number in job.parents]
        if state is not JobState.SUCCEEDED:
            why = f"job {ended}, which it comes after, is {state.value}"
            job.record = _cancelled(job.record, dump_error("ParentFailed", why), now)
        elif all(parent.state is JobState.SUCCEEDED for parent in parents):
            self._unblock(job, [parent.result or "null" for parent in parents], now)

    def _unblock(self, job: Job, results: list[str], now: int) -> None:
        args = with_results(job.record.args, job.spec.takes, results)
        if len(args) > PAYLOAD_CAP:
            job.record = _cancelled(job.record, RESULTS_TOO_LARGE, now)
            return
        later = (job.record.run_at or 0) > now
        job.record = replace(
            job.record,
            state=JobState.SCHEDULED if later else JobState.QUEUED,
            run_at=job.record.run_at if later else now,
            args=args,
        )
        job.place = self.last
        job.parents = ()
        self.unblocked += not later


def _cancelled(record: JobRecord, error: str, now: int) -> JobRecord:
    return replace(record, state=JobState.CANCELLED, error=error, finished_at=now)
