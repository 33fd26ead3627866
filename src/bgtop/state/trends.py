"""How depths, rates and loads went over the last minutes, in bounded memory.

Much like :mod:`bgtop.state.history`, but longer, coarser, and for people: sparklines and arrows.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bgtop.model import Rates, Reading

if TYPE_CHECKING:
    from bgtop.state.fold import Polled

SPACING: Final = 5.0
"""Seconds between two points; the newest one is moved on until it is so old."""

MOST_POINTS: Final = 48
"""Points of a source: four minutes, or 48 readings of a slower interval."""

_WINDOW: Final = 30.0
"""Seconds a change looks back."""

MOST_ROWS: Final = 10_000
"""Queues and workers of a source that are remembered."""

_UNKNOWN: Final = math.nan
_NOTHING: Final = (0, array("f"))


@dataclass(frozen=True, slots=True)
class Point:
    """The numbers of one reading: for each series an array, and the place where it begins.

    A series of which nothing is known is left out.
    """

    clock: float
    places: Mapping[str, int]
    series: Mapping[str, tuple[int, array[float]]]
    sums: Mapping[str, float]
    """What the series sum up to."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Points per source, oldest first, at most :data:`MOST_POINTS` of each."""

    points: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)

    def of(self, source: str, row: str, series: str) -> tuple[float | None, ...]:
        """The values of a queue (by its name) or a worker (``worker_key``), the newest last."""
        values: list[float | None] = []
        for point in self.points.get(source, ()):
            first, numbers = point.series.get(series, _NOTHING)
            place = point.places.get(row, -1) - first
            known = 0 <= place < len(numbers) and not math.isnan(numbers[place])
            values.append(numbers[place] if known else None)
        return tuple(values)

    def change(self, series: str) -> float | None:
        """The sum over all sources now, less what it was before; ``None`` if that is unknown."""
        changes = [
            points[-1].sums[series] - before.sums[series]
            for points in self.points.values()
            if len(points) > 1
            and series in points[-1].sums
            and series in (before := _before(points)).sums
        ]
        return sum(changes) if changes else None


def _before(points: tuple[Point, ...]) -> Point:
    """The last point that is older than the window, else the oldest."""
    newest = points[-1].clock
    older = [point for point in points[:-1] if newest - point.clock >= _WINDOW]
    return older[-1] if older else points[0]


def worker_key(name: str) -> str:
    """What a worker is remembered by, apart from a queue of the same name."""
    return f"\0{name}"


def keep(memory: Memory, sample: Polled, rates: Mapping[tuple[str, str], Rates]) -> Memory:
    """The memory with one more reading in it."""
    points = memory.points.get(sample.source, ())
    if points and points[-1].clock >= sample.clock:
        points = ()
    if len(points) >= 2 and points[-1].clock - points[-2].clock < SPACING:
        points = points[:-1]
    last = points[-1].places if points else {}
    newest = _point(sample, rates, last)
    return Memory({**memory.points, sample.source: (*points, newest)[-MOST_POINTS:]})


def _point(
    sample: Polled, rates: Mapping[tuple[str, str], Rates], last: Mapping[str, int]
) -> Point:
    reading: Reading = sample.reading
    queues, workers = reading.queues[:MOST_ROWS], reading.workers[:MOST_ROWS]
    names = [queue.name for queue in queues]
    names += [worker_key(worker.name) for worker in workers]
    places = last if names == list(last) else {name: at for at, name in enumerate(names)}
    speeds = [rates.get((sample.source, queue.name)) for queue in queues]
    first = len(queues)
    series = {
        "depth": (0, _numbers(queue.depth for queue in queues)),
        "in": (0, _numbers(speed.in_per_second if speed else None for speed in speeds)),
        "out": (0, _numbers(speed.out_per_second if speed else None for speed in speeds)),
        "running": (first, _numbers(worker.running for worker in workers)),
        "processed": (first, _numbers(worker.processed for worker in workers)),
        "cpu": (first, _numbers(worker.cpu_percent for worker in workers)),
    }
    known: dict[str, tuple[int, array[float]]] = {}
    sums: dict[str, float] = {}
    for name, (place, numbers) in series.items():
        told = [value for value in numbers if value >= 0 or value < 0]  # what is not NaN
        if told:
            known[name] = (place, numbers)
            sums[name] = math.fsum(told)
    return Point(sample.clock, places, known, sums)


def _numbers(values: Iterable[float | None]) -> array[float]:
    """Single precision is enough for a picture; what does not fit it is unknown."""
    return array("f", [_UNKNOWN if value is None or value > 3e38 else value for value in values])
