"""The words of the queue: what a job is, how it moves, how it ends. Frozen values only.

Instants are integer milliseconds of UTC, durations are seconds as floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, NewType, TypeAlias

from bgworker.states import JobState
from bgworker.values import dataclass

JobId = NewType("JobId", str)
Millis: TypeAlias = int

DEFAULT_QUEUE: Final = "default"
DEFAULT_PRIORITY: Final = 5
"""Lower numbers run first."""
PRIORITY_LIMIT: Final = 2**31
"""No priority is further from 0."""
CRASH_BUDGET: Final = 3
"""A job whose process died this often is dead: it is poison, whatever its retries say."""
_LONGEST_WAIT: Final = 10 * 366 * 86_400.0
"""Seconds between two tries of a job; an instant far beyond could not even be stored."""
PAYLOAD_CAP: Final = 1024 * 1024
"""Bytes of JSON one argument list or one result may have."""


def job_number(job: str) -> int | None:
    """The number that is this job's id; ``None`` if no job can have such an id."""
    return int(job) if job.isascii() and job.isdigit() and len(job) <= 18 else None


def is_name(text: str) -> bool:
    """Whether a task or a queue may be called this: not empty, and possible to store as UTF-8."""
    return text != "" and text.encode(errors="ignore").decode() == text


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and when a failed job is tried again. Durations are seconds.

    The n-th retry waits ``delay * backoff ** (n - 1)``, at most ``max_delay``, changed at random by
    up to ``jitter`` (0.2 = ±20 %). ``on`` names the exceptions worth trying again.
    """

    max: int = 0
    delay: float = 1.0
    backoff: float = 2.0
    max_delay: float = 3600.0
    jitter: float = 0.1
    on: tuple[type[BaseException], ...] = (Exception,)

    def __post_init__(self) -> None:
        # Written so that NaN is refused too; the worker that would die of it is far away.
        limits: tuple[tuple[str, float, float, float], ...] = (
            ("max", self.max, 0, 1e9),
            ("delay", self.delay, 0, _LONGEST_WAIT),
            ("backoff", self.backoff, 1, 1e9),
            ("max_delay", self.max_delay, 0, _LONGEST_WAIT),
            ("jitter", self.jitter, 0, 1),
        )
        faults = [
            f"{name}={value!r} must be from {least:g} to {most:g}"
            for name, value, least, most in limits
            if not is_within(value, least, most)
        ]
        if not faults and self.max % 1:
            faults.append(f"max={self.max!r} must be a whole number")
        try:
            issubclass(object, self.on)
        except TypeError:
            faults.append(f"on={self.on!r} must be exception types, such as (OSError,)")
        if faults:
            raise ValueError(f"Retry: {'; '.join(faults)}")

    def wait(self, attempt: int, chance: float) -> float:
        """Seconds before the ``attempt``-th retry (from 1); ``chance`` is in [0, 1)."""
        try:
            base = min(self.max_delay, self.delay * self.backoff ** (attempt - 1))
        except OverflowError:  # as 2.0 ** 1100
            base = self.max_delay if self.delay else 0.0
        return base * (1 + self.jitter * (2 * chance - 1))


def is_within(value: float, least: float, most: float) -> bool:
    """Whether it is a number from ``least`` to ``most``."""
    try:
        return least <= value <= most
    except TypeError:  # text, a timedelta
        return False


class Missed(str, Enum):
    """What becomes of the ticks of a schedule that came while no worker ran it."""

    SKIP = "skip"
    LAST = "last"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a task is enqueued by itself: ``cron`` (five fields) in the zone ``tz``, or ``every``.

    ``every`` is a period in milliseconds, counted from the beginning of 1970 (UTC).
    """

    cron: str | None = None
    tz: str | None = None
    every: Millis | None = None
    missed: Missed = Missed.LAST

    @property
    def expression(self) -> str:
        """For people: the cron expression, or the period in words."""
        return self.cron or f"every {(self.every or 0) / 1000:.10g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPolicy:
    """What the worker must know about a task without importing it. Durations are seconds.

    ``retries_timeout`` is whether ``retry.on`` covers a timeout: types cannot leave the process
    that imported them. ``on_success`` and ``on_failure`` name the tasks to run after its end.
    """

    name: str
    queue: str
    priority: int
    retry: Retry = Retry()
    timeout: float | None = None
    hard_timeout: float | None = None
    retries_timeout: bool = True
    schedule: Schedule | None = None
    on_success: str | None = None
    on_failure: str | None = None
    rate_limit: float | None = None
    """Starts per second, over all workers of the queue's file."""
    concurrency: int | None = None
    """Jobs in execution at once, over all workers; of each concurrency key, if jobs have one."""

    def lane(self, key: str | None = None) -> str | None:
        """Where a job waits: ``None`` unless the task is limited, else among its like."""
        if self.rate_limit is None and self.concurrency is None:
            return None
        return self.name if key is None else f"{self.name}\x1f{key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """What all workers of a file keep to in one queue; see :class:`TaskPolicy`."""

    name: str
    rate_limit: float | None = None
    concurrency: int | None = None


class Takes(str, Enum):
    """What a job gets from those it comes after, as its first argument."""

    NOTHING = "nothing"
    RESULT = "result"
    """The result of the one before it."""
    RESULTS = "results"
    """The list of their results, in the order of ``after``."""


def with_results(args: str, takes: Takes, results: Sequence[str]) -> str:
    """The arguments of a job, as JSON text, with what it takes put in front."""
    if takes is Takes.NOTHING:
        return args
    first = f"[{','.join(results)}]" if takes is Takes.RESULTS else "".join(results[:1]) or "null"
    rest = args.removeprefix("[[")
    return f"[[{first}{'' if rest.startswith(']') else ','}{rest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A job that is asked for and has no id yet. ``args`` is JSON text: ``[[…], {…}]``.

    A third member of it may be what travels beside them, see ``codec.with_headers``.
    ``lane`` is :meth:`TaskPolicy.lane`. A job that has not started by ``expires_at`` is cancelled
    when its turn comes. While a job of the task with the same ``unique`` lives, and as long as one
    with the same ``idempotency_key`` is stored, that job is meant and none is added.
    """

    task: str
    args: str = "[[],{}]"
    queue: str = DEFAULT_QUEUE
    priority: int = DEFAULT_PRIORITY
    run_at: Millis | None = None
    lane: str | None = None
    expires_at: Millis | None = None
    unique: str | None = None
    idempotency_key: str | None = None
    after: tuple[JobId | int, ...] = ()
    """Jobs that must succeed before; an ``int`` is a place among those stored in the same call."""
    takes: Takes = Takes.NOTHING

    @property
    def is_plain(self) -> bool:
        """Whether it can be stored without looking at any other job."""
        return self.unique is None and self.idempotency_key is None and not self.after


@dataclass(frozen=True, slots=True)
class Claim:
    """A job this worker owns. ``number`` fences it: a later claim has another number.

    The fields are in the order of the columns that a claim returns.
    """

    id: JobId
    number: int
    task: str
    queue: str
    priority: int
    args: str
    attempts: int
    retries: int
    crashes: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come, in its own words: ``n`` of ``total`` (if that is known)."""

    n: float
    total: float | None
    text: str
    at: Millis


@dataclass(frozen=True, slots=True)
class Said:
    """A running job's last word on its progress."""

    claim: Claim
    progress: Progress


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The task returned; ``result`` is JSON text."""

    result: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The task failed and will not be tried again although no budget is used up."""

    error: str


@dataclass(frozen=True, slots=True)
class Dead:
    """The job used up its retries (or, with ``crashed``, its crash budget)."""

    error: str
    crashed: bool = False


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job will not run (any more) because somebody, or its own terms, said so."""

    error: str


@dataclass(frozen=True, slots=True)
class Retrying:
    """The job runs again at ``run_at``; charged as a crash or as a retry."""

    error: str
    run_at: Millis
    crashed: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """The job was not run, or was interrupted by us: it goes back and nothing is charged."""


EXPIRED: Final = Cancelled(
    '{"type":"Expired","message":"it did not start before its time was over","traceback":""}'
)
"""How a job ends that has not started by its ``expires_at``."""

RESULTS_TOO_LARGE: Final = (
    '{"type":"PayloadTooLarge","message":"the results it takes make more than 1,048,576 bytes of'
    ' arguments","traceback":""}'
)
"""Why a job is cancelled that cannot take what those before it returned."""

Ending: TypeAlias = Succeeded | Failed | Dead | Cancelled | Retrying | Released


@dataclass(frozen=True, slots=True)
class Ended:
    """One claim and how it ended; the times are those of the run, if it ran.

    ``then`` is a job to be stored if, and only if, this ending is recorded.
    """

    claim: Claim
    ending: Ending
    started_at: Millis | None = None
    finished_at: Millis | None = None
    then: JobSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What one transaction of a worker brought.

    ``stale`` are endings that came too late: the job had been taken away, nothing was recorded.
    ``cancelled`` are those of jobs that are recorded as cancelled, whatever the ending says.
    ``unblocked`` is how many jobs became available because one they waited for succeeded.
    ``next_due_at`` is when the next delayed job is due, or a rate lets the next job start, if there
    is one. ``expired`` are jobs whose time to start had passed: they were cancelled.
    """

    claims: tuple[Claim, ...] = ()
    stale: tuple[Ended, ...] = ()
    cancelled: tuple[Ended, ...] = ()
    expired: tuple[Claim, ...] = ()
    unblocked: int = 0
    next_due_at: Millis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescued:
    """A job taken back from a dead worker; ``state`` is where it went."""

    id: JobId
    task: str
    worker: str
    was_running: bool
    state: JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerProfile:
    """What a worker says of itself when it joins. ``queues`` is ``None`` for all of them."""

    name: str
    host: str
    pid: int
    concurrency: int
    queues: tuple[str, ...] | None = None
    version: str = ""
    rate_limit: float | None = None
    """Starts per second, over all workers that were given a rate."""
    limits: tuple[QueuePolicy, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """Everything stored about one job."""

    id: JobId
    task: str
    queue: str
    state: JobState
    priority: int
    args: str
    enqueued_at: Millis
    run_at: Millis | None = None
    started_at: Millis | None = None
    finished_at: Millis | None = None
    attempts: int = 0
    retries: int = 0
    crashes: int = 0
    worker: str | None = None
    result: str | None = None
    error: str | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request to cancel or to retry did to one job.

    ``was`` is the state it found the job in, ``None`` if there is no such job. ``done`` is whether
    the job is, or will be, as asked for; otherwise nothing changed.
    """

    id: JobId
    was: JobState | None
    done: bool
