"""What Graphite is sent: points, and how they are written down. Pure."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from bgtop.exporters.statsd_lines import since
from bgtop.state.measures import Family, Labels, regrouped
from bgtop.task_events import BUCKETS, HistogramReading

if TYPE_CHECKING:
    from bgtop.exporters.names import Named, Naming

_QUANTILES: Final = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
_PICKLED_AT_ONCE: Final = 500
"""Carbon refuses more than a mebibyte at a time."""


class Point(NamedTuple):
    """A value, and when it was so, in epoch seconds."""

    path: str
    value: float
    at: int


class Times:
    """The histograms as they were told last, for what the figures of an interval are made of."""

    def __init__(self) -> None:
        self._told: dict[str, HistogramReading] = {}

    def points(self, families: Iterable[Family], naming: Naming, at: int) -> Iterator[Point]:
        """Everything that is to be told now."""
        for family in families:
            for name, value in _by_name(family, naming):
                if isinstance(value, HistogramReading):
                    yield from self._of_histogram(name, value, at)
                else:
                    yield Point(name.before, value, at)

    def _of_histogram(self, name: Named, value: HistogramReading, at: int) -> Iterator[Point]:
        before, self._told[name.before] = self._told.get(name.before), value
        yield Point(name.longer("count").before, value.total, at)
        yield Point(name.longer("sum").before, value.seconds * 1000, at)
        fresh = since(before, value)
        # Tasks beyond the bounds may just have been added to this one.
        if min(fresh.counts) < 0 or fresh.total == 0:
            return
        yield Point(name.longer("mean").before, fresh.seconds / fresh.total * 1000, at)
        for ending, share in _QUANTILES:
            yield Point(name.longer(ending).before, quantile(fresh, share) * 1000, at)


def _by_name(family: Family, naming: Naming) -> Iterator[tuple[Named, float | HistogramReading]]:
    named: dict[Labels, Named] = {}

    def by_name(labels: Labels) -> Labels:
        found = naming.of(family.spec, labels)
        if found is None:
            return ()
        named[(found.before,)] = found
        return (found.before,)

    for key, value in regrouped(family, by_name).items():
        if key:
            yield named[key], value


def quantile(histogram: HistogramReading, share: float) -> float:
    """The time that this share of runs did not exceed; at most the last bound."""
    found = histogram.quantile(share)
    return float(BUCKETS[-1]) if found is None else found


def plaintext(points: Sequence[Point]) -> bytes:
    """A line for each."""
    return "".join(f"{point.path} {_number(point.value)} {point.at}\n" for point in points).encode()


def pickled(points: Sequence[Point]) -> bytes:
    """Lists of (path, (time, value)), each after its length."""
    parts = []
    for first in range(0, len(points), _PICKLED_AT_ONCE):
        listed = [
            (point.path, (point.at, point.value))
            for point in points[first : first + _PICKLED_AT_ONCE]
        ]
        data = pickle.dumps(listed, protocol=2)
        parts.append(struct.pack("!L", len(data)) + data)
    return b"".join(parts)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
