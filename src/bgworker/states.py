"""The states of a job and the moves between them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class JobState(str, Enum):
    """Where a job is. The first five are alive, the last four are endings."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    BLOCKED = "blocked"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DEAD = "dead"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether a job in this state has ended: only somebody's ``retry`` can move it again."""
        return self in _FINAL


TRANSITIONS: Final[Mapping[JobState, frozenset[JobState]]] = {
    JobState.SCHEDULED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.DEAD,
            JobState.CANCELLED,
            JobState.RETRYING,
            JobState.QUEUED,  # given back unburnt, or its worker died
        }
    ),
    JobState.RETRYING: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.BLOCKED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset({JobState.QUEUED}),  # asked for, as the next two
    JobState.DEAD: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED, JobState.BLOCKED}),
}
"""The one table of moves: engines, documents and tests read it."""
WAITING: Final = frozenset(
    {JobState.SCHEDULED, JobState.QUEUED, JobState.RETRYING, JobState.BLOCKED}
)
"""Alive, and in nobody's hands."""
ALIVE: Final = WAITING | {JobState.RUNNING}
_FINAL: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.DEAD, JobState.CANCELLED})
