"""The words for what happens to jobs: counts, balances and times by task and queue.

They are loaded where somebody follows events only. How events become such numbers is in
:mod:`bgtop.state.events`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple

from bgworker.values import dataclass, field


class EventKind(str, Enum):
    """What can happen to a job. ``LOST`` is concluded by us, never told by anybody."""

    SENT = "sent"
    RECEIVED = "received"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"
    REVOKED = "revoked"
    REJECTED = "rejected"
    LOST = "lost"


BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
    *(30, 60, 120, 300, 600, 1800),
)
"""Upper bounds of the histograms, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramReading:
    """How long things took: ``counts`` by the upper bounds of :data:`BUCKETS`, the rest at last.

    ``seconds`` is the sum of all of them.
    """

    counts: tuple[int, ...]
    seconds: float

    @property
    def total(self) -> int:
        """How many were counted."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEventsReading:
    """What happened to the jobs of one task on one queue, since :attr:`EventsReading.since`.

    ``task`` or ``queue`` is ``None`` where nobody has said it. ``counts`` only grow. ``in_flight``
    is how many were received and have not ended.
    """

    task: str | None = None
    queue: str | None = None
    counts: Mapping[EventKind, int] = field(default_factory=dict)
    in_flight: int | None = None
    runtime: HistogramReading | None = None
    wait: HistogramReading | None = None
    exceptions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsReading:
    """Everything counted of a source; a later ``since`` says that counting began anew.

    ``kinds`` are those this system tells: of them, what is not among ``counts`` has not happened.
    ``missed`` is how many events at least did not reach us, and ``forgotten`` how many unfinished
    jobs had to be dropped for want of room.
    """

    since: datetime
    series: tuple[TaskEventsReading, ...] = ()
    """Sorted by task and queue."""
    kinds: frozenset[EventKind] = frozenset()
    missed: int | None = None
    forgotten: int = 0


class ToldEvent(NamedTuple):
    """An event word for word, for whoever follows single jobs; none of it is counted.

    ``kind`` is in the words of the system (``task-received``), ``teller`` the worker or producer,
    ``at`` in epoch seconds of its clock, ``clock`` a logical one. ``facts`` are called what the
    system calls them, long texts are cut, and what was told as nothing is not there.
    """

    kind: str
    teller: str
    at: float
    clock: int | None
    facts: Mapping[str, str | int | float]
