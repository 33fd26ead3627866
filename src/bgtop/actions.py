"""What can be done to a job system: actions as data, in one vocabulary over all systems."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, TypeAlias


class Verb(str, Enum):
    """The kinds of action; the values are the commands of the command line."""

    RETRY = "retry"
    CANCEL = "cancel"
    DELETE = "delete"
    REQUEUE = "requeue"
    PURGE = "purge"
    PAUSE = "pause"
    RESUME = "resume"


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


Action: TypeAlias = (
    RetryJob | CancelJob | DeleteJob | RequeueFailed | PurgeQueue | PauseQueue | ResumeQueue
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action did: how many jobs or queues it changed, and what else is to be known.

    ``changed`` is ``None`` where the system does not tell (a broadcast nobody answers). ``words``
    is one line, empty when the number says everything.
    """

    changed: int | None
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """An action that was carried out at a source, or refused: then ``fault`` says why, in a line.

    ``source`` is the key of the source.
    """

    source: str
    action: Action
    outcome: Outcome | None = None
    fault: str | None = None
