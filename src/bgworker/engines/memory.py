"""The engine without a file: for tests, and as the plainest statement of the rules."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence

from bgworker.callbacks import after_failure
from bgworker.clock import Clock, SystemClock
from bgworker.codec import dump_error
from bgworker.contracts import Feature, Fired, Membership
from bgworker.engines.memory_jobs import Job, claim_of, expired
from bgworker.engines.memory_schedules import MemorySchedules
from bgworker.engines.memory_seat import MemorySeat
from bgworker.engines.memory_table import JobTable
from bgworker.errors import UnknownJob
from bgworker.limits import Bucket, Limit, Rules, choose
from bgworker.model import (
    CRASH_BUDGET,
    EXPIRED,
    Answer,
    Cancelled,
    Claim,
    Dead,
    Ended,
    Exchange,
    JobId,
    JobRecord,
    JobSpec,
    Millis,
    QueuePolicy,
    Released,
    Rescued,
    Said,
    TaskPolicy,
    WorkerProfile,
    job_number,
    with_results,
)
from bgworker.states import ALIVE, JobState
from bgworker.values import replace
from bgworker.wake import CANCEL, WORK


class MemoryEngine:
    """Jobs in a dictionary; every method holds one lock."""

    features = frozenset(Feature)

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._table = JobTable()
        self._jobs = self._table.jobs
        self._seats: dict[str, MemorySeat] = {}
        self._policies: dict[str, TaskPolicy] = {}
        self._queues: dict[str, QueuePolicy] = {}
        self._paused: set[str] = set()
        self._rates: dict[tuple[str, str], int] = {}
        self._idempotent: dict[tuple[str, str], JobId] = {}
        self._schedules = MemorySchedules()
        self._changed = threading.Condition(threading.RLock())
        self._version = 0
        self._seen_version = 0

    def enqueue(self, jobs: Sequence[JobSpec], /) -> Sequence[JobId]:
        """Store all of them, then ring the workers."""
        with self._changed:
            now, place = self._clock.now(), self._table.last
            before, ids = dict(self._idempotent), list[JobId]()
            try:
                for job in jobs:
                    ids.append(self._meant(job) or self._insert(job, ids, now, place))
            except UnknownJob:  # all of them or none
                self._idempotent = before
                for number in range(place + 1, self._table.last + 1):
                    self._jobs.pop(number, None)
                self._table.last = place
                raise
            self._commit()
        return ids

    def enqueue_each(self, job: JobSpec, args: Sequence[str], /) -> Sequence[JobId]:
        """Store one job like this for each of the arguments."""
        return self.enqueue([replace(job, args=one) for one in args])

    def fetch(self, job: JobId, /) -> JobRecord:
        """Everything stored about one job; raises :class:`UnknownJob`."""
        with self._changed:
            number = job_number(job)
            found = None if number is None else self._jobs.get(number)
            if found is None:
                raise UnknownJob(f"no job {job!r} in memory")
            return replace(found.record, worker=found.worker)

    def find(self, task: str, key: str, /) -> JobId | None:
        """The stored job with this idempotency key."""
        with self._changed:
            return self._idempotent.get((task, key))

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

    def cancel(
        self, jobs: Sequence[JobId], why: str, /, *, only: Collection[JobState] = ALIVE
    ) -> Sequence[Answer]:
        """End what waits; note of what runs that it is to be stopped."""
        with self._changed:
            found = {id_: self._table.find(id_) for id_ in jobs}
            were = {id_: job.record.state if job else None for id_, job in found.items()}
            self._table.cancel(
                [job for job in found.values() if job and job.record.state in only],
                dump_error("Cancelled", why),
                self._clock.now(),
            )
            self._commit(message=CANCEL)
            done = {JobState.CANCELLED, *only}
            return [Answer(id=id_, was=was, done=was in done) for id_, was in were.items()]

    def retry(self, jobs: Sequence[JobId], /) -> Sequence[Answer]:
        """Queue jobs once more."""
        with self._changed:
            order = sorted(set(jobs), key=lambda id_: job_number(id_) or 0)
            answers = {id_: self._table.retry(id_, self._clock.now()) for id_ in order}
            self._commit()
            return [answers[id_] for id_ in dict.fromkeys(jobs)]

    def purge(self, queue: str | None, why: str, /) -> int:
        """Cancel what waits in a queue, or in all of them."""
        with self._changed:
            jobs = [job for job in self._jobs.values() if queue in {None, job.record.queue}]
            error, now = dump_error("Cancelled", why), self._clock.now()
            count = self._table.cancel(jobs, error, now, running=False)
            self._commit()
            return count

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
            self._schedules.declare(tasks, seat, self._seats.values(), self._clock.now())
            return seat

    def exchange(
        self, member: Membership, ended: Sequence[Ended], want: int, said: Sequence[Said] = (), /
    ) -> Exchange:
        """Note progress, settle, make due jobs available, claim."""
        with self._changed:
            now = self._clock.now()
            self._table.unblocked = 0
            for word in said:
                self._jobs[int(word.claim.id)].note(word)
            states = [(end, self._settle(end, now)) for end in ended]
            due = self._promote(now)
            claims, expired, opens_at = self._claim(self._seats[member.name], want, now)
            self._commit(ring=False)
            return Exchange(
                claims=claims,
                stale=tuple(end for end, state in states if state is None),
                cancelled=tuple(end for end, state in states if state is JobState.CANCELLED),
                expired=expired,
                unblocked=self._table.unblocked,
                next_due_at=min((at for at in (due, opens_at) if at is not None), default=None),
            )

    def to_cancel(self, member: Membership, /) -> frozenset[tuple[JobId, int]]:
        """The claims of this worker that somebody wants stopped."""
        with self._changed:
            held = self._held_by(member.name)
            return frozenset((job.record.id, job.claim) for job in held if job.cancel is not None)

    def fire(self, member: Membership, /) -> Fired:
        """Enqueue what is due of this worker's schedules."""
        with self._changed:
            mine, now = self._seats[member.name].schedules or (), self._clock.now()
            fired, next_at = self._schedules.fire(mine, now)
            ids = self.enqueue([one.job() for one, _ in fired]) if fired else ()
            ticks = tuple(one.tick(at, id_) for (one, at), id_ in zip(fired, ids, strict=True))
            return Fired(ticks=ticks, next_at=next_at)

    def tidy(self) -> None:
        """Nothing is ever put off."""

    def changed(self) -> bool:
        """Whether anything was committed since the last call."""
        with self._changed:
            seen, self._seen_version = self._seen_version, self._version
            return seen != self._version

    def peers(self, _: Membership, /) -> frozenset[int]:
        """Nobody: workers of other processes cannot share this memory."""
        return frozenset()

    def rescue(self, member: Membership, /) -> Sequence[Rescued]:
        """Take back the jobs of seats that were marked dead."""
        with self._changed:
            rescued: list[Rescued] = []
            for seat in [s for s in self._seats.values() if s.dead and s.name != member.name]:
                running = seat.running()
                held = self._held_by(seat.name)
                rescued += [self._take_back(job, seat.name, running) for job in held]
                self._seats.pop(seat.name).close()
                self._schedules.retire(self._seats.values())
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
                self._table.settle(Ended(claim_of(job), Released()), self._clock.now())
            self._seats.pop(member.name).close()
            self._schedules.retire(self._seats.values())
            self._commit()

    def _insert(self, spec: JobSpec, stored: Sequence[JobId], now: int, place: int) -> JobId:
        later = spec.run_at is not None and spec.run_at > now
        self._table.last += 1
        id_ = JobId(str(self._table.last))
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
        job = Job(record, place, spec, tuple(map(int, parents)))
        self._jobs[int(id_)] = job
        if parents:
            self._table.block(job, now)
        if spec.idempotency_key is not None:
            self._idempotent[spec.task, spec.idempotency_key] = id_
        return id_

    def _meant(self, spec: JobSpec) -> JobId | None:
        """The job that is there already, if this one is not to be added."""
        if spec.idempotency_key is not None:
            found = self._idempotent.get((spec.task, spec.idempotency_key))
            if found is not None:
                return found
        return self._table.twin_of(spec)

    def _settle(self, end: Ended, now: int) -> JobState | None:
        state = self._table.settle(end, now)
        overruled = state is JobState.CANCELLED and not isinstance(end.ending, Cancelled)
        if end.then is not None and state is not None and not overruled:
            self._insert(end.then, (), now, self._table.last)
        return state

    def _promote(self, now: int) -> int | None:
        delayed = (JobState.SCHEDULED, JobState.RETRYING)
        waiting = [job for job in self._jobs.values() if job.record.state in delayed]
        for job in waiting:
            if (job.record.run_at or 0) <= now:
                job.record = replace(job.record, state=JobState.QUEUED)
                job.place = self._table.last
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
            lines = self._table.lines(seat.queues, rules, seat.declined)
            chosen = [self._jobs[n] for n in choose(lines, want - len(claims), rules.now)]
            for key, next_at in rules.charge().items():
                self._rates[key] = next_at
            opens_at = rules.opens_at() if lines else None
            late = [job for job in chosen if (job.spec.expires_at or now + 1) <= now]
            for job in chosen:
                self._start(job, seat.name)
                (expired if job in late else claims).append(claim_of(job))
            for job in late:
                self._table.settle(Ended(claim_of(job), EXPIRED), now)
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
            self._table.settle(Ended(claim, Released()), now)
        elif job.cancel is not None:
            self._table.settle(Ended(claim, Cancelled(job.cancel)), now)
        elif claim.crashes + 1 >= CRASH_BUDGET:
            ending = Dead(error, crashed=True)
            policy = self._policies.get(claim.task)
            name = policy.on_failure if policy else None
            then = after_failure(name, claim, ending) if name else None
            self._settle(Ended(claim, ending, then=then), now)
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

    def _commit(self, *, ring: bool = True, message: bytes = WORK) -> None:
        self._version += 1
        self._changed.notify_all()
        for seat in self._seats.values() if ring else ():
            seat.ring(message)
