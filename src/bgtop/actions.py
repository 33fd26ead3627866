"""What can be done to a job system: actions as data, in one vocabulary over all systems."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

from bgworker.values import dataclass

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from bgtop.worker_actions import (
        AbortJob,
        AddConsumer,
        Autoscale,
        CancelConsumer,
        GrowPool,
        RestartPool,
        SendTask,
        SetRateLimit,
        SetTimeLimits,
        ShrinkPool,
        ShutdownWorker,
        SuspendWorkers,
        WakeWorkers,
    )


class Verb(str, Enum):
    """The kinds of action; the values are the words of the command line."""

    RETRY = "retry"
    CANCEL = "cancel"
    DELETE = "delete"
    REQUEUE = "requeue"
    PURGE = "purge"
    PAUSE = "pause"
    RESUME = "resume"
    SUSPEND = "suspend"
    WAKE = "wake"
    SHUTDOWN = "shutdown"
    RESTART = "restart"
    GROW = "grow"
    SHRINK = "shrink"
    AUTOSCALE = "autoscale"
    ADD_QUEUE = "add-queue"
    DROP_QUEUE = "drop-queue"
    LIMIT_RATE = "limit-rate"
    LIMIT_TIME = "limit-time"
    SEND = "send"
    ABORT = "abort"


JOB_VERBS: Final = frozenset(
    {Verb.RETRY, Verb.CANCEL, Verb.DELETE, Verb.REQUEUE, Verb.PURGE, Verb.PAUSE, Verb.RESUME}
)
"""What is done to jobs and queues that are there."""

WORKER_VERBS: Final = frozenset(Verb) - JOB_VERBS
"""What workers are told, or the tasks they know: the actions of :mod:`bgtop.worker_actions`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryJob:
    """Let a job that failed, or was put aside as dead, run again with its own arguments."""

    verb: ClassVar = Verb.RETRY
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelJob:
    """Keep a job from running; ``terminate`` also stops one that runs, by ``signal``.

    Systems that always stop a running job, or have their own way of it, ignore ``signal``.
    """

    verb: ClassVar = Verb.CANCEL
    id: str
    terminate: bool = False
    signal: str = "SIGTERM"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteJob:
    """Forget a job that is not running, wherever it is kept."""

    verb: ClassVar = Verb.DELETE
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequeueFailed:
    """Retry every failed and dead job: of one queue, of one task, or all."""

    verb: ClassVar = Verb.REQUEUE
    queue: str | None = None
    task: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeQueue:
    """Delete the jobs that wait in a queue, of all priorities; what runs or is due later stays."""

    verb: ClassVar = Verb.PURGE
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseQueue:
    """Let no worker take jobs of a queue any more; what runs goes on."""

    verb: ClassVar = Verb.PAUSE
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeQueue:
    """Undo a pause."""

    verb: ClassVar = Verb.RESUME
    queue: str


JobAction: TypeAlias = (
    RetryJob | CancelJob | DeleteJob | RequeueFailed | PurgeQueue | PauseQueue | ResumeQueue
)
WorkerAction: TypeAlias = (
    "ShutdownWorker | RestartPool | GrowPool | ShrinkPool | Autoscale | AddConsumer"
    " | CancelConsumer | SetRateLimit | SetTimeLimits | SendTask | AbortJob"
    " | SuspendWorkers | WakeWorkers"
)
Action: TypeAlias = "JobAction | WorkerAction"


def is_for_workers(action: Action) -> TypeIs[WorkerAction]:
    """Whether this is one of :mod:`bgtop.worker_actions`, which need not be loaded to know it."""
    return action.verb in WORKER_VERBS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action did: how many jobs or queues it changed, and what else is to be known.

    ``changed`` is ``None`` where the system does not tell (a broadcast nobody answers). ``words``
    is one line, empty when the number says everything; of a worker that was told something they
    are its own. ``note`` is what it does not say, and has to be known.
    """

    changed: int | None
    words: str = ""
    note: str = ""

    @property
    def all_words(self) -> str:
        """Words and note in one line."""
        return "; ".join(filter(None, (self.words, self.note)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """An action that was carried out at a source, or refused: then ``fault`` says why, in a line.

    ``source`` is the key of the source, ``error`` what its backend raised, if it was that.
    """

    source: str
    action: Action
    outcome: Outcome | None = None
    fault: str | None = None
    error: Exception | None = None
