"""Sums over everything in a frame; a sum nobody can tell a part of is ``None``, not zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import TypeVar

from bgtop.model import BackendInfo, Capability, Frame, Reading, WorkerState
from bgworker.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over all sources, of what their systems can tell."""

    queues: int
    workers: int
    workers_by_state: Mapping[WorkerState, int]
    depth: int | None
    unacked: int | None
    running: int | None
    failed: int | None
    in_per_second: float | None
    out_per_second: float | None


def totals_of(frame: Frame) -> Totals:
    """The sums of this frame."""
    read = [(s.info, s.reading) for s in frame.snapshot.sources if s.reading is not None]
    states = [worker.state for _, reading in read for worker in reading.workers]
    rates = frame.rates.values()
    return Totals(
        queues=sum(len(reading.queues) for _, reading in read),
        workers=len(states),
        workers_by_state={state: states.count(state) for state in WorkerState if state in states},
        depth=_sum(_of_source(*source, Capability.DEPTH) for source in read),
        unacked=_sum(_of_source(*source, Capability.UNACKED) for source in read),
        running=_sum(_running(*source) for source in read),
        failed=_sum(_of_source(*source, Capability.FAILED) for source in read),
        in_per_second=_sum(rate.in_per_second for rate in rates),
        out_per_second=_sum(rate.out_per_second for rate in rates),
    )


N = TypeVar("N", int, float)


def _sum(values: Iterable[N | None]) -> N | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _of_source(info: BackendInfo, reading: Reading, fact: Capability) -> int | None:
    """What a source says of itself, else the sum over its queues; none of none is zero."""
    name = fact.value
    if name in reading.totals:
        return reading.totals[name]
    values: list[int | None] = [*map(attrgetter(name), reading.queues)]
    if not values:
        return 0 if fact in info.capabilities else None
    return _sum(values)


def _running(info: BackendInfo, reading: Reading) -> int | None:
    """Workers know best what is running; what a dead one said last no longer holds."""
    known = _sum(
        worker.running for worker in reading.workers if worker.state is not WorkerState.DEAD
    )
    return known if known is not None else _of_source(info, reading, Capability.RUNNING)
