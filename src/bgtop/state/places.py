"""Which sources are shown, and what each is called where several systems live at one place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bgtop.model import Frame, Snapshot, Source


class Places(NamedTuple):
    """Sources with a system, or with nothing else at their place; and the searches behind them."""

    shown: tuple[Source, ...]
    searches: tuple[Source, ...]


def places_of(snapshot: Snapshot) -> Places:
    """A place where systems are looked for is a source of its own until the first one is found."""
    inhabited = {source.name for source in snapshot.sources if source.info.system is not None}
    shown: list[Source] = []
    searches: list[Source] = []
    for source in snapshot.sources:
        searched = source.info.system is None and source.name in inhabited
        (searches if searched else shown).append(source)
    return Places(tuple(shown), tuple(searches))


def doubts_of(search: Source, frame: Frame) -> list[str]:
    """Why more systems may live at a place than those found there."""
    if search.failure is None:
        return list(search.reading.warnings) if search.reading else []
    if any(source.failure for source in frame.snapshot.sources if source.name == search.name):
        return []  # which says the same
    return [f"no further systems are looked for: {search.failure.message}"]


def titles_of(sources: Sequence[Source]) -> dict[str, str]:
    """What messages call each source, by its key: the place, with the system if it is shared."""
    shared = _twice(source.name for source in sources)
    return {
        source.key: source.key.replace("\0", " ") if source.name in shared else source.name
        for source in sources
    }


def _twice(names: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    again: set[str] = set()
    for name in names:
        (again if name in seen else seen).add(name)
    return again
