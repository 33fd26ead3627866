"""How depths, rates and loads went over the last minutes, in bounded memory.

Much like :mod:`bgtop.state.history`, but longer, coarser, and for people: sparklines and arrows.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from bgtop.model import UNKNOWN_RATES, Rates, Reading
from bgtop.state.history import places_of
from bgworker.values import dataclass, field

if TYPE_CHECKING:
    from bgtop.state.fold import Polled

SPACING: Final = 5.0
"""Seconds between two points; the newest one is moved on until it is so old."""

MOST_POINTS: Final = 48
"""Points of a source: four minutes, or 48 readings of a slower interval."""

_WINDOW: Final = 30.0
"""Seconds a change looks back."""

_WORKER: Final = "\0"
"""Begins what workers are remembered by."""

MOST_ROWS: Final = 10_000
"""Queues and workers of a source that are remembered."""

_UNKNOWN: Final = math.nan
_MOST: Final = 3e38
_OF_QUEUES: Final = frozenset({"depth", "in", "out", "runtime"})


@dataclass(frozen=True, slots=True)
class Point:
    """The numbers of one reading: for each series an array, by the places of its rows.

    A series of which nothing is known is left out.
    """

    clock: float
    queues: Mapping[str, int]
    workers: Mapping[str, int]
    series: Mapping[str, array[float]]
    sums: Mapping[str, float]
    """What the series sum up to."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Points per source, oldest first, at most :data:`MOST_POINTS` of each."""

    points: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)

    def of(self, source: str, row: str, series: str) -> tuple[float | None, ...]:
        """The values of a queue (by its name) or a worker (``worker_key``), the newest last."""
        is_worker = row.startswith(_WORKER)
        if is_worker is (series in _OF_QUEUES):
            return (None,) * len(self.points.get(source, ()))
        name = row.removeprefix(_WORKER)
        values: list[float | None] = []
        for point in self.points.get(source, ()):
            place = (point.workers if is_worker else point.queues).get(name, -1)
            numbers = point.series.get(series, ())
            known = 0 <= place < len(numbers) and not math.isnan(numbers[place])
            values.append(numbers[place] if known else None)
        return tuple(values)

    def totals(self, series: str) -> tuple[float | None, ...]:
        """The sums over all sources, the newest last; ``None`` where no source was read yet."""
        columns = [[point.sums.get(series) for point in points] for points in self.points.values()]
        longest = max(map(len, columns), default=0)
        sums: list[float | None] = []
        for back in range(longest, 0, -1):
            known = [c[-back] for c in columns if len(c) >= back and c[-back] is not None]
            sums.append(math.fsum(value for value in known if value is not None) if known else None)
        return tuple(sums)

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
    return f"{_WORKER}{name}"


def keep(
    memory: Memory,
    sample: Polled,
    rates: Mapping[tuple[str, str], Rates],
    places: Mapping[str, int],
) -> Memory:
    """The memory with one more reading in it; ``places`` are those of its queues."""
    points = memory.points.get(sample.source, ())
    if points and points[-1].clock >= sample.clock:
        points = ()
    if len(points) >= 2 and points[-1].clock - points[-2].clock < SPACING:
        points = points[:-1]
    names = [worker.name for worker in sample.reading.workers]
    workers = places_of(names, points[-1].workers if points else {})
    series = dict(_series(sample, rates))
    sums = {name: _sum(numbers) for name, numbers in series.items()}
    newest = Point(sample.clock, places, workers, series, sums)
    return Memory({**memory.points, sample.source: (*points, newest)[-MOST_POINTS:]})


def _sum(numbers: array[float]) -> float:
    """The sum of those that are known."""
    whole = math.fsum(numbers)
    return math.fsum(one for one in numbers if one == one) if math.isnan(whole) else whole  # noqa: PLR0124


def _series(
    sample: Polled, rates: Mapping[tuple[str, str], Rates]
) -> Iterator[tuple[str, array[float]]]:
    """The series of which anything is known."""
    reading: Reading = sample.reading
    queues, workers = reading.queues[:MOST_ROWS], reading.workers[:MOST_ROWS]
    columns: dict[str, list[float | None]] = {
        "depth": [queue.depth for queue in queues],
        "runtime": [queue.runtime_mean_seconds for queue in queues],
        "running": [worker.running for worker in workers],
        "processed": [worker.processed for worker in workers],
        "cpu": [worker.cpu_percent for worker in workers],
    }
    if rates:
        keys = zip(repeat(sample.source), map(attrgetter("name"), queues), strict=False)
        speeds = [*map(rates.get, keys, repeat(UNKNOWN_RATES))]
        columns["in"] = [speed.in_per_second for speed in speeds]
        columns["out"] = [speed.out_per_second for speed in speeds]
    for name, values in columns.items():
        if values.count(None) < len(values):
            yield name, _numbers(values)


def _numbers(values: list[float | None]) -> array[float]:
    """Single precision is enough for a picture; what does not fit it is unknown."""
    if None not in values and max(values, default=0) <= _MOST:  # type: ignore[type-var,operator]
        return array("f", values)  # type: ignore[arg-type]
    return array("f", [_UNKNOWN if value is None or value > _MOST else value for value in values])
