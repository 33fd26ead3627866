"""The words for single jobs: what a job is, and how jobs are asked for.

Part of :mod:`bgtop.model`, from where everybody takes them.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Final

from bgworker.values import dataclass


class JobState(str, Enum):
    """Where in its life a job is, in words that hold for every system."""

    WAITING = "waiting"
    """A worker could take it now."""
    RUNNING = "running"
    SCHEDULED = "scheduled"
    """Not yet due; also one that waits for its next attempt."""
    DEFERRED = "deferred"
    """Waits for other jobs."""
    FAILED = "failed"
    DEAD = "dead"
    """Used up its attempts, or was put aside as a dead letter."""
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReading:
    """One job. A list fills what is cheap to read; a look at one job fills what there is.

    ``args`` and ``kwargs`` are texts for people, JSON where the message is JSON, of bounded length
    and never what an action sends again. ``attempts`` counts the starts. ``malformed`` says that
    the stored message is not what the system writes; ``id`` is then whatever can be told.
    """

    id: str
    state: JobState
    name: str | None = None
    queue: str | None = None
    priority: int | None = None
    worker: str | None = None
    args: str | None = None
    kwargs: str | None = None
    enqueued_at: datetime | None = None
    due_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int | None = None
    attempts_left: int | None = None
    result: str | None = None
    error: str | None = None
    """The last line of the last failure, such as ``ValueError: no such user``."""
    traceback: str | None = None
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    """What else the system stores of it and people look for: (name, text)."""
    malformed: bool = False


ALL_STATES: Final = frozenset(JobState)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """Which jobs are asked for: those of a queue, a worker, some states; or one, whole, by ``id``.

    ``limit`` holds for each state: of those that wait the next to be taken, of those that ended
    the newest.
    """

    id: str | None = None
    queue: str | None = None
    worker: str | None = None
    states: frozenset[JobState] = ALL_STATES
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class JobList:
    """The answer to a query; ``more`` when there are jobs beyond its limit.

    Rows are in the order of :class:`JobState`; within a state the next to be taken comes first, of
    those that ended the newest. ``unreadable`` are states that this system cannot list.
    """

    query: JobQuery
    rows: tuple[JobReading, ...] = ()
    more: bool = False
    unreadable: frozenset[JobState] = frozenset()
