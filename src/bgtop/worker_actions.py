"""What can be done to workers and to what they let tasks do: the other half of the actions.

They are apart from :mod:`bgtop.actions` because watching never needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, get_args

from bgtop.actions import Action, JobAction, Verb
from bgworker.values import dataclass

MOST_AT_ONCE: Final = 1000
"""Jobs more or less at a time. A worker takes any number, and is lost in making processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendWorkers:
    """Let all workers of a source rest: they finish what they run and take no more."""

    verb: ClassVar = Verb.SUSPEND


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeWorkers:
    """Let all workers of a source work again."""

    verb: ClassVar = Verb.WAKE


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownWorker:
    """Let a worker finish what it runs, and then end."""

    verb: ClassVar = Verb.SHUTDOWN
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPool:
    """Replace the processes in which a worker runs its jobs."""

    verb: ClassVar = Verb.RESTART
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowPool:
    """Let a worker run so many jobs more at a time."""

    verb: ClassVar = Verb.GROW
    worker: str
    by: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrinkPool:
    """Let a worker run so many jobs less at a time."""

    verb: ClassVar = Verb.SHRINK
    worker: str
    by: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscale:
    """Let a worker choose how many jobs it runs at a time, between these bounds."""

    verb: ClassVar = Verb.AUTOSCALE
    worker: str
    least: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddConsumer:
    """Let a worker take jobs of one more queue; the queue is made where there is none."""

    verb: ClassVar = Verb.ADD_QUEUE
    worker: str
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelConsumer:
    """Let a worker take no more jobs of a queue."""

    verb: ClassVar = Verb.DROP_QUEUE
    worker: str
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRateLimit:
    """Let each worker, or one of them, begin a task no more often than this.

    ``rate`` is ``"100/m"``, ``"5/s"``, ``"2"`` (a second); ``"0"`` is no limit.
    """

    verb: ClassVar = Verb.LIMIT_RATE
    task: str
    rate: str
    worker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTimeLimits:
    """Let each worker, or one of them, stop a task after so many seconds.

    At the soft limit the task is told by an exception, at the hard one its process is killed. A
    limit that is ``None`` is taken away.
    """

    verb: ClassVar = Verb.LIMIT_TIME
    task: str
    soft: float | None = None
    hard: float | None = None
    worker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendTask:
    """Put a new job into a queue.

    ``args`` is JSON text of a list, ``kwargs`` of an object. Without ``queue`` it goes where the
    system puts jobs by itself. ``countdown`` is seconds from now and ``eta`` a time (ISO 8601),
    before which it does not run; ``expires`` is either of both, after which it never does. Without
    ``id`` it gets a new one, which :attr:`bgtop.actions.Outcome.words` names.
    """

    verb: ClassVar = Verb.SEND
    task: str
    args: str = "[]"
    kwargs: str = "{}"
    queue: str | None = None
    countdown: float | None = None
    eta: str | None = None
    expires: float | str | None = None
    id: str | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortJob:
    """Ask a job to end by itself, which it does if it was written to look for that."""

    verb: ClassVar = Verb.ABORT
    id: str


_FOR_WORKERS: Final = (
    *(ShutdownWorker, RestartPool, GrowPool, ShrinkPool, Autoscale, AddConsumer, CancelConsumer),
    *(SetRateLimit, SetTimeLimits, SendTask, AbortJob, SuspendWorkers, WakeWorkers),
)
KINDS: Final[Mapping[Verb, type[Action]]] = {
    kind.verb: kind for kind in (*get_args(JobAction), *_FOR_WORKERS)
}
"""Every action by its verb."""


def fault_of(action: Action) -> str | None:
    """What is wrong with the numbers of an action that a worker would take all the same."""
    match action:
        case GrowPool(by=by) | ShrinkPool(by=by) if not 1 <= by <= MOST_AT_ONCE:
            return f"by: expected 1 to {MOST_AT_ONCE}"
        case Autoscale(most=most) if not 0 <= most <= MOST_AT_ONCE:
            return f"most: expected 0 to {MOST_AT_ONCE}"
        case Autoscale(least=least, most=most) if not 0 <= least <= most:
            return f"least: expected 0 to {most}, no more than most"
        case SetTimeLimits(soft=soft, hard=hard) if soft and hard and soft > hard:
            return f"soft: expected {hard:g} or less, no more than hard"
        case _:
            return None
