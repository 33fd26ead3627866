"""The engine without a file: for tests, and as the plainest statement of the rules."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from bgworker.clock import Clock, SystemClock
from bgworker.codec import dump_error
from bgworker.contracts import Feature, Membership
from bgworker.engines.memory_jobs import FINAL, Job, after, claim_of, expired
from bgworker.engines.memory_seat import MemorySeat
from bgworker.errors import UnknownJob
from bgworker.limits import Bucket, Limit, Line, Rules, choose
from bgworker.model import (
    CRASH_BUDGET,
    EXPIRED,
    PAYLOAD_CAP,
    RESULTS_TOO_LARGE,
    Claim,
    Dead,
    Ended,
    Exchange,
    JobId,
    JobRecord,
    JobSpec,
    JobState,
    Millis,
    QueuePolicy,
    Released,
    Rescued,
    TaskPolicy,
    WorkerProfile,
    job_number,
    with_results,
)


class MemoryEngine:
    """Jobs in a dictionary; every method holds one lock."""

    features = frozenset(Feature)

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._jobs: dict[int, Job] = {}
        self._last = 0
        self._seats: dict[str, MemorySeat] = {}
        self._policies: dict[str, TaskPolicy] = {}
        self._queues: dict[str, QueuePolicy] = {}
        self._paused: set[str] = set()
        self._rates: dict[tuple[str, str], int] = {}
        self._idempotent: dict[tuple[str, str], JobId] = {}
        self._unblocked = 0
        self._changed = threading.Condition(threading.RLock())
        self._version = 0
        self._seen_version = 0

    def enqueue(self, jobs: Sequence[JobSpec], /) -> Sequence[JobId]:
        """Store all of them, then ring the workers."""
        with self._changed:
            now, place = self._clock.now(), self._last
            before, ids = dict(self._idempotent), list[JobId]()
            try:
                for job in jobs:
                    ids.append(self._meant(job) or self._insert(job, ids, now, place))
            except UnknownJob:  # all of them or none
                self._idempotent = before
                for number in range(place + 1, self._last + 1):
                    self._jobs.pop(number, None)
                self._last = place
                raise
            self._commit()
        return ids

    def fetch(self, job: JobId, /) -> JobRecord:
        """Everything stored about one job; raises :class:`UnknownJob`."""
        with self._changed:
            number = job_number(job)
            found = None if number is None else self._jobs.get(number)
            if found is None:
                raise UnknownJob(f"no job {job!r} in memory")
            return replace(found.record, worker=found.worker)

    def wait(self, job: JobId, timeout: float | None, /) -> JobRecord:
        """The job's record once it has ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not (record := self.fetch(job)).state.is_final:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"job {job} is {record.state.value} after {timeout} s")
                self._changed.wait(left)
            return record

    def policy_of(self, task: str, /) -> TaskPolicy | None:
        """What a worker declared for this task, as far as producers need it."""
        with self._changed:
            found = self._policies.get(task)
            if found is None:
                return None
            return TaskPolicy(
                name=task,
                queue=found.queue,
                priority=found.priority,
                concurrency=found.concurrency,
                rate_limit=found.rate_limit,
            )

    def pause(self, queue: str, /, *, paused: bool = True) -> None:
        """Let no worker start jobs of this queue, or let them again."""
        with self._changed:
            (self._paused.add if paused else self._paused.discard)(queue)
            self._commit()

    def close(self) -> None:
        """Free the seats; the jobs go with the object."""
        with self._changed:
            for seat in self._seats.values():
                seat.close()
            self._seats.clear()

    def join(self, profile: WorkerProfile, tasks: Sequence[TaskPolicy], /) -> Membership:
        """Enter the list of workers."""
        with self._changed:
            self._policies.update({task.name: task for task in tasks})
            self._queues.update({queue.name: queue for queue in profile.limits})
            seat = self._seats[profile.name] = MemorySeat(profile)
            return seat

    def exchange(self, member: Membership, ended: Sequence[Ended], want: int, /) -> Exchange:
        """Settle, make due jobs available, claim."""
        with self._changed:
            now = self._clock.now()
            self._unblocked = 0
            stale = tuple(end for end in ended if not self._settle(end, now))
            due = self._promote(now)
            claims, expired, opens_at = self._claim(self._seats[member.name], want, now)
            self._commit(ring=False)
            return Exchange(
                claims=claims,
                stale=stale,
                expired=expired,
                unblocked=self._unblocked,
                next_due_at=min((at for at in (due, opens_at) if at is not None), default=None),
            )

    def tidy(self) -> None:
        """Nothing is ever put off."""

    def changed(self) -> bool:
        """Whether anything was committed since the last call."""
        with self._changed:
            seen, self._seen_version = self._seen_version, self._version
            return seen != self._version

    def rescue(self, member: Membership, /) -> Sequence[Rescued]:
        """Take back the jobs of seats that were marked dead."""
        with self._changed:
            rescued: list[Rescued] = []
            for seat in [s for s in self._seats.values() if s.dead and s.name != member.name]:
                running = seat.running()
                held = self._held_by(seat.name)
                rescued += [self._take_back(job, seat.name, running) for job in held]
                self._seats.pop(seat.name).close()
            if rescued:
                self._commit()
            return rescued

    def expire(self, before: Millis, /) -> int:
        """Delete all of them at once."""
        with self._changed:
            old = expired(self._jobs, before)
            for number in old:
                del self._jobs[number]
            kept = self._idempotent.items()
            self._idempotent = {key: job for key, job in kept if int(job) in self._jobs}
            return len(old)

    def leave(self, member: Membership, /) -> None:
        """Give back what is claimed."""
        with self._changed:
            for job in self._held_by(member.name):
                self._settle(Ended(claim_of(job), Released()), self._clock.now())
            self._seats.pop(member.name).close()
            self._commit()

    def _insert(self, spec: JobSpec, stored: Sequence[JobId], now: int, place: int) -> JobId:
        later = spec.run_at is not None and spec.run_at > now
        self._last += 1
        id_ = JobId(str(self._last))
        record = JobRecord(
            id=id_,
            task=spec.task,
            queue=spec.queue,
            state=JobState.SCHEDULED if later else JobState.QUEUED,
            priority=spec.priority,
            args=spec.args if spec.after else with_results(spec.args, spec.takes, ()),
            enqueued_at=now,
            run_at=spec.run_at if later else now,
        )
        parents = [stored[one] if isinstance(one, int) else one for one in spec.after]
        for parent in parents:
            self.fetch(parent)  # raises UnknownJob
        job = Job(record, place, spec, tuple(dict.fromkeys(map(int, parents))))
        self._jobs[int(id_)] = job
        if parents:
            job.record = replace(record, state=JobState.BLOCKED)
            ended = [n for n in job.parents if self._jobs[n].record.state.is_final]
            for number in sorted(ended, key=self._succeeded):
                if job.record.state is JobState.BLOCKED:
                    self._look_at_parents(job, number, now)
        if spec.idempotency_key is not None:
            self._idempotent[spec.task, spec.idempotency_key] = id_
        return id_

    def _meant(self, spec: JobSpec) -> JobId | None:
        """The job that is there already, if this one is not to be added."""
        if spec.idempotency_key is not None:
            found = self._idempotent.get((spec.task, spec.idempotency_key))
            if found is not None:
                return found
        for job in self._jobs.values() if spec.unique is not None else ():
            same = (job.spec.task, job.spec.unique) == (spec.task, spec.unique)
            if same and not job.record.state.is_final:
                return job.record.id
        return None

    def _settle(self, end: Ended, now: int) -> bool:
        job = self._jobs.get(int(end.claim.id))
        if job is None or job.claim != end.claim.number or job.record.state is not JobState.RUNNING:
            return False
        job.worker = job.worker if isinstance(end.ending, FINAL) else None
        job.record = after(job.record, end, now)
        if job.record.state.is_final:
            self._tell_children(int(job.record.id), now)
        return True

    def _succeeded(self, number: int) -> bool:
        return self._jobs[number].record.state is JobState.SUCCEEDED

    def _tell_children(self, parent: int, now: int) -> None:
        """Level by level, so that a job names the nearest of those that failed."""
        told = deque([parent])
        while told:
            number = told.popleft()
            for child, job in list(self._jobs.items()):
                if number in job.parents and job.record.state is JobState.BLOCKED:
                    self._look_at_parents(job, number, now)
                    if job.record.state.is_final:
                        told.append(child)

    def _look_at_parents(self, job: Job, ended: int, now: int) -> None:
        """Let a blocked job go, or cancel it, or leave it blocked, now that one has ended."""
        state = self._jobs[ended].record.state
        parents = [self._jobs[number].record for number in job.parents]
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
        job.place = self._last
        self._unblocked += not later

    def _promote(self, now: int) -> int | None:
        delayed = (JobState.SCHEDULED, JobState.RETRYING)
        waiting = [job for job in self._jobs.values() if job.record.state in delayed]
        for job in waiting:
            if (job.record.run_at or 0) <= now:
                job.record = replace(job.record, state=JobState.QUEUED)
                job.place = self._last
        left = [job.record.run_at or 0 for job in waiting if job.record.state in delayed]
        return min(left, default=None)

    def _claim(
        self, seat: MemorySeat, want: int, now: int
    ) -> tuple[tuple[Claim, ...], tuple[Claim, ...], int | None]:
        claims: list[Claim] = []
        expired: list[Claim] = []
        opens_at = None
        while want > len(claims):
            rules = Rules(self._limits(seat), now)
            lines = self._lines(seat, rules)
            chosen = [self._jobs[n] for n in choose(lines, want - len(claims), rules.now)]
            for key, next_at in rules.charge().items():
                self._rates[key] = next_at
            opens_at = rules.opens_at() if lines else None
            late = [job for job in chosen if (job.spec.expires_at or now + 1) <= now]
            for job in chosen:
                self._start(job, seat.name)
                (expired if job in late else claims).append(claim_of(job))
            for job in late:
                self._settle(Ended(claim_of(job), EXPIRED), now)
            if not late:
                break
        return tuple(claims), tuple(expired), opens_at

    def _start(self, job: Job, worker: str) -> None:
        attempts = job.record.attempts + 1
        job.record = replace(job.record, state=JobState.RUNNING, attempts=attempts)
        job.claim += 1
        job.worker = worker

    def _limits(self, seat: MemorySeat) -> dict[tuple[str, str], Limit]:
        found: dict[tuple[str, str], Limit] = {}
        declared: list[tuple[str, str, int | None, float | None]] = [
            ("task", t.name, t.concurrency, t.rate_limit) for t in self._policies.values()
        ]
        declared += [("queue", q.name, q.concurrency, q.rate_limit) for q in self._queues.values()]
        declared.append(("workers", "", None, seat.rate_limit))
        for scope, name, concurrency, rate in declared:
            bucket = None if rate is None else Bucket(rate, self._rates.get((scope, name)))
            running = sum(
                job.record.state is JobState.RUNNING and job.record.queue == name
                for job in self._jobs.values()
            )
            found[scope, name] = Limit(concurrency=concurrency, running=running, bucket=bucket)
        for queue in self._paused:
            found.setdefault(("queue", queue), Limit()).paused = True
        return found

    def _lines(self, seat: MemorySeat, rules: Rules) -> list[Line]:
        waiting: dict[tuple[str, str | None, str], list[tuple[int, int, int]]] = {}
        for number, job in self._jobs.items():
            queue, lane = job.record.queue, job.spec.lane
            served = seat.queues is None or queue in seat.queues
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
            for job in self._jobs.values()
        )

    def _held_by(self, worker: str) -> list[Job]:
        return [
            job
            for job in self._jobs.values()
            if job.worker == worker and job.record.state is JobState.RUNNING
        ]

    def _take_back(self, job: Job, worker: str, running: set[tuple[int, int]]) -> Rescued:
        now, claim = self._clock.now(), claim_of(job)
        was_running = (int(claim.id), claim.number) in running
        error = dump_error("WorkerLost", f"the worker {worker} died while it ran this job")
        if not was_running:
            self._settle(Ended(claim, Released()), now)
        elif claim.crashes + 1 >= CRASH_BUDGET:
            self._settle(Ended(claim, Dead(error, crashed=True)), now)
        else:
            job.worker = None
            crashes = claim.crashes + 1
            job.record = replace(job.record, state=JobState.QUEUED, crashes=crashes, error=error)
        return Rescued(
            id=claim.id,
            task=claim.task,
            worker=worker,
            was_running=was_running,
            state=job.record.state,
        )

    def _commit(self, *, ring: bool = True) -> None:
        self._version += 1
        self._changed.notify_all()
        for seat in self._seats.values() if ring else ():
            seat.ring()


def _cancelled(record: JobRecord, error: str, now: int) -> JobRecord:
    return replace(record, state=JobState.CANCELLED, error=error, finished_at=now)
