"""What an earlier live view remembered, as the beginning of what this one remembers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TypeVar

from bgtop.state import history, trends
from bgtop.state.knowledge import Knowledge
from bgworker.values import replace

P = TypeVar("P", history.Point, trends.Point)


def resumed(
    known: Knowledge, before: Knowledge, wall: datetime, clock: float, longest: float
) -> Knowledge:
    """The sources of ``known`` with what was remembered of them, unless that is too long ago.

    ``wall`` and ``clock`` are now. Points are told in a clock that begins anew with the machine, so
    they are moved to where they are by the time of day. In pictures a gap follows: nobody takes
    what comes for what came next, nor the growth since then for that of the last half minute.
    """
    last, taken_at = max(_newest(before), default=(0.0, None))
    if taken_at is None or not 0 <= (age := (wall - taken_at).total_seconds()) <= longest:
        return known
    until = clock - age
    places = {source.name for source in known.snapshot.sources}
    kept = [source.key for source in before.snapshot.sources if source.name in places]
    counts = _moved(before.history.points, kept, until - last)
    lines = {
        key: (*points, _gap(points[-1], clock))
        for key, points in _moved(before.trends.points, kept, until - last).items()
    }
    return replace(
        known,
        history=history.History({**counts, **known.history.points}),
        trends=trends.Memory({**lines, **known.trends.points}),
    )


def _newest(known: Knowledge) -> Iterator[tuple[float, datetime | None]]:
    """When each source was read last, by both clocks."""
    for source in known.snapshot.sources:
        points = known.history.points.get(source.key)
        if points and source.reading is not None:
            yield points[-1].clock, source.reading.taken_at


def _moved(
    points: Mapping[str, tuple[P, ...]], kept: list[str], by: float
) -> dict[str, tuple[P, ...]]:
    return {
        key: tuple([replace(point, clock=point.clock + by) for point in points[key]])
        for key in kept
        if points.get(key)
    }


def _gap(last: trends.Point, now: float) -> trends.Point:
    """A point at which nothing is known; if it is too near to the last one it will be replaced."""
    later = min(trends.SPACING, (now - last.clock) / 2)
    return replace(last, clock=last.clock + later, series={}, sums={})
