"""A bounded memory of each queue's counters and depth, and the rates that follow from it.

A rate is the growth of a counter between the newest reading and one about half a minute older.
A counter that went back belongs to a system that was reset: everything older is forgotten, so a
rate is missing for one reading and never negative.

Where a system counts nothing, the time until a queue is empty is estimated from its depth, if that
falls steadily. Rates are not: a depth that stays may be rest, or as much coming as going. What its
workers count may tell: see :mod:`.work`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import lt
from typing import TYPE_CHECKING, Final, TypeAlias

from bgtop.model import UNKNOWN_RATES, QueueReading, Rates, Snapshot
from bgworker.values import dataclass, field, replace

if TYPE_CHECKING:
    from bgtop.state.fold import Polled

WINDOW: Final = 30.0
"""Seconds a rate looks back once there is enough to look back on."""

LONGEST: Final = 60.0
"""Readings older than this are used only when there is no other, as with a slow interval."""

SPACING: Final = 2.0
"""Seconds between two points kept, so that a fast interval does not need more memory."""

MOST_POINTS: Final = int(WINDOW / SPACING) + 3
"""The newest, those of the window, and one just before it."""

FEWEST_READINGS: Final = 4
"""Depths that have to fall before the fall says anything of the time to come."""

STEADY: Final = 0.25
"""The least part of the whole fall that belongs to the older half, and to the newer one."""

UNKNOWN: Final = -1
"""What a counter of a :class:`Point` is that nobody tells."""

_LARGEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Point:
    """The numbers of one reading; ``places`` says where a queue's are. The arrays never change."""

    clock: float
    places: Mapping[str, int]
    entered: array[int]
    left: array[int]
    depths: array[int]


@dataclass(frozen=True, slots=True)
class History:
    """Points per source, oldest first, at most :data:`MOST_POINTS` of each."""

    points: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    tasks: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    """The same of tasks, of sources whose events are followed: received, ended, no depths."""

    def without_tasks(self, source: str) -> History:
        """The same, when what was counted of its events goes on no more."""
        if source not in self.tasks:
            return self
        return History(
            self.points, {key: kept for key, kept in self.tasks.items() if key != source}
        )


def remember(history: History, sample: Polled) -> History:
    """The history with one more reading in it."""
    points = extended(history.points.get(sample.source, ()), sample, _point)
    tasks = history.without_tasks(sample.source).tasks
    if sample.reading.events is not None:
        counted = extended(history.tasks.get(sample.source, ()), sample, _point_of_tasks)
        tasks = {**tasks, sample.source: counted}
    return History({**history.points, sample.source: points}, tasks)


def extended(
    points: tuple[Point, ...], sample: Polled, point_of: Callable[[Polled, Point], Point]
) -> tuple[Point, ...]:
    """The points with one more, made of a sample and the last one; the oldest may go."""
    if points and points[-1].clock >= sample.clock:
        points = ()
    newest = point_of(sample, points[-1] if points else _NOTHING)
    points = _forget_resets(points, newest)
    if len(points) >= 2 and points[-1].clock - points[-2].clock < SPACING:
        points = points[:-1]
    points = (*points, newest)
    while len(points) > 2 and _superfluous(points):
        points = points[1:]
    return points


_NOTHING: Final = Point(
    clock=0.0, places={}, entered=array("q"), left=array("q"), depths=array("q")
)


def _point(sample: Polled, last: Point) -> Point:
    """What is as it was is in memory once, which for many systems are all counters."""
    queues = sample.reading.queues
    places = places_of([queue.name for queue in queues], last.places)
    entered = _counters([queue.entered_total for queue in queues])
    left = _counters([queue.left_total for queue in queues])
    depths = _counters([queue.depth for queue in queues])
    return Point(
        clock=sample.clock,
        places=places,
        entered=last.entered if entered == last.entered else entered,
        left=last.left if left == last.left else left,
        depths=last.depths if depths == last.depths else depths,
    )


def _point_of_tasks(sample: Polled, last: Point) -> Point:
    from bgtop.state.event_figures import counts_of

    counts = counts_of(sample.reading.events) if sample.reading.events else {}
    received, ended = zip(*counts.values(), strict=True) if counts else ((), ())
    return Point(
        clock=sample.clock,
        places=places_of([*counts], last.places),
        entered=_counters(received),
        left=_counters(ended),
        depths=_NOTHING.depths,
    )


def places_of(names: list[str], last: Mapping[str, int]) -> Mapping[str, int]:
    """Where each name stands; the last answer itself while the names are the same."""
    if names == list(last):
        return last
    return {name: index for index, name in enumerate(names)}


def _counters(values: Sequence[int | None]) -> array[int]:
    """As nearly always all are numbers, or none is, ten thousand cost little."""
    known = [value for value in values if value is not None]
    if not known:
        return array("q", [UNKNOWN]) * len(values)
    if len(known) == len(values) and min(known) >= 0 and max(known) <= _LARGEST:
        return array("q", known)
    return array(
        "q",
        [value if value is not None and 0 <= value <= _LARGEST else UNKNOWN for value in values],
    )


def _superfluous(points: tuple[Point, ...]) -> bool:
    newest = points[-1].clock
    return points[1].clock <= newest - WINDOW or points[0].clock < newest - LONGEST


def _forget_resets(points: tuple[Point, ...], newest: Point) -> tuple[Point, ...]:
    if not points:
        return points
    last = points[-1]
    entered = set(_went_back(last.places, last.entered, newest.places, newest.entered))
    left = set(_went_back(last.places, last.left, newest.places, newest.left))
    if not entered and not left:
        return points
    return tuple(
        replace(
            point,
            entered=_without(point.entered, point.places, entered),
            left=_without(point.left, point.places, left),
        )
        for point in points
    )


def _went_back(
    old_places: Mapping[str, int],
    old: array[int],
    new_places: Mapping[str, int],
    new: array[int],
) -> Iterator[str]:
    if old_places is new_places:
        if not any(map(lt, new, old)):
            return
        yield from (
            name for name, before, after in zip(old_places, old, new, strict=True) if after < before
        )
        return
    for name, place in old_places.items():
        new_place = new_places.get(name)
        # A queue that vanished may come back with counters that start anew.
        if new_place is None or new[new_place] < old[place]:
            yield name


def _without(counters: array[int], places: Mapping[str, int], names: set[str]) -> array[int]:
    if not names:
        return counters
    kept = counters[:]
    for name in names:
        place = places.get(name)
        if place is not None:
            kept[place] = UNKNOWN
    return kept


_Series: TypeAlias = list[tuple[float, Mapping[str, int], "array[int]"]]


def rates_of(history: History, snapshot: Snapshot) -> dict[tuple[str, str], Rates]:
    """Rates of every queue in the snapshot for which two readings allow them."""
    rates = {}
    for source in snapshot.sources:
        points = history.points.get(source.key, ())
        if source.reading is None or len(points) < 2:
            continue
        entered = _series((point.clock, point.places, point.entered) for point in points)
        left = _series((point.clock, point.places, point.left) for point in points)
        queues = source.reading.queues
        if not entered and not left:
            queues = _falling(queues, points)  # of the others nothing is known
        growths = zip(_growths(queues, entered), _growths(queues, left), strict=True)
        resting: dict[tuple[float | None, float | None], Rates] = {}
        for queue, growth in zip(queues, growths, strict=True):
            # Most queues rest, or move like others: one value is enough for them.
            found = resting.get(growth) or _rates(queue, *growth)
            if not _falls(*growth):
                resting[growth] = found
            if queue.depth and (found.in_per_second is None or found.out_per_second is None):
                drain = _drain(queue.name, points)
                if drain is not None:
                    found = replace(found, drain_seconds=drain, drain_is_estimate=True)
            if found is not UNKNOWN_RATES:
                rates[source.key, queue.name] = found
    return rates


def task_rates_of(history: History) -> dict[tuple[str, str], Rates]:
    """What is received and what ends a second, of each task for which two readings allow it."""
    rates = {}
    for source, points in history.tasks.items():
        entered = _series((point.clock, point.places, point.entered) for point in points)
        left = _series((point.clock, point.places, point.left) for point in points)
        for task in points[-1].places:
            found = Rates(in_per_second=_growth(task, entered), out_per_second=_growth(task, left))
            if found != UNKNOWN_RATES:
                rates[source, task] = found
    return rates


def _falling(
    queues: tuple[QueueReading, ...], points: tuple[Point, ...]
) -> tuple[QueueReading, ...]:
    """Those that hold less than at the first point: no others can get a time to drain."""
    first, last = points[0], points[-1]
    if first.places is not last.places:
        return queues
    before_and_after = zip(queues, first.depths, last.depths, strict=True)
    return tuple([queue for queue, before, after in before_and_after if after < before])


def _drain(name: str, points: tuple[Point, ...]) -> float | None:
    """Seconds until the queue is empty if its depth falls on as it did; ``None`` if it did not."""
    first, last = points[0].places.get(name), points[-1].places.get(name)
    if (
        first is not None
        and last is not None
        and points[0].depths[first] <= points[-1].depths[last]
    ):
        return None  # nearly all queues end here
    known: list[tuple[float, int]] = []
    for point in reversed(points):
        place = point.places.get(name)
        if place is None or point.depths[place] == UNKNOWN:
            break
        known.append((point.clock, point.depths[place]))
    if len(known) < FEWEST_READINGS:
        return None
    (now, newest), (_, middle), (then, oldest) = known[0], known[len(known) // 2], known[-1]
    fall = oldest - newest
    if fall <= 0 or min(oldest - middle, middle - newest) < STEADY * fall:
        return None
    return newest * (now - then) / fall


def _series(points: Iterable[tuple[float, Mapping[str, int], array[int]]]) -> _Series:
    """The points of one counter; none where the system does not count."""
    series = list(points)
    return series if max(series[-1][2], default=UNKNOWN) != UNKNOWN else []


def _growths(queues: Sequence[QueueReading], series: _Series) -> Sequence[float | None]:
    """Growth per second of each queue."""
    if not series:
        return [None] * len(queues)
    (then, old_places, old), (now, places, new) = series[0], series[-1]
    if then < now and old_places is places and UNKNOWN not in old and UNKNOWN not in new:
        # The same queues all the time, as nearly always: thousands of them cost little.
        span = now - then
        return [(after - before) / span for before, after in zip(old, new, strict=True)]
    return [_growth(queue.name, series) for queue in queues]


def _growth(name: str, series: _Series) -> float | None:
    """Growth per second from the oldest point that knows this queue to the newest."""
    if not series:
        return None
    now, places, counters = series[-1]
    place = places.get(name)
    if place is None or counters[place] == UNKNOWN:
        return None
    value = counters[place]
    for then, places, counters in series[:-1]:
        place = places.get(name)
        if place is not None and counters[place] != UNKNOWN:
            return (value - counters[place]) / (now - then)
    return None


def _falls(entering: float | None, leaving: float | None) -> bool:
    return entering is not None and leaving is not None and leaving > entering


def _rates(queue: QueueReading, entering: float | None, leaving: float | None) -> Rates:
    if entering is None and leaving is None:
        return UNKNOWN_RATES
    drain = None
    if queue.depth and entering is not None and leaving is not None and _falls(entering, leaving):
        drain = queue.depth / (leaving - entering)
    return Rates(in_per_second=entering, out_per_second=leaving, drain_seconds=drain)
