"""Samples become snapshots: each poll, good or failed, gives the next picture of its source."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from bgtop.model import BackendInfo, Failure, Reading, Snapshot, Source
from bgworker.values import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """A source answered; ``source`` is its key.

    ``clock`` is when, in seconds of a clock that never goes back.
    """

    source: str
    info: BackendInfo
    reading: Reading
    clock: float
    poll_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PollFailed:
    """A source did not answer, for the ``attempts``-th time in a row."""

    source: str
    at: datetime
    message: str
    retry_at: datetime | None = None
    attempts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A source was found where another one, of the same name, looks for systems."""

    source: str
    name: str
    info: BackendInfo


Sample: TypeAlias = Polled | PollFailed | Joined


def fold(snapshot: Snapshot, sample: Sample) -> Snapshot:
    """The next snapshot. A failing source keeps its last reading, marked by ``failure``."""
    if isinstance(sample, Joined):
        return replace(snapshot, sources=_with(snapshot.sources, sample))
    at = sample.reading.taken_at if isinstance(sample, Polled) else sample.at
    return Snapshot(
        # Sources have clocks of their own, a snapshot never goes back.
        taken_at=max(at, snapshot.taken_at),
        sources=tuple(
            _after(source, sample) if source.key == sample.source else source
            for source in snapshot.sources
        ),
    )


def _with(sources: tuple[Source, ...], joined: Joined) -> tuple[Source, ...]:
    """The new one beside those of its place, which are in the order of their systems."""
    new = Source(id=joined.source, name=joined.name, info=joined.info)
    before = [
        index
        for index, source in enumerate(sources)
        if source.name == joined.name and _rank(source) <= _rank(new)
    ]
    place = before[-1] + 1 if before else len(sources)
    return (*sources[:place], new, *sources[place:])


def _rank(source: Source) -> tuple[str, str]:
    return source.info.system or "", source.key


def _after(source: Source, sample: Polled | PollFailed) -> Source:
    if isinstance(sample, Polled):
        return replace(
            source,
            info=sample.info,
            reading=sample.reading,
            poll_seconds=sample.poll_seconds,
            failure=None,
        )
    failure = Failure(
        message=sample.message,
        since=source.failure.since if source.failure else sample.at,
        retry_at=sample.retry_at,
        attempts=sample.attempts,
    )
    return replace(source, failure=failure)
