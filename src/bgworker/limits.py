"""How many jobs may start now: rates and concurrency as pure arithmetic.

A rate is a bucket that fills evenly (the generic cell rate algorithm): its whole state is one
instant, the theoretical arrival time of the next start. Instants here are microseconds of UTC.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from bgworker.model import Millis
from bgworker.values import dataclass

Micros: TypeAlias = int

UNLIMITED = 2**31
"""As good as no limit, and still a number that SQLite takes for a LIMIT."""
_UNITS = {"s": 1, "m": 60, "h": 3600}
_MOST_PER_SECOND = 1e6
_LEAST_PER_SECOND = 1 / 86_400
_BURST_SECONDS = 0.01
"""Starts that are granted at once, as a share of a second: a fast rate does not wake a worker for
each single job, and no second holds more than 1 % beyond it."""


def parse_rate(text: str) -> float:
    """``"5/s"``, ``"100/m"`` or ``"10/h"`` as starts per second.

    Raises:
        ValueError: it is none of these, or out of range.
    """
    try:
        number, slash, unit = text.partition("/")
        rate = float(number) / _UNITS[unit.strip()] if slash else float("nan")
    except (ValueError, KeyError, AttributeError):  # the last for what is no text
        rate = float("nan")
    if not _LEAST_PER_SECOND <= rate <= _MOST_PER_SECOND:
        raise ValueError(f'{text!r} is no rate: write "5/s", "100/m" or "10/h"')
    return rate


@dataclass(slots=True)
class Bucket:
    """One rate. ``next_at`` is its state; ``None`` is as good as "long ago"."""

    rate: float
    next_at: Micros | None = None

    def allowance(self, now: Micros) -> int:
        """How many may start at this instant."""
        return max(0, (now + self._slack() - self._base(now)) // self._interval() + 1)

    def take(self, n: int, now: Micros) -> Micros:
        """Note that ``n`` start; returns the new state."""
        self.next_at = self._base(now) + n * self._interval()
        return self.next_at

    def opens_at(self, now: Micros) -> Micros:
        """When the next one may start."""
        return self._base(now) - self._slack()

    def _base(self, now: Micros) -> Micros:
        # These rules bring about no state further ahead than this: the clock was set back, and must
        # not close the bucket for hours.
        latest = now + self._slack() + self._interval()
        return now if self.next_at is None or self.next_at > latest else max(self.next_at, now)

    def _interval(self) -> Micros:
        return max(1, round(1e6 / self.rate))

    def _slack(self) -> Micros:
        return (max(1, int(self.rate * _BURST_SECONDS)) - 1) * self._interval()


@dataclass(slots=True)
class Limit:
    """What one task, queue or group of workers may do at once and per second."""

    concurrency: int | None = None
    running: int = 0
    bucket: Bucket | None = None
    paused: bool = False
    taken: int = 0

    def allowance(self, now: Micros) -> int:
        """How many more may start now."""
        if self.paused:
            return 0
        left = UNLIMITED if self.concurrency is None else self.concurrency - self.running
        if self.bucket is not None:
            left = min(left, self.bucket.allowance(now))
        return max(0, left - self.taken)

    def opens_at(self, now: Micros) -> Micros | None:
        """When its rate lets the next one start; ``None`` if no rate is in the way."""
        if self.paused or self.bucket is None:
            return None
        if self.concurrency is not None and self.running + self.taken >= self.concurrency:
            return None
        at = self.bucket.opens_at(now)
        return at if at > now else None


@dataclass(slots=True)
class Line:
    """Jobs that wait for the same limits, in order: ``(priority, place, id)`` each."""

    jobs: Sequence[tuple[int, int, int]]
    limits: Sequence[Limit]


def choose(lines: Iterable[Line], want: int, now: Micros) -> list[int]:
    """The ids of up to ``want`` jobs: the first of all lines that every limit lets through."""
    lines = list(lines)
    heap = [(line.jobs[0], at, 0) for at, line in enumerate(lines) if line.jobs]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < want:
        job, at, index = heapq.heappop(heap)
        line = lines[at]
        if any(limit.allowance(now) <= 0 for limit in line.limits):
            continue  # a line whose first may not start is over for now
        for limit in line.limits:
            limit.taken += 1
        chosen.append(job[2])
        if index + 1 < len(line.jobs):
            heapq.heappush(heap, (line.jobs[index + 1], at, index + 1))
    return chosen


class Rules:
    """All limits at one claim, by scope (``task``, ``queue``, ``workers``) and name."""

    def __init__(self, limits: dict[tuple[str, str], Limit], now: Millis) -> None:
        self.now: Micros = now * 1000
        self._limits = limits
        self._everybody = limits.setdefault(("workers", ""), Limit())
        self._lanes: dict[str, Limit] = {}
        self._rates: dict[str, Limit] = {}

    def of_queue(self, queue: str) -> list[Limit]:
        """The limits of jobs that wait in no lane."""
        found = self._limits.get(("queue", queue))
        return [self._everybody] if found is None else [self._everybody, found]

    def of_lane(self, queue: str, lane: str, task: str, running: int) -> list[Limit]:
        """The same for a lane of which ``running`` jobs run.

        The rate is the task's, the concurrency is each lane's own, whatever its queues.
        """
        declared = self._limits.get(("task", task))
        if declared is None:
            return self.of_queue(queue)
        own = Limit(concurrency=declared.concurrency, running=running)
        rate = Limit(bucket=declared.bucket)
        return [
            *self.of_queue(queue),
            self._lanes.setdefault(lane, own),
            self._rates.setdefault(task, rate),
        ]

    def closed_tasks(self) -> list[str]:
        """Tasks of which none may start now, because of their rate."""
        return [
            name
            for (scope, name), limit in self._limits.items()
            if scope == "task" and limit.bucket and limit.bucket.allowance(self.now) <= 0
        ]

    def room(self, limits: Iterable[Limit], want: int) -> int:
        """How many of a line under these limits are worth reading."""
        return min([want, *(limit.allowance(self.now) for limit in limits)])

    def charge(self) -> dict[tuple[str, str], Micros]:
        """Note what :func:`choose` took; the new states of the rates that were used."""
        for task, rate in self._rates.items():
            self._limits["task", task].taken = rate.taken
        states = {}
        for key, limit in self._limits.items():
            if limit.bucket is not None and limit.taken:
                states[key] = limit.bucket.take(limit.taken, self.now)
            limit.taken = 0
        return states

    def opens_at(self) -> Millis | None:
        """When the first closed rate opens again; to be asked after :meth:`charge`."""
        opens = [limit.opens_at(self.now) for limit in self._limits.values()]
        soonest = min((at for at in opens if at is not None), default=None)
        return None if soonest is None else -(-soonest // 1000)
