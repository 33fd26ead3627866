"""Sums over everything in a frame.

A sum nobody can tell a part of is ``None``, not zero; one of which a part is unknown is the least
that it can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from operator import attrgetter
from typing import Any, Final

from bgtop.model import (
    UNKNOWN_RATES,
    BackendInfo,
    Capability,
    Frame,
    Rates,
    Reading,
    Source,
    WorkerState,
)
from bgtop.state.records import queue_rows_of
from bgworker.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over all sources, of what their systems can tell."""

    queues: int
    workers: int
    workers_by_state: Mapping[WorkerState, int]
    depth: int | None
    unacked: int | None
    scheduled: int | None
    running: int | None
    failed: int | None
    dead: int | None
    failures: int | None
    """Both together: what is kept of jobs that ended badly, which some systems tell as one."""
    in_per_second: float | None
    out_per_second: float | None
    at_least: frozenset[str]
    """The names of those sums of which a part is unknown."""
    estimated: bool
    """Whether estimates are among the rates that were summed."""


_FACTS: Final = (
    Capability.DEPTH,
    Capability.UNACKED,
    Capability.SCHEDULED,
    Capability.FAILED,
    Capability.DEAD,
)
_FAILURES: Final = (Capability.FAILED, Capability.DEAD)


def totals_of(frame: Frame) -> Totals:
    """The sums of this frame."""
    read = [(s.info, s.reading) for s in frame.snapshot.sources if s.reading is not None]
    states = [worker.state for _, reading in read for worker in reading.workers]
    told = [{fact: _of_source(*source, fact) for fact in _FACTS} for source in read]
    parts: dict[str, list[Any]] = {
        fact.value: [*chain.from_iterable(of[fact] for of in told)] for fact in _FACTS
    }
    parts["running"] = [*chain.from_iterable(_running(*source) for source in read)]
    failures = [_failures(info, of) for (info, _), of in zip(read, told, strict=True)]
    parts["failures"] = [*chain.from_iterable(failures)]
    queues, rates = sum(len(reading.queues) for _, reading in read), _rates(frame)
    for name in ("in_per_second", "out_per_second"):
        parts[name] = [*map(attrgetter(name), rates)]
    unread = len(read) < len(frame.snapshot.sources)
    return Totals(
        queues=queues,
        workers=len(states),
        workers_by_state={state: states.count(state) for state in WorkerState if state in states},
        **{name: _sum(of) for name, of in parts.items()},
        at_least=frozenset(name for name, of in parts.items() if unread or None in of),
        estimated=any(one.are_estimates for one in rates),
    )


def _rates(frame: Frame) -> list[Rates]:
    """Those of sources that count their queues, queue by queue, and of all others as a whole."""
    rates: list[Rates] = []
    for source in frame.snapshot.sources:
        if source.key in frame.source_rates:
            rates.append(frame.source_rates[source.key])
        elif frame.rates:
            rates += map(attrgetter("rates"), queue_rows_of(frame, source))
        elif source.reading is not None and source.reading.queues:
            rates.append(UNKNOWN_RATES)
    return rates


def _sum(parts: Iterable[Any]) -> Any:
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def _of_source(info: BackendInfo, reading: Reading, fact: Capability) -> list[int | None]:
    """What a source says of itself, else what its queues do; none of none is zero."""
    name = fact.value
    if name in reading.totals:
        return [reading.totals[name]]
    if not reading.queues:
        return [0 if fact in info.capabilities else None]
    return [*map(attrgetter(name), reading.queues)]


def failed_of(source: Source) -> int | None:
    """Failed and dead jobs that a source still keeps, at least; ``None`` if it tells neither."""
    if source.reading is None:
        return None
    told = {fact: _of_source(source.info, source.reading, fact) for fact in _FAILURES}
    kept: int | None = _sum(_failures(source.info, told))
    return kept


def _failures(info: BackendInfo, told: Mapping[Capability, list[int | None]]) -> list[int | None]:
    """A system that does not tell one of the two has no such jobs; one that tells neither may."""
    found: list[int | None] = []
    for fact in _FAILURES:
        parts = told[fact]
        if fact in info.capabilities or parts.count(None) < len(parts):
            found += parts
    return found or [None]


def _running(info: BackendInfo, reading: Reading) -> list[int | None]:
    """Workers know best what is running; what a dead one said last no longer holds."""
    living = [one.running for one in reading.workers if one.state is not WorkerState.DEAD]
    if any(running is not None for running in living):
        return living
    return _of_source(info, reading, Capability.RUNNING)
