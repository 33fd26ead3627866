"""The words for what happens to jobs: counts, balances and times by task and queue.

They are loaded where somebody follows events only. How events become such numbers is in
:mod:`bgtop.state.events`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from math import ceil, inf
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

    ``seconds`` is the sum of all of them, and ``longest`` the longest, where that was told.
    """

    counts: tuple[int, ...]
    seconds: float
    longest: float | None = None

    @property
    def total(self) -> int:
        """How many were counted."""
        return sum(self.counts)

    def __add__(self, other: HistogramReading) -> HistogramReading:
        """All of both."""
        longest = [one.longest for one in (self, other) if one.total]
        known = [one for one in longest if one is not None]
        return HistogramReading(
            counts=tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            seconds=self.seconds + other.seconds,
            longest=max(known, default=0.0) if len(known) == len(longest) else None,
        )

    def quantile(self, share: float) -> float | None:
        """What this share took no longer than, evenly spread within a bucket: an estimate.

        As Prometheus has it, but for what is known besides: their sum (one run of 61 s has not
        taken 117 s), and that none took longer than the longest. ``None`` where nothing was
        counted, or where it took longer than the buckets reach and nobody told how long.
        """
        wanted = self.total * share
        below = 0
        lowers, uppers = (0.0, *BUCKETS), self._uppers()
        for number, count in enumerate(self.counts):
            if count and below + count >= wanted > 0:
                lower, upper = lowers[number], uppers[number]
                if upper == inf:
                    return None
                spread = lower + (upper - lower) * (wanted - below) / count
                least, most = self._bounds(number, max(1, ceil(wanted)) - below)
                return min(max(spread, least), most, upper)
            below += count
        return None

    def _uppers(self) -> list[float]:
        longest = inf if self.longest is None else self.longest
        return [min(bound, longest) for bound in (*BUCKETS, inf)]

    def _bounds(self, number: int, rank: int) -> tuple[float, float]:
        """What the sum allows the one of this rank in a bucket: others took what they could."""
        lowers, uppers = (0.0, *BUCKETS), self._uppers()
        count = self.counts[number]
        others = [*self.counts[:number], 0, *self.counts[number + 1 :]]
        shortest = sum(each * lowers[at] for at, each in enumerate(others) if each)
        most = (self.seconds - shortest - (rank - 1) * lowers[number]) / (count - rank + 1)
        longest = sum(each * uppers[at] for at, each in enumerate(others) if each)
        least = (self.seconds - longest - (count - rank) * uppers[number]) / rank
        return least, most


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEventsReading:
    """What happened to the jobs of one task on one queue, since :attr:`EventsReading.since`.

    ``task`` or ``queue`` is ``None`` where nobody has said it. ``counts`` only grow. ``in_flight``
    is how many were received and have not ended. ``exceptions`` are those of failures and of
    attempts that are made again, ``failures`` those of failures alone, where that is told apart.
    """

    task: str | None = None
    queue: str | None = None
    counts: Mapping[EventKind, int] = field(default_factory=dict)
    in_flight: int | None = None
    runtime: HistogramReading | None = None
    wait: HistogramReading | None = None
    exceptions: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)


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
