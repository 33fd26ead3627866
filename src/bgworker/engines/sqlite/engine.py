"""The engine on one SQLite file: the contract, and what producers need of it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from bgworker.clock import Clock, SystemClock
from bgworker.codec import dump_error
from bgworker.contracts import Feature, Fired, Membership
from bgworker.engines.sqlite import control, rescue, schedules
from bgworker.engines.sqlite.enqueue import insert, insert_each
from bgworker.engines.sqlite.exchange import exchange
from bgworker.engines.sqlite.guest import enqueue_as_guest
from bgworker.engines.sqlite.locks import QueueFiles
from bgworker.engines.sqlite.peers import Peers
from bgworker.engines.sqlite.queries import SQL
from bgworker.engines.sqlite.records import find_record
from bgworker.engines.sqlite.retention import Broom
from bgworker.engines.sqlite.seat import SqliteSeat, take_seat
from bgworker.engines.sqlite.store import Store
from bgworker.engines.sqlite.transaction import transact
from bgworker.errors import DatabaseGone, DiskFull, SeatLost
from bgworker.listing import Listing
from bgworker.model import (
    Answer,
    Ended,
    Exchange,
    JobId,
    JobRecord,
    JobSpec,
    Millis,
    Rescued,
    Said,
    TaskPolicy,
    WorkerProfile,
)
from bgworker.states import ALIVE, WAITING, JobState
from bgworker.wake import CANCEL, Doorbell, Ringer

_SAFETY_NET = 0.25  # seconds; a waiter looks again although no bell rang
_WORKER_PATIENCE = 0.4
"""Seconds a worker waits for a foreign program's lock before it looks after its children again."""
_LEAVING_PATIENCE = 2.0


Insertion: TypeAlias = Callable[[sqlite3.Connection], list[JobId]]


class SqliteEngine:
    """Jobs in one file.

    ``durable=False`` gives up the flush per commit: a power cut, never the crash of a process, may
    then undo the last commits. ``allow_network_fs``: only this machine uses the file.
    """

    features = frozenset(Feature)

    def __init__(
        self,
        path: str,
        *,
        clock: Clock | None = None,
        durable: bool = True,
        allow_network_fs: bool = False,
    ) -> None:
        self.files = QueueFiles(os.path.realpath(path))
        self._clock = clock or SystemClock()
        self._store = Store(
            self.files, self._clock, durable=durable, allow_network_fs=allow_network_fs
        )
        self._workers = Ringer(self.files.workers)
        self._waiters = Ringer(self.files.waiters)
        self._broom = Broom(self._store)
        self._locks = Listing(self.files.workers)
        self._peers = Peers(self._store, self._locks)
        self._seen_version: object = None
        self._seats: list[SqliteSeat] = []

    # --- the producer's side

    def enqueue(self, jobs: Sequence[JobSpec], /) -> Sequence[JobId]:
        """Store all of them or none, and ring the workers."""
        if not jobs:
            return []
        size = sum([len(job.args) for job in jobs])
        return self._store_jobs(lambda db: insert(db, jobs, self._clock.now()), size)

    def enqueue_each(self, job: JobSpec, args: Sequence[str], /) -> Sequence[JobId]:
        """Store one job like this for each of the arguments, and ring the workers."""
        if not args:
            return []
        size = sum(map(len, args))
        return self._store_jobs(lambda db: insert_each(db, job, args, self._clock.now()), size)

    def _store_jobs(self, insertion: Insertion, size: int) -> list[JobId]:
        try:
            ids = self._insert(insertion, size)
        except DiskFull:  # the log was written back: from its head on there may be room
            ids = self._insert(insertion, size)
        self._store.tidy()
        return ids

    def _insert(self, insertion: Insertion, size: int) -> list[JobId]:
        def insert(db: sqlite3.Connection) -> list[JobId]:
            ids = insertion(db)
            self._store.carry(size)
            # Before COMMIT: a worker needs as long to wake up as the flush takes, and finds the
            # mutex taken until the jobs can be seen. A bell for nothing is harmless.
            self._workers.ring()
            return ids

        return transact(self._store, insert)

    def enqueue_in(
        self, connection: sqlite3.Connection, jobs: Sequence[JobSpec], /
    ) -> Sequence[JobId]:
        """Store all of them, or none, in the open transaction of a connection of the caller's.

        They are there if and only if the caller commits, as durable as that connection's commits.
        :meth:`ring` then; without it workers look by themselves within a second.

        Raises:
            ValueError: the connection is to another file, or in no transaction.
            UnusableDatabase: the file has no queue of this version yet.
        """
        return enqueue_as_guest(connection, self.files, jobs, self._clock.now())

    def ring(self) -> None:
        """Wake the workers: something was committed elsewhere."""
        self._workers.ring()

    def pause(self, queue: str, /, *, paused: bool = True) -> None:
        """Let no worker start jobs of this queue, or let them again; they may be added."""
        control.pause(self._store, queue, paused=paused)
        self._workers.ring()

    def fetch(self, job: JobId, /) -> JobRecord:
        """Everything stored about one job; raises :class:`bgworker.errors.UnknownJob`."""
        return find_record(self._store.read, job, self.files.database)

    def find(self, task: str, key: str, /) -> JobId | None:
        """The stored job with this idempotency key."""
        found = self._store.read(SQL["idempotent_job"], (task, key))
        return JobId(str(found[0][0])) if found else None

    def wait(self, job: JobId, timeout: float | None, /) -> JobRecord:
        """The job's record once it has ended; the workers ring after each group of endings."""
        deadline = None if timeout is None else time.monotonic() + timeout
        record = self.fetch(job)
        if record.state.is_final:
            return record
        bell = Doorbell(self.files.waiters, f"{os.getpid()}-{os.urandom(4).hex()}.bell")
        with contextlib.closing(bell):
            while not (record := self.fetch(job)).state.is_final:
                self._store.check_place()
                left = _SAFETY_NET if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"job {job} is {record.state.value} after {timeout} s")
                bell.wait(min(left, _SAFETY_NET))
        return record

    def cancel(
        self, jobs: Sequence[JobId], why: str, /, *, only: Collection[JobState] = ALIVE
    ) -> Sequence[Answer]:
        """End jobs as cancelled: waiting ones here and now, a running one by its worker, soon."""
        error = dump_error("Cancelled", why)
        answers = control.cancel(self._store, jobs, error, self._clock.now(), only)
        if any(answer.was is JobState.RUNNING for answer in answers):
            self._workers.ring(CANCEL)
        if any(answer.was in WAITING for answer in answers):
            self._waiters.ring()
        return answers

    def retry(self, jobs: Sequence[JobId], /) -> Sequence[Answer]:
        """Queue jobs once more; those that had ended with all their budgets."""
        answers = control.retry(self._store, jobs, self._clock.now())
        if any(answer.done for answer in answers):
            self._workers.ring()
        return answers

    def purge(self, queue: str | None, why: str, /) -> int:
        """Cancel what waits now, a few hundred jobs in each transaction."""
        error = dump_error("Cancelled", why)
        after, last = 0, control.last_job(self._store)
        gone = 0
        while ids := control.waiting(self._store, queue, after, last):
            gone += control.end_waiting(self._store, ids, error, self._clock.now())
            after = ids[-1]
            self._store.tidy()
            self._waiters.ring()
        return gone

    def policy_of(self, task: str) -> TaskPolicy | None:
        """What a worker has told of this task, as far as producers need it, or ``None``."""
        found = self._store.read(SQL["get_task"], (task,))
        if not found:
            return None
        queue, priority, concurrency, rate = found[0]
        return TaskPolicy(
            name=task, queue=queue, priority=priority, concurrency=concurrency, rate_limit=rate
        )

    def close(self) -> None:
        """Close the file and the sockets; to others, workers that did not leave are dead."""
        for seat in self._seats:
            seat.vanish()
        self._seats.clear()
        self._broom.close()
        self._store.close()
        self._workers.close()
        self._waiters.close()

    # --- the worker's side

    def join(self, profile: WorkerProfile, tasks: Sequence[TaskPolicy], /) -> Membership:
        """Take the lock that proves life, then enter the list of workers."""
        self._store.connection()
        self._store.hold_reserve()
        seat = take_seat(self._store, self.files, profile, tasks, self._clock.now())
        self._seats.append(seat)
        rescue.rescue_traceless(self._store, self.files, seat, self._clock.now())
        self._store.wait_for_foreigners(_WORKER_PATIENCE)
        return seat

    def exchange(
        self, member: Membership, ended: Sequence[Ended], want: int, said: Sequence[Said] = (), /
    ) -> Exchange:
        """Record endings, make due jobs available and claim: one transaction, one flush."""
        seat, now = _own(member), self._clock.now()
        try:
            done = exchange(self._store, seat, ended, want, now, said=said)
        except DiskFull:
            if want or not ended:
                raise
            self._store.spend_reserve()
            done = exchange(self._store, seat, ended, 0, now, vital=True)
        if ended:
            self._waiters.ring()
        if done.unblocked > len(done.claims):
            self._workers.ring()
        return done

    def to_cancel(self, member: Membership, /) -> frozenset[tuple[JobId, int]]:
        """The claims of this worker that somebody wants stopped."""
        rows = self._store.read(SQL["to_cancel"], (_own(member).number,))
        return frozenset((JobId(str(id_)), number) for id_, number in rows)

    def fire(self, member: Membership, /) -> Fired:
        """Enqueue what is due of this worker's schedules, and ring the workers."""
        seat, now = _own(member), self._clock.now()
        return schedules.fire(self._store, seat.number, seat.schedules, now, self._workers.ring)

    def tidy(self) -> None:
        """Write the log back when it is full; be ready for a claim."""
        self._store.tidy(relax=True)

    def changed(self) -> bool:
        """Whether another connection committed since the last call (reads one page header)."""
        version = self._store.read(SQL["data_version"])[0]
        changed = version != self._seen_version
        self._seen_version = version
        return changed

    def rescue(self, member: Membership, /) -> Sequence[Rescued]:
        """Take back the jobs of workers whose proof of life is gone."""
        seat = _own(member)
        self._store.check_place()
        if not seat.life.intact():
            raise SeatLost(f"{seat.life.path} was removed: other workers take this one for dead")
        rescued = rescue.rescue_dead(self._store, self._locks, seat, self._clock.now())
        if rescued:
            self._workers.ring()
            self._waiters.ring()
        return rescued

    def peers(self, member: Membership, /) -> frozenset[int]:
        """Process ids of the other workers."""
        return self._peers.pids(_own(member))

    def expire(self, before: Millis, /) -> int:
        """Delete some of the jobs that ended before this instant; how many."""
        return self._broom.sweep(before)

    def leave(self, member: Membership, /) -> None:
        """Give back what is claimed and let go of the proof of life."""
        seat = _own(member)
        self._store.wait_for_foreigners(_LEAVING_PATIENCE)
        try:
            self._give_back(seat)
        finally:
            seat.leave()
            self._seats.remove(seat)
        self._workers.ring()

    def _give_back(self, seat: SqliteSeat) -> None:
        try:
            rescue.give_back(self._store, seat, self._clock.now())
        except DatabaseGone:  # and with it what there was to give back
            return
        except DiskFull:
            self._store.spend_reserve()
            rescue.give_back(self._store, seat, self._clock.now(), vital=True)


def _own(member: Membership) -> SqliteSeat:
    if not isinstance(member, SqliteSeat):
        raise TypeError(f"{member!r} did not join this engine")
    return member
