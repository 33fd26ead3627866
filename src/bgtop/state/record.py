"""What is known as records: keyframes that stand for themselves, and samples between them.

A keyframe holds everything from which knowledge can be made again, down to the points of rates and
sparklines; so playing on from any of them shows what playing from the beginning shows. A sample
holds what differs from the last reading of its source. Both are JSON; see ``docs/how-to`` for what
a recording is, and :mod:`bgtop.recording` for the file.
"""

from __future__ import annotations

import sys
from array import array
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from bgtop.model import BackendInfo, Reading, Snapshot, Source
from bgtop.source_url import redacted, redacted_in
from bgtop.state import history, trends
from bgtop.state.coding import BadRecord, Coder, Coding, micros, moment_of
from bgtop.state.fold import Joined, Polled, PollFailed, Sample
from bgtop.state.intake import Selection
from bgtop.state.knowledge import Knowledge, known_of
from bgtop.state.work import Work, processed_by
from bgworker.values import replace

FORMAT: Final = 1
"""The number of this way to write; it grows when older versions could not read it any more."""

AS_RECORDED: Final = Selection(internal=True, redact="off")
"""How recorded samples are learned: they were chosen, judged and redacted before."""

_NOTHING: Final = Reading(taken_at=moment_of(0))
"""What the first reading of a source differs from."""


class _Coders(NamedTuple):
    source: Coder
    info: Coder
    reading: Coder
    names: Mapping[str, Any]


def _coders(recorded: Mapping[str, Any] | None = None) -> _Coders:
    from bgtop import task_events

    words = {name: word for name, word in vars(task_events).items() if isinstance(word, type)}
    coding = Coding(words, recorded)
    source = coding.of(Source)
    return _Coders(source, coding.of(BackendInfo), coding.of(Reading), coding.names)


class Scribe:
    """Writes records: it remembers the last reading of each source as it was written."""

    def __init__(self) -> None:
        self._coders = _coders()
        self._sources: tuple[Source, ...] = ()

    def keyframe(self, known: Knowledge, interval: float | None) -> dict[str, Any]:
        """Everything known; ``interval`` is the one the sources are read at."""
        self._sources = tuple([_harmless(source) for source in known.snapshot.sources])
        names = _Names()
        past, tasks, work = (
            {key: [*_history_points(points, names)] for key, points in each.items()}
            for each in (known.history.points, known.history.tasks, known.work.points)
        )
        lines = {
            key: [*_trend_points(points, names)] for key, points in known.trends.points.items()
        }
        return {
            "fields": self._coders.names,
            "interval": interval,
            "taken_at": micros(known.snapshot.taken_at),
            "sources": [self._coders.source.encode(source) for source in self._sources],
            "names": names.lists,
            "history": past,
            "tasks": tasks,
            "work": work,
            "trends": lines,
        }

    def sample(self, sample: Sample, after: Snapshot) -> list[Any]:
        """A sample that was learned, by what is known after it."""
        sources = tuple([_harmless(source) for source in after.sources])
        before, self._sources = self._sources, sources
        if isinstance(sample, Joined):
            return ["j", sample.source, sample.name, self._info(sample.info)]
        place = _place(before, sample.source)
        if isinstance(sample, PollFailed):
            at, again = micros(sample.at), sample.retry_at and micros(sample.retry_at)
            return ["f", place, at, redacted_in(sample.message), again, sample.attempts]
        source = sources[_place(sources, sample.source)]
        base = before[place].reading or _NOTHING
        info = None if before[place].info == source.info else self._info(source.info)
        changes = self._coders.reading.differ(base, source.reading or base)
        return ["p", place, sample.clock, sample.poll_seconds, info, changes]

    def _info(self, info: BackendInfo) -> Any:
        return self._coders.info.encode(replace(info, url=redacted(info.url)))


def _harmless(source: Source) -> Source:
    """The source without what a careless backend may have left in it, and without single jobs.

    A source that is as it should be is returned itself.
    """
    url = redacted(source.info.url)
    if url != source.info.url:
        source = replace(source, info=replace(source.info, url=url))
    failure = source.failure
    if failure is not None and (words := redacted_in(failure.message)) != failure.message:
        source = replace(source, failure=replace(failure, message=words))
    reading = source.reading
    if reading is None:
        return source
    if reading.jobs is not None or reading.told is not None:
        reading = replace(reading, jobs=None, told=None)
    if reading.warnings:
        warnings = tuple([redacted_in(words) for words in reading.warnings])
        if warnings != reading.warnings:
            reading = replace(reading, warnings=warnings)
    return source if reading is source.reading else replace(source, reading=reading)


def _place(sources: tuple[Source, ...], key: str) -> int:
    for place, source in enumerate(sources):
        if source.key == key:
            return place
    raise BadRecord(f"no source {key!r}")


class Reader:
    """Reads the records of a part of a recording, which begins with a keyframe."""

    def __init__(self, keyframe: Mapping[str, Any]) -> None:
        """Raises :class:`bgtop.state.coding.BadRecord`."""
        try:
            self._coders = _coders(keyframe["fields"])
            self.interval: float | None = keyframe["interval"]
            self.known = _known(keyframe, self._coders)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as fault:
            raise BadRecord(f"a keyframe cannot be read: {fault}") from None

    def sample(self, data: Any, before: Snapshot) -> Sample:
        """The sample of a record, by what is known before it; raises ``BadRecord``."""
        try:
            return self._sample(data, before)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as fault:
            raise BadRecord(f"a sample cannot be read: {fault}") from None

    def _sample(self, data: Any, before: Snapshot) -> Sample:
        match data:
            case ["j", source, name, info]:
                return Joined(source=source, name=name, info=self._coders.info.decode(info))
            case ["f", place, at, message, again, attempts]:
                return PollFailed(
                    source=before.sources[place].key,
                    at=moment_of(at),
                    message=message,
                    retry_at=None if again is None else moment_of(again),
                    attempts=attempts,
                )
            case ["p", place, clock, poll_seconds, info, changes]:
                source = before.sources[place]
                base = source.reading or _NOTHING
                return Polled(
                    source=source.key,
                    info=source.info if info is None else self._coders.info.decode(info),
                    reading=self._coders.reading.patch(base, changes),
                    clock=clock,
                    poll_seconds=poll_seconds,
                )
        raise BadRecord("of an unknown kind")


def _known(keyframe: Mapping[str, Any], coders: _Coders) -> Knowledge:
    sources = tuple([coders.source.decode(source) for source in keyframe["sources"]])
    snapshot = Snapshot(taken_at=moment_of(keyframe["taken_at"]), sources=sources)
    names = [
        {name: place for place, name in enumerate(listed) if name is not None}
        for listed in keyframe["names"]
    ]
    # A recording of an older bgtop has no points of tasks, and none of work.
    past, tasks, work = (
        {key: tuple(_history_of(points, names)) for key, points in each.items()}
        for each in (keyframe["history"], keyframe.get("tasks", {}), keyframe.get("work", {}))
    )
    processed = {s.key: processed_by(s.reading) for s in sources if s.reading is not None}
    lines = trends.Memory(
        {key: tuple(_trends_of(points, names)) for key, points in keyframe["trends"].items()}
    )
    known = known_of(snapshot, history.History(past, tasks), Work(work, processed))
    return replace(known, trends=lines)


class _Names:
    """Lists of names, each written once; points of one source share theirs."""

    def __init__(self) -> None:
        self.lists: list[list[str | None]] = []
        self._kept: list[Mapping[str, int]] = []

    def number(self, places: Mapping[str, int]) -> int:
        for number, kept in enumerate(self._kept):
            if kept is places:
                return number
        self._kept.append(places)
        # Of several rows with one name only the last has a place.
        listed: list[str | None] = [None] * (max(places.values(), default=-1) + 1)
        for name, place in places.items():
            listed[place] = name
        self.lists.append(listed)
        return len(self.lists) - 1


def _history_points(points: tuple[history.Point, ...], names: _Names) -> Iterator[list[Any]]:
    before: tuple[array[int] | None, ...] = (None, None, None)
    for point in points:
        columns = (point.entered, point.left, point.depths)
        packed = [_packed(column, old) for column, old in zip(columns, before, strict=True)]
        yield [point.clock, names.number(point.places), *packed]
        before = columns


def _history_of(points: Any, names: list[dict[str, int]]) -> Iterator[history.Point]:
    before: tuple[array[Any] | None, ...] = (None, None, None)
    for clock, number, *packed in points:
        columns = [_unpacked("q", data, old) for data, old in zip(packed, before, strict=True)]
        yield history.Point(clock, names[number], *columns)
        before = tuple(columns)


def _trend_points(points: tuple[trends.Point, ...], names: _Names) -> Iterator[list[Any]]:
    before: Mapping[str, array[float]] = {}
    for point in points:
        series = {name: _packed(line, before.get(name)) for name, line in point.series.items()}
        queues, workers = names.number(point.queues), names.number(point.workers)
        yield [point.clock, queues, workers, series, dict(point.sums)]
        before = point.series


def _trends_of(points: Any, names: list[dict[str, int]]) -> Iterator[trends.Point]:
    before: Mapping[str, array[float]] = {}
    for clock, queues, workers, packed, sums in points:
        series = {name: _unpacked("f", line, before.get(name)) for name, line in packed.items()}
        yield trends.Point(clock, names[queues], names[workers], series, sums)
        before = series


def _packed(numbers: array[Any], before: array[Any] | None) -> str | None:
    """The bits that differ from the numbers before; ``None`` if there are none."""
    octets = _octets(numbers)
    if before is not None and len(before) == len(numbers):
        old = _octets(before)
        if old == octets:
            return None
        octets = _differing(octets, old)
    return b2a_base64(octets, newline=False).decode("ascii")


def _unpacked(code: str, data: str | None, before: array[Any] | None) -> array[Any]:
    if data is None:
        if before is None:
            raise BadRecord("a column is missing")
        return before
    octets = a2b_base64(data)
    if before is not None and len(before) * before.itemsize == len(octets):
        octets = _differing(octets, _octets(before))
    numbers = array(code)
    numbers.frombytes(octets)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _octets(numbers: array[Any]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _differing(one: bytes, other: bytes) -> bytes:
    bits = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
    return bits.to_bytes(len(one), "little")
