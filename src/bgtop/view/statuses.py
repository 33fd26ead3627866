"""The lines that say how the sources are: what is down, what is missing, how old the data is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from bgtop.counted import counted
from bgtop.model import Failure, Frame, Snapshot, Source
from bgtop.page import Status, Tone
from bgtop.state.listing import queues_of, workers_of
from bgtop.state.places import doubts_of, titles_of
from bgtop.view.text import age, clean, duration, seconds_since

_SLOW: Final = 0.5
"""Which part of the interval a poll may take."""

_LONGEST: Final = 1000
"""Letters of a message; a screen shows as many of them as it is wide."""


def statuses_of(
    frame: Frame, now: datetime, interval: float | None = None, *, detail: bool = False
) -> tuple[Status, ...]:
    """The worst first: sources that are down, those not heard yet, warnings, all that is well.

    Polls that take long for the ``interval`` asked for are worth a warning. With ``detail`` all
    sources that are well have a line each.
    """
    sources = frame.snapshot.sources
    titles = titles_of(sources)
    return (
        *(
            Status("DOWN", Tone.BAD, _with_name(source, _down(source, source.failure, now), titles))
            for source in sources
            if source.failure
        ),
        *(
            Status("WAIT", Tone.INFO, _with_name(source, "waiting for the first reading", titles))
            for source in sources
            if not source.failure and not source.reading
        ),
        *(Status("WARN", Tone.WARN, text) for text in _warnings(frame, titles)),
        *(Status("SLOW", Tone.WARN, text) for text in _slow(frame, titles, interval)),
        *_well(frame.snapshot, now, titles, detail=detail),
    )


def _with_name(source: Source, text: str, titles: Mapping[str, str]) -> str:
    """What concerns one source begins with its title if there are others."""
    title = titles.get(source.key, source.name)
    return clean(f"{title}: {text}" if len(titles) > 1 else text, _LONGEST)


def _warnings(frame: Frame, titles: Mapping[str, str]) -> Iterator[str]:
    """What the sources warn of, what may be missing, and what the limits hide."""
    for source in frame.snapshot.sources:
        for warning in source.reading.warnings if source.reading else ():
            yield _with_name(source, warning, titles)
    for search in frame.searches:
        for doubt in doubts_of(search, frame):
            yield _with_name(search, doubt, titles)
    if frame.max_queues is not None and (hidden := queues_of(frame).hidden):
        yield f"{counted(hidden, 'more queue')} hidden by max_queues; totals count them"
    if frame.max_workers is not None and (hidden := workers_of(frame).hidden):
        yield f"{counted(hidden, 'more worker')} hidden by max_workers; totals count them"


def _slow(frame: Frame, titles: Mapping[str, str], interval: float | None) -> Iterator[str]:
    for source in frame.snapshot.sources:
        took = source.poll_seconds
        if interval is None or took is None or source.failure or took < _SLOW * interval:
            continue
        text = f"a poll takes {duration(took)}, which is long for one every {interval:g}s"
        yield _with_name(source, text, titles)


def _down(source: Source, failure: Failure, now: datetime) -> str:
    parts = [failure.message]
    if source.reading is not None:
        parts.append(f"data {age(seconds_since(source.reading.taken_at, now))} old")
    if failure.retry_at is not None:
        wait = (failure.retry_at - now).total_seconds()
        parts.append(f"retry in {age(wait + 0.999)}" if wait > 0 else "retrying")
    if failure.attempts > 1:
        parts.append(f"attempt {failure.attempts}")
    return " · ".join(parts)


def _well(
    snapshot: Snapshot, now: datetime, titles: Mapping[str, str], *, detail: bool
) -> Iterator[Status]:
    well = [source for source in snapshot.sources if source.reading and not source.failure]
    if not well:
        return
    if detail:
        for source in well:
            title = clean(titles.get(source.key, source.name))
            yield Status("OK", Tone.GOOD, _cost(source, title, now, detail=True))
        return
    if len(well) == 1:
        yield Status("OK", Tone.GOOD, _cost(well[0], clean(well[0].name), now))
        return
    ages = [seconds_since(source.reading.taken_at, now) or 0.0 for source in well if source.reading]
    words = f"{len(well)} sources · data at most {age(max(ages))} old"
    yield Status("OK", Tone.GOOD, words)


def _cost(source: Source, title: str, now: datetime, *, detail: bool = False) -> str:
    """How old a reading is, and what it took."""
    reading = source.reading
    if reading is None:
        return title
    parts = [title, f"data {age(seconds_since(reading.taken_at, now))} old"]
    if source.poll_seconds is not None:
        parts.append(f"read in {duration(source.poll_seconds)}")
    if detail and reading.round_trips:
        parts.append(counted(reading.round_trips, "round trip"))
    if reading.commands:
        parts.append(f"{reading.commands} commands")
    return " · ".join(parts)
