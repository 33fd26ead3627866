"""What StatsD is sent: lines, and which counts each of them accounts for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from bgtop.exporters.names import Named, Naming
from bgtop.state.measures import Family, Kind, Labels, Spec, Value, regrouped
from bgtop.task_events import BUCKETS, HistogramReading
from bgworker.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable

UDP_BYTES: Final = 1432
"""What passes through an Ethernet of 1,500 with everything that may be put around it."""

UNIX_BYTES: Final = 8192
MOST_TIMERS: Final = 1_000
"""Values sent of one histogram at a time; of more, a sample with the exact count."""

_TOGETHER: Final = 20
"""Values of one timer that are sent or not sent as one, as far as we can tell."""

CounterKey = tuple[str, Labels]
"""The measure, and the labels of one of its rows before they were bounded."""


@dataclass(slots=True)
class Line:
    """``text`` to be sent ``times`` times; of ``settles``, what is then accounted for."""

    text: str
    times: int = 1
    settles: dict[CounterKey, Value] = field(default_factory=dict)


class Accounts:
    """What was sent of each count, so that the next line is the difference."""

    def __init__(self) -> None:
        self._sent: dict[CounterKey, Value] = {}

    def settle(self, line: Line) -> None:
        """This line was sent."""
        self._sent.update(line.settles)

    def lines(
        self,
        families: Iterable[Family],
        naming: Naming,
        relabel: Callable[[Spec, Labels], Labels],
    ) -> Iterator[Line]:
        """Everything to be sent now, gauges first."""
        told = list(families)
        for family in told:
            if family.spec.kind is Kind.GAUGE:
                yield from _gauges(family, naming, relabel)
        for family in told:
            if family.spec.kind is Kind.COUNTER:
                yield from self._counters(family, naming, relabel)
            elif family.spec.kind is Kind.HISTOGRAM:
                yield from self._timers(family, naming, relabel)

    def _counters(
        self, family: Family, naming: Naming, relabel: Callable[[Spec, Labels], Labels]
    ) -> Iterator[Line]:
        sums: dict[Named, float] = {}
        settled: dict[Named, dict[CounterKey, Value]] = {}
        for labels, value in family.rows:
            key = (family.spec.name, labels)
            before = self._sent.get(key, 0.0)
            if isinstance(value, HistogramReading) or isinstance(before, HistogramReading):
                continue
            if value <= before:
                continue
            named = naming.of(family.spec, relabel(family.spec, labels))
            if named is not None:
                sums[named] = sums.get(named, 0.0) + value - before
                settled.setdefault(named, {})[key] = value
        for named, value in sums.items():
            yield Line(f"{named.before}:{_number(value)}|c{named.after}", settles=settled[named])

    def _timers(
        self, family: Family, naming: Naming, relabel: Callable[[Spec, Labels], Labels]
    ) -> Iterator[Line]:
        for labels, value in family.rows:
            key = (family.spec.name, labels)
            before = self._sent.get(key)
            if not isinstance(value, HistogramReading) or isinstance(before, (int, float)):
                continue
            if value == before or since(before, value).total <= 0:
                continue
            named = naming.of(family.spec, relabel(family.spec, labels))
            if named is not None:
                yield from _timer_lines(named, key, before, value)


def _gauges(
    family: Family, naming: Naming, relabel: Callable[[Spec, Labels], Labels]
) -> Iterator[Line]:
    named: dict[Labels, Named] = {}

    def by_name(labels: Labels) -> Labels:
        found = naming.of(family.spec, relabel(family.spec, labels))
        if found is None:
            return ()
        named[found.before, found.after] = found
        return found.before, found.after

    for key, value in regrouped(family, by_name).items():
        if key and not isinstance(value, HistogramReading):
            yield Line(gauge_text(named[key], value, signed=naming.tags == "datadog"))


def gauge_text(named: Named, value: float, *, signed: bool) -> str:
    """A gauge; where a sign means a change, what is negative is set by way of 0."""
    text = f"{named.before}:{_number(value)}|g{named.after}"
    return f"{named.before}:0|g{named.after}\n{text}" if value < 0 and not signed else text


def _timer_lines(
    named: Named, key: CounterKey, before: Value | None, now: HistogramReading
) -> Iterator[Line]:
    """A line for each run; every few of them settle what was sent up to there."""
    fresh = since(before, now)
    rate = min(1.0, MOST_TIMERS / fresh.total)
    counts = list(before.counts) if isinstance(before, HistogramReading) else [0] * len(now.counts)
    seconds = now.seconds - fresh.seconds
    for bucket, (count, value) in enumerate(spread(fresh)):
        text = f"{named.before}:{value * 1000:.6g}|ms"
        if rate < 1.0 and count:
            times = max(1, round(count * rate))
            yield Line(f"{text}|@{times / count:.6g}{named.after}", times)
            counts[bucket] += count
            continue
        for sent in range(0, count, _TOGETHER):
            times = min(_TOGETHER, count - sent)
            counts[bucket] += times
            seconds += times * value
            so_far = HistogramReading(counts=tuple(counts), seconds=seconds)
            yield Line(f"{text}{named.after}", times, {key: so_far})
    yield Line("", 0, {key: now})


def since(before: Value | None, now: HistogramReading) -> HistogramReading:
    """What was added to a histogram."""
    if not isinstance(before, HistogramReading):
        return now
    counts = tuple(a - b for a, b in zip(now.counts, before.counts, strict=True))
    seconds = max(0.0, now.seconds - before.seconds)
    return HistogramReading(counts=counts, seconds=seconds, longest=now.longest)


def spread(histogram: HistogramReading) -> list[tuple[int, float]]:
    """For each bucket its count and a time within it; all times add up to the known sum.

    Count, sum and mean are then exact, and percentiles as exact as the buckets are.
    """
    lowest = (0.0, *map(float, BUCKETS))
    counts = histogram.counts
    floor = sum(count * low for count, low in zip(counts, lowest, strict=True))
    above = histogram.seconds - floor
    beyond = counts[-1]
    widths = [high - low for low, high in pairwise(lowest)]
    # Nobody knows how wide the last bucket is: as wide as it has to be.
    widths.append(max(lowest[-1], above / beyond) if beyond else 0.0)
    room = sum(count * width for count, width in zip(counts, widths, strict=True))
    share = min(1.0, max(0.0, above / room)) if room else 0.0
    return [
        (count, low + share * width)
        for count, low, width in zip(counts, lowest, widths, strict=True)
    ]


@dataclass(slots=True)
class Datagram:
    """Texts to be sent at once, and the lines that are then wholly sent."""

    texts: list[str] = field(default_factory=list)
    settling: list[Line] = field(default_factory=list)
    size: int = 0

    @property
    def data(self) -> bytes:
        """What is sent: lines with a line feed between."""
        return "\n".join(self.texts).encode("ascii", "replace")

    @property
    def lost(self) -> int:
        """Values of which nothing remains when it is not sent; counts are sent later."""
        return sum(1 for text in self.texts if "|g" in text)

    def takes(self, text: str, most: int) -> bool:
        """Whether there is room for this one."""
        return not self.texts or self.size + len(text) <= most

    def add(self, text: str) -> None:
        """One more."""
        self.texts.append(text)
        self.size += len(text) + 1


def datagrams(lines: Iterable[Line], most: int) -> Iterator[Datagram]:
    """The lines in as few datagrams as they fit into, in their order."""
    filling = Datagram()
    for line in lines:
        for _ in range(line.times):
            if not filling.takes(line.text, most):
                yield filling
                filling = Datagram()
            filling.add(line.text)
        if line.settles:
            filling.settling.append(line)
    if filling.texts:
        yield filling


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.6f}".rstrip("0")
