"""The engine without a file: for tests, and as the plainest statement of the rules."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bgworker.clock import Clock, SystemClock
from bgworker.codec import dump_error
from bgworker.contracts import Feature, Membership
from bgworker.errors import UnknownJob
from bgworker.model import (
    CRASH_BUDGET,
    Claim,
    Dead,
    Ended,
    Exchange,
    Failed,
    JobId,
    JobRecord,
    JobSpec,
    JobState,
    Released,
    Rescued,
    Retrying,
    Succeeded,
    TaskPolicy,
    WorkerProfile,
    job_number,
)
from bgworker.scoreboard import Scoreboard, Slot


@dataclass(slots=True)
class _Job:
    """The only mutable thing: a record, its place in the queue, and who holds it."""

    record: JobRecord
    place: int
    claim: int = 0
    worker: str | None = None


class MemorySeat:
    """See :class:`bgworker.contracts.Membership`; ``dead`` is set by a test that kills it."""

    def __init__(self, profile: WorkerProfile) -> None:
        self.name = profile.name
        self.queues = profile.queues
        self.dead = False
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self.board = Scoreboard(self._file.fileno(), profile.concurrency)
        self._bell, self.rope = socket.socketpair()
        self._bell.setblocking(False)
        self.rope.setblocking(False)

    @property
    def board_fd(self) -> int:
        """An unnamed file."""
        return self._file.fileno()

    def fileno(self) -> int:
        """Readable when somebody enqueued."""
        return self._bell.fileno()

    def silence(self) -> None:
        """Take all rings so far."""
        try:
            while self._bell.recv(4096):
                continue
        except BlockingIOError:
            return

    def ring(self) -> None:
        """Ring; a full buffer has rung already."""
        try:
            self.rope.send(b"!")
        except BlockingIOError:
            return

    def close(self) -> None:
        """Free file and sockets."""
        self.board.close()
        self._file.close()
        self._bell.close()
        self.rope.close()


class MemoryEngine:
    """Jobs in a dictionary; every method holds one lock."""

    features = frozenset(Feature)

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._jobs: dict[int, _Job] = {}
        self._seats: dict[str, MemorySeat] = {}
        self._policies: dict[str, tuple[str, int]] = {}
        self._changed = threading.Condition(threading.RLock())
        self._version = 0
        self._seen_version = 0

    def enqueue(self, jobs: Sequence[JobSpec], /) -> Sequence[JobId]:
        """Store all of them, then ring the workers."""
        with self._changed:
            now, place = self._clock.now(), len(self._jobs)
            ids = [self._insert(job, now, place) for job in jobs]
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

    def policy_of(self, task: str, /) -> tuple[str, int] | None:
        """Queue and priority that a worker declared for this task."""
        with self._changed:
            return self._policies.get(task)

    def close(self) -> None:
        """Free the seats; the jobs go with the object."""
        with self._changed:
            for seat in self._seats.values():
                seat.close()
            self._seats.clear()

    def join(self, profile: WorkerProfile, tasks: Sequence[TaskPolicy], /) -> Membership:
        """Enter the list of workers."""
        with self._changed:
            self._policies.update({task.name: (task.queue, task.priority) for task in tasks})
            seat = self._seats[profile.name] = MemorySeat(profile)
            return seat

    def exchange(self, member: Membership, ended: Sequence[Ended], want: int, /) -> Exchange:
        """Settle, make due jobs available, claim."""
        with self._changed:
            now = self._clock.now()
            stale = tuple(end for end in ended if not self._settle(end, now))
            due = self._promote(now)
            claims = self._claim(self._seats[member.name], want)
            self._commit(ring=False)
            return Exchange(claims=claims, stale=stale, next_due_at=due)

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
                running = {(slot.job, slot.claim) for slot in _slots(seat)}
                held = self._held_by(seat.name)
                rescued += [self._take_back(job, seat.name, running) for job in held]
                self._seats.pop(seat.name).close()
            if rescued:
                self._commit()
            return rescued

    def leave(self, member: Membership, /) -> None:
        """Give back what is claimed."""
        with self._changed:
            for job in self._held_by(member.name):
                self._settle(Ended(_claim_of(job), Released()), self._clock.now())
            self._seats.pop(member.name).close()
            self._commit()

    def _insert(self, spec: JobSpec, now: int, place: int) -> JobId:
        later = spec.run_at is not None and spec.run_at > now
        id_ = JobId(str(len(self._jobs) + 1))
        record = JobRecord(
            id=id_,
            task=spec.task,
            queue=spec.queue,
            state=JobState.SCHEDULED if later else JobState.QUEUED,
            priority=spec.priority,
            args=spec.args,
            enqueued_at=now,
            run_at=spec.run_at if later else now,
        )
        self._jobs[int(id_)] = _Job(record, place)
        return id_

    def _settle(self, end: Ended, now: int) -> bool:
        job = self._jobs[int(end.claim.id)]
        if job.claim != end.claim.number or job.record.state is not JobState.RUNNING:
            return False
        job.worker = job.worker if isinstance(end.ending, Succeeded | Failed | Dead) else None
        job.record = _after(job.record, end, now)
        return True

    def _promote(self, now: int) -> int | None:
        delayed = (JobState.SCHEDULED, JobState.RETRYING)
        waiting = [job for job in self._jobs.values() if job.record.state in delayed]
        for job in waiting:
            if (job.record.run_at or 0) <= now:
                job.record = replace(job.record, state=JobState.QUEUED)
                job.place = len(self._jobs)
        left = [job.record.run_at or 0 for job in waiting if job.record.state in delayed]
        return min(left, default=None)

    def _claim(self, seat: MemorySeat, want: int) -> tuple[Claim, ...]:
        queued = [
            job
            for job in self._jobs.values()
            if job.record.state is JobState.QUEUED
            and (seat.queues is None or job.record.queue in seat.queues)
        ]
        queued.sort(key=lambda job: (job.record.priority, job.place, int(job.record.id)))
        for job in queued[:want]:
            attempts = job.record.attempts + 1
            job.record = replace(job.record, state=JobState.RUNNING, attempts=attempts)
            job.claim += 1
            job.worker = seat.name
        return tuple(_claim_of(job) for job in queued[:want])

    def _held_by(self, worker: str) -> list[_Job]:
        return [
            job
            for job in self._jobs.values()
            if job.worker == worker and job.record.state is JobState.RUNNING
        ]

    def _take_back(self, job: _Job, worker: str, running: set[tuple[int, int]]) -> Rescued:
        now, claim = self._clock.now(), _claim_of(job)
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


def _after(record: JobRecord, end: Ended, now: int) -> JobRecord:
    ending = end.ending
    done = replace(record, started_at=end.started_at, finished_at=end.finished_at or now)
    match ending:
        case Succeeded(result):
            return replace(done, state=JobState.SUCCEEDED, result=result, error=None)
        case Failed(error):
            return replace(done, state=JobState.FAILED, error=error)
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


def _claim_of(job: _Job) -> Claim:
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


def _slots(seat: MemorySeat) -> list[Slot]:
    found = (seat.board.slot(n) for n in range(seat.board.slots))
    return [slot for slot in found if slot is not None]
