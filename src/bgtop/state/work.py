"""How fast queues move whose system counts nothing but what each worker has processed.

What its workers take leaves a queue; what comes in is that, and by how much more the queue holds
than before. Both are estimates: a worker tells its count with a heartbeat, some seconds late, and
what was purged, or done by a worker that died, is missing. Nothing is estimated of a queue whose
workers serve others too: of those, only all together.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from bgtop.model import QueueReading, Rates, Reading, WorkerReading
from bgtop.state.history import UNKNOWN, Point, extended, places_of
from bgworker.values import dataclass, field, replace

if TYPE_CHECKING:
    from bgtop.state.fold import Polled

WHOLE: Final = ""
"""The place of all queues of a source together."""

SHORTEST: Final = 5.0
"""Seconds into which two heartbeats fall: below, a rate would be that of one, or of none."""

_BLUR: Final = 0.1
"""The part of a rate that counts of different moments may be wrong by."""


@dataclass(frozen=True, slots=True)
class Work:
    """What workers had processed last, and points of what left and what was held, by source."""

    points: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    processed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def note(work: Work, sample: Polled) -> Work:
    """The same with one more reading, of which nothing was left out."""
    source, reading = sample.source, sample.reading
    counts = processed_by(reading)
    if not counts or {None} != {*map(attrgetter("left_total"), reading.queues), None}:
        return _without(work, source)
    before = work.processed.get(source, {})
    done = {name: max(0, n - before[name]) for name, n in counts.items() if name in before}
    points = extended(work.points.get(source, ()), sample, partial(_point, done))
    return Work({**work.points, source: points}, {**work.processed, source: counts})


def processed_by(reading: Reading) -> dict[str, int]:
    """What each worker that tells it has processed."""
    return {one.name: one.processed for one in reading.workers if one.processed is not None}


def _without(work: Work, source: str) -> Work:
    if source not in work.points:
        return work
    points, processed = dict(work.points), dict(work.processed)
    del points[source], processed[source]
    return Work(points, processed)


def _point(done: Mapping[str, int], sample: Polled, last: Point) -> Point:
    reading = sample.reading
    queues = {queue.name: queue for queue in reading.queues if not queue.internal}
    crews = _crews(reading.workers, queues)
    crews[WHOLE] = [*reading.workers]
    places = places_of([*crews], last.places)
    left = [
        _left(last, name) + sum(done.get(one.name, 0) for one in crew)
        if all(one.processed is not None for one in crew)
        else UNKNOWN
        for name, crew in crews.items()
    ]
    held = [_held(queues.values() if name == WHOLE else (queues[name],)) for name in crews]
    return Point(
        clock=sample.clock,
        places=places,
        entered=array("q", [UNKNOWN]) * len(left),
        left=array("q", left),
        depths=array("q", held),
    )


def _crews(
    workers: Iterable[WorkerReading], queues: Mapping[str, QueueReading]
) -> dict[str, list[WorkerReading]]:
    """The workers of each queue whose workers serve no other one."""
    only = tuple(queues) if len(queues) == 1 else None
    crews: dict[str, list[WorkerReading]] = {}
    shared: set[str] = set()
    for worker in workers:
        served = only if worker.queues is None else worker.queues
        if served is None:
            return {}  # it may serve any of them
        if len(served) == 1:
            crews.setdefault(served[0], []).append(worker)
        else:
            shared.update(served)
    return {name: crew for name, crew in crews.items() if name in queues and name not in shared}


def _left(last: Point, name: str) -> int:
    place = last.places.get(name)
    return 0 if place is None else max(0, last.left[place])


def _held(queues: Collection[QueueReading]) -> int:
    """Jobs that came and were not taken; where nobody tells that of a delivered one, none is."""
    waiting = [queue.depth for queue in queues]
    if None in waiting:
        return UNKNOWN
    taken = [queue.running if queue.unacked is None else queue.unacked for queue in queues]
    return sum(filter(None, waiting)) + sum(filter(None, taken))


def speeds_of(work: Work) -> dict[tuple[str, str], Rates]:
    """Estimates by source and queue; those of :data:`WHOLE` sources are among them."""
    speeds = {
        (source, name): _speed(name, points)
        for source, points in work.points.items()
        for name in points[-1].places
    }
    return {key: speed for key, speed in speeds.items() if speed is not None}


def _speed(name: str, points: tuple[Point, ...]) -> Rates | None:
    newest = points[-1]
    place = newest.places[name]
    if newest.left[place] == UNKNOWN:
        return None
    for point in points[:-1]:
        then = point.places.get(name)
        if then is None or point.left[then] == UNKNOWN:
            continue
        span = newest.clock - point.clock
        if span < SHORTEST:
            return None
        out = (newest.left[place] - point.left[then]) / span
        held, before = newest.depths[place], point.depths[then]
        coming = None
        if UNKNOWN not in {held, before}:
            coming = _coming(out, (held - before) / span)
        return Rates(in_per_second=coming, out_per_second=out, are_estimates=True)
    return None


def _coming(out: float, growth: float) -> float | None:
    """What comes in a second; unknown where much more went than was processed, as by a purge."""
    coming = out + growth
    if coming >= 0:
        return coming
    return 0.0 if coming >= -_BLUR * (1 + out) else None


def completed(
    rates: dict[tuple[str, str], Rates], speeds: Mapping[tuple[str, str], Rates]
) -> dict[tuple[str, str], Rates]:
    """The rates that follow from counters, with estimates where there are none."""
    for key, speed in speeds.items():
        known = rates.get(key)
        if key[1] != WHOLE and (known is None or known.out_per_second is None):
            rates[key] = speed if known is None else _with_drain(speed, known)
    return rates


def _with_drain(speed: Rates, known: Rates) -> Rates:
    return replace(
        speed, drain_seconds=known.drain_seconds, drain_is_estimate=known.drain_is_estimate
    )
