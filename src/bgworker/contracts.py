"""What a storage engine implements: who accepts jobs, and who hands them to workers.

Batch is the only form: one job is a list of one. Each method is one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum
from typing import Protocol

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
from bgworker.states import ALIVE, JobState
from bgworker.values import dataclass


class Feature(str, Enum):
    """What an engine can do beyond running a job once; a task that needs more is refused."""

    AFTER = "after"
    CALLBACK = "callback"
    CONCURRENCY = "concurrency"
    CONCURRENCY_KEY = "concurrency_key"
    DELAY = "delay"
    IDEMPOTENCY = "idempotency"
    PAUSE = "pause"
    PRIORITY = "priority"
    QUEUE_LIMIT = "queue_limit"
    RATE_LIMIT = "rate_limit"
    RESULT = "result"
    RETRY = "retry"
    SCHEDULE = "schedule"
    TIMEOUT = "timeout"
    UNIQUE = "unique"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A moment of a schedule, and the job it became."""

    task: str
    expression: str
    fire_at: Millis
    job: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """What one call of ``Engine.fire`` brought.

    ``next_at`` is when the worker's next tick is due: in the past when there is more to do now,
    ``None`` when it has no schedule.
    """

    ticks: tuple[Tick, ...] = ()
    next_at: Millis | None = None


class Dispatcher(Protocol):
    """The producer's side: all that application code depends on. Safe to use from any thread."""

    @property
    def features(self) -> frozenset[Feature]:
        """What this engine can do."""
        ...

    def enqueue(self, jobs: Sequence[JobSpec], /) -> Sequence[JobId]:
        """Store all of them or none; returns once they are as durable as the engine promises.

        Raises :class:`bgworker.errors.QueueUnavailable` (``DiskFull`` for lack of room) or
        :class:`bgworker.errors.UnusableDatabase`: then nothing was stored.
        """
        ...

    def enqueue_each(self, job: JobSpec, args: Sequence[str], /) -> Sequence[JobId]:
        """Store one job like this for each of the arguments; as :meth:`enqueue` otherwise."""
        ...

    def fetch(self, job: JobId, /) -> JobRecord:
        """Everything stored about one job; raises :class:`bgworker.errors.UnknownJob`."""
        ...

    def find(self, task: str, key: str, /) -> JobId | None:
        """The stored job of this task with this idempotency key, if there is one."""
        ...

    def wait(self, job: JobId, timeout: float | None, /) -> JobRecord:
        """The job's record once it has ended; raises ``TimeoutError`` and ``UnknownJob``."""
        ...

    def cancel(
        self, jobs: Sequence[JobId], why: str, /, *, only: Collection[JobState] = ALIVE
    ) -> Sequence[Answer]:
        """End jobs as cancelled: waiting ones here and now, a running one by its worker, soon.

        From the answer on the job will not end in another way. ``why`` is for the reader of its
        error; of several requests the first one's is kept. Jobs in other states than ``only`` stay
        as they are.
        """
        ...

    def retry(self, jobs: Sequence[JobId], /) -> Sequence[Answer]:
        """Queue jobs once more: failed, dead and cancelled ones with all their budgets.

        A job that waits for a retry or for its time becomes due now. Others stay as they are.
        """
        ...

    def purge(self, queue: str | None, why: str, /) -> int:
        """Cancel what waits in a queue, or in all of them; returns how many jobs that were.

        In transactions of a few hundred jobs each, so that nobody has to wait for long. What is
        enqueued meanwhile stays.
        """
        ...

    def policy_of(self, task: str, /) -> TaskPolicy | None:
        """What a worker declared for this task, as far as producers need it; ``None`` if none did.

        Queue, priority, concurrency and rate.
        """
        ...

    def pause(self, queue: str, /, *, paused: bool = True) -> None:
        """Let no worker start jobs of this queue (``paused=False``: let them again)."""
        ...

    def close(self) -> None:
        """Free everything; may be called twice."""
        ...


class Membership(Protocol):
    """A worker's seat at an engine, from ``join`` to ``leave``."""

    @property
    def name(self) -> str:
        """The worker's name, unique among those alive."""
        ...

    @property
    def board_fd(self) -> int:
        """The file of the worker's scoreboard; every process that inherits it proves life."""
        ...

    def fileno(self) -> int:
        """Readable when somebody enqueued; for a selector."""
        ...

    def silence(self) -> bool:
        """Take all rings so far; call it before the claim they asked for.

        Whether one of them was about a cancellation. Such a ring may get lost.
        """
        ...

    def decline(self, tasks: frozenset[str], /) -> None:
        """Claim no jobs of exactly these tasks from now on: the worker cannot run them.

        They stay where they are in their queues, for workers that can.
        """
        ...


class Engine(Dispatcher, Protocol):
    """The worker's side. The engine owns the state machine; see ``model.TRANSITIONS``."""

    def join(self, profile: WorkerProfile, tasks: Sequence[TaskPolicy], /) -> Membership:
        """Enter the list of workers with a proof of life that ends with the process.

        What ``tasks`` say of schedules holds from now on for all workers. A schedule that no live
        worker declares any more is disabled, unless this worker declares no task at all.
        """
        ...

    def exchange(
        self, member: Membership, ended: Sequence[Ended], want: int, said: Sequence[Said] = (), /
    ) -> Exchange:
        """Record progress and how claims ended, and claim up to ``want`` jobs, in one transaction.

        An ending whose claim is no longer held changes nothing and comes back as stale; such
        progress is ignored. A job whose cancellation was asked for ends as cancelled, whatever its
        ending says. With any other ending, the job in its ``then`` is stored.
        Claims come lowest priority number first, then in the order they became available.
        Raises :class:`bgworker.errors.DiskFull` for lack of room; with a ``want`` of 0 the engine
        first uses what it holds back for endings.
        """
        ...

    def to_cancel(self, member: Membership, /) -> frozenset[tuple[JobId, int]]:
        """The claims, as id and number, that this worker holds and is asked to stop."""

    def fire(self, member: Membership, /) -> Fired:
        """Enqueue what the schedules this worker declares are due for, some jobs at a time.

        A tick and its job are stored in one transaction; each tick becomes one job however many
        workers ask. Which missed ticks become jobs is decided by :mod:`bgworker.standing`.
        """
        ...

    def tidy(self) -> None:
        """What may wait until the claims of an exchange are handed out; call it after each."""
        ...

    def changed(self) -> bool:
        """Whether somebody else committed since the last call; reads no table."""
        ...

    def rescue(self, member: Membership, /) -> Sequence[Rescued]:
        """Take back the jobs of workers that are proved dead; never those of a live one.

        One that is dead by this has its task's ``on_failure`` stored with it, see ``callbacks``.

        Raises :class:`bgworker.errors.SeatLost` when ``member`` can no longer prove its own life.
        """
        ...

    def peers(self, member: Membership, /) -> frozenset[int]:
        """Process ids of other workers whose end is worth a look: hints, :meth:`rescue` proves.

        Called often: cheap as long as nobody comes or goes.
        """
        ...

    def expire(self, before: Millis, /) -> int:
        """Delete some of the jobs that ended before this instant, in one short transaction.

        How many: 0 when there are no more, or while another worker is at it. A job whose result a
        blocked one waits for is kept. Tallies follow; what was ever counted stays counted.
        """
        ...

    def leave(self, member: Membership, /) -> None:
        """Leave cleanly. Whatever is still claimed is given back, nothing is charged."""
        ...
