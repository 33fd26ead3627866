"""What is held against limits, and the grade that follows: OK, WARNING, CRITICAL or UNKNOWN.

A limit that needs a number the system cannot tell is UNKNOWN, never OK: a check that cannot see is
not a check that found nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, IntEnum
from typing import Final, TypeAlias

from bgtop.counted import counted
from bgtop.model import AgeKind, Capability, Frame, QueueReading, Source, WorkerState
from bgtop.state.totals import Totals, failed_of, totals_of
from bgworker.values import dataclass, replace


class Grade(IntEnum):
    """How bad; the numbers are the exit statuses of a Nagios plug-in."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


_Judge: TypeAlias = Callable[[QueueReading, "Limit"], Iterable["Remark"]]

_WORST_FIRST: Final = (Grade.CRITICAL, Grade.WARNING, Grade.UNKNOWN, Grade.OK)


class Measure(str, Enum):
    """What a limit is about."""

    DEPTH = "depth"
    AGE = "age"
    WORKERS = "workers"
    FAILED = "failed"
    CONSUMERS = "consumers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Beyond ``value`` is ``grade``; of workers: below it. Without ``queue`` it is for each one.

    A limit on failed jobs is for all queues together, one on consumers has no value: a queue where
    something waits must have one.
    """

    measure: Measure
    value: float = 0.0
    grade: Grade = Grade.CRITICAL
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class Remark:
    """A reason for a grade, in words; of those with the same ``about`` the worst is told."""

    grade: Grade
    words: str
    about: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number for a graph, with the limits it is held against; ``None`` is unknown.

    One that is not ``whole`` is the least that it can be: a part of it is unknown.
    """

    label: str
    value: float | None
    unit: str = ""
    warning: float | None = None
    critical: float | None = None
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """The worst grade, why, and the numbers behind it."""

    grade: Grade
    remarks: tuple[Remark, ...]
    gauges: tuple[Gauge, ...]


def verdict_on(frame: Frame, limits: Sequence[Limit]) -> Verdict:
    """Hold a frame against limits. A source that cannot be read is CRITICAL."""
    found = [*_of_sources(frame)]
    # A queue that is beyond a limit of its own and one for all is told by its own.
    for limit in sorted(limits, key=lambda limit: limit.queue is None):
        found += _JUDGES[limit.measure](frame, limit)
    found.sort(key=lambda remark: _WORST_FIRST.index(remark.grade))
    worst: dict[tuple[str, ...], Remark] = {}
    for remark in found:
        worst.setdefault(remark.about or (remark.words,), remark)
    remarks = tuple({remark.words: remark for remark in worst.values()}.values())
    grade = remarks[0].grade if remarks else Grade.OK
    return Verdict(grade, remarks, tuple(_gauges(frame, limits)))


def _of_sources(frame: Frame) -> Iterator[Remark]:
    for source in frame.snapshot.sources:
        if source.failure is not None:
            yield Remark(Grade.CRITICAL, f"{source.name}: {source.failure.message}")
        elif source.info.system is None:
            yield Remark(Grade.UNKNOWN, f"{source.name}: no job system was found there")


def _queues(frame: Frame, name: str | None = None) -> list[tuple[Source, QueueReading]]:
    return [
        (source, queue)
        for source in _read(frame)
        for queue in (source.reading.queues if source.reading else ())
        if name is None or queue.name == name
    ]


def _read(frame: Frame) -> list[Source]:
    """What a limit is about; a failing source has a remark of its own."""
    return [
        source
        for source in frame.snapshot.sources
        if source.reading is not None and source.failure is None and source.info.system is not None
    ]


def _of_queues(judge: _Judge) -> Callable[[Frame, Limit], Iterator[Remark]]:
    """What is remarked on each queue a limit is for, or that the one it names is not there."""

    def judged(frame: Frame, limit: Limit) -> Iterator[Remark]:
        found = _queues(frame, limit.queue)
        if not found and limit.queue is not None and _read(frame):
            yield Remark(Grade.UNKNOWN, f"there is no queue {limit.queue}")
        for source, queue in found:
            about = (limit.measure.value, source.key, queue.name)
            for remark in judge(queue, limit):
                yield Remark(remark.grade, f"{queue.name}: {remark.words}", about)

    return judged


def _depth(queue: QueueReading, limit: Limit) -> Iterator[Remark]:
    if queue.depth is None:
        yield Remark(Grade.UNKNOWN, "the depth cannot be told")
    elif queue.depth > limit.value:
        yield Remark(limit.grade, f"{queue.depth} waiting, more than {limit.value:g}")


def _age(queue: QueueReading, limit: Limit) -> Iterator[Remark]:
    oldest = queue.oldest
    if oldest is not None and oldest.seconds > limit.value:
        # Rounded to seconds, 1.2 would be no more than 1.
        seconds = f"{oldest.seconds:.{0 if oldest.seconds >= 100 else 1}f}"
        words = f"oldest job waits {seconds}s, more than {limit.value:g}s"
        yield Remark(limit.grade, words)
    elif queue.depth == 0 or (oldest and oldest.kind is AgeKind.EXACT):
        return
    elif oldest is not None:
        words = f"oldest job waits at least {oldest.seconds:.0f}s; more is not known"
        yield Remark(Grade.UNKNOWN, words)
    else:
        yield Remark(Grade.UNKNOWN, "the age of the oldest job cannot be told")


def _consumers(frame: Frame, limit: Limit) -> Iterator[Remark]:
    takers = {source.key: consumers_at(source) for source in _read(frame)}
    for source, queue in _queues(frame, limit.queue):
        if not queue.depth and queue.depth is not None:
            continue
        consumers = takers[source.key](queue)
        if consumers is None and queue.depth:
            words = f"{queue.depth} waiting, and who takes them cannot be told"
            yield Remark(Grade.UNKNOWN, f"{queue.name}: {words}")
        elif consumers == 0 and queue.depth:
            yield Remark(limit.grade, f"{queue.name}: {queue.depth} waiting and no consumer")


def consumers_at(source: Source) -> Callable[[QueueReading], int | None]:
    """How many take from a queue; 0 also where nobody can, as the source has no living worker.

    Asked of each of thousands of queues: what is the same for all is found once.
    """
    told = source.reading is not None and Capability.WORKERS in source.info.capabilities
    workers = source.reading.workers if source.reading is not None else ()
    otherwise = 0 if told and all(one.state is WorkerState.DEAD for one in workers) else None
    return lambda queue: otherwise if queue.consumers is None else queue.consumers


def _workers(frame: Frame, limit: Limit) -> Iterator[Remark]:
    read = _read(frame)
    states = [w.state for source in read if source.reading for w in source.reading.workers]
    alive = sum(state in {WorkerState.ACTIVE, WorkerState.IDLE} for state in states)
    if alive >= limit.value or not read:
        return
    silent = states.count(WorkerState.UNKNOWN)
    untold = [s.info.system for s in read if Capability.WORKERS not in s.info.capabilities]
    words = f"{counted(alive, 'worker')}, fewer than {limit.value:g}"
    if untold:
        yield Remark(Grade.UNKNOWN, f"{words}, and {untold[0]} does not tell its workers")
    elif alive + silent >= limit.value:
        yield Remark(Grade.UNKNOWN, f"{words}, and {silent} of which it is not known")
    else:
        yield Remark(limit.grade, words, (limit.measure.value,))


def _failed(frame: Frame, limit: Limit) -> Iterator[Remark]:
    known = [count for source in _read(frame) if (count := failed_of(source)) is not None]
    untold = [source.info.system for source in _read(frame) if failed_of(source) is None]
    if sum(known) > limit.value:
        words = f"{counted(sum(known), 'failed job')}, more than {limit.value:g}"
        yield Remark(limit.grade, words, (limit.measure.value,))
    elif untold:
        yield Remark(Grade.UNKNOWN, f"{untold[0]} does not tell how many jobs failed")


_JUDGES: Final[dict[Measure, Callable[[Frame, Limit], Iterable[Remark]]]] = {
    Measure.DEPTH: _of_queues(_depth),
    Measure.AGE: _of_queues(_age),
    Measure.WORKERS: _workers,
    Measure.FAILED: _failed,
    Measure.CONSUMERS: _consumers,
}


def _gauges(frame: Frame, limits: Sequence[Limit]) -> Iterator[Gauge]:
    """The totals, then what the queues with limits of their own have."""
    totals = totals_of(frame)
    alive = sum(totals.workers_by_state.get(s, 0) for s in (WorkerState.ACTIVE, WorkerState.IDLE))
    every = _queues(frame)
    sources = frame.snapshot.sources
    # Of sources that could not be read it is not known that they have none.
    read = all(source.reading is not None for source in sources)
    blind = all(source.reading is None for source in sources)
    staffed = read and all(Capability.WORKERS in source.info.capabilities for source in sources)
    yield Gauge("queues", None if blind else totals.queues, whole=read)
    yield _sum_gauge("depth", totals, "depth")
    deepest = _gauge("deepest", _deepest([queue for _, queue in every]), limits, Measure.DEPTH)
    yield replace(deepest, whole="depth" not in totals.at_least)
    oldest = _gauge("oldest", _oldest([queue for _, queue in every]), limits, Measure.AGE, unit="s")
    yield replace(oldest, whole=read)
    yield replace(
        _gauge("workers", None if blind else alive, limits, Measure.WORKERS), whole=staffed
    )
    yield _sum_gauge("running", totals, "running")
    failed = _gauge("failed", totals.failures, limits, Measure.FAILED)
    yield replace(failed, whole="failures" not in totals.at_least)
    for name in dict.fromkeys(limit.queue for limit in limits if limit.queue is not None):
        queues = [queue for _, queue in _queues(frame, name)]
        told = [queue.depth for queue in queues if queue.depth is not None]
        depth = sum(told) if told else None
        depths = _gauge(f"{name} depth", depth, limits, Measure.DEPTH, queue=name)
        yield replace(depths, whole=len(told) == len(queues))
        yield _gauge(f"{name} oldest", _oldest(queues), limits, Measure.AGE, queue=name, unit="s")


def _sum_gauge(label: str, totals: Totals, name: str) -> Gauge:
    return Gauge(label, getattr(totals, name), whole=name not in totals.at_least)


def _deepest(queues: Iterable[QueueReading]) -> int | None:
    return max((queue.depth for queue in queues if queue.depth is not None), default=None)


def _oldest(queues: Iterable[QueueReading]) -> float | None:
    return max((queue.oldest.seconds for queue in queues if queue.oldest), default=None)


def _gauge(
    label: str,
    value: float | None,
    limits: Sequence[Limit],
    measure: Measure,
    *,
    queue: str | None = None,
    unit: str = "",
) -> Gauge:
    mine = {x.grade: x.value for x in limits if x.measure is measure and x.queue == queue}
    return Gauge(label, value, unit, mine.get(Grade.WARNING), mine.get(Grade.CRITICAL))
