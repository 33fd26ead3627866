"""Alerts of the live view: which rules are broken now, from what is seen and what was seen before.

Pure: a memory goes in and comes out. A number that is unknown breaks no rule; ``bgtop check`` is
for those who must know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from bgtop.model import Alert, Frame, QueueReading, Source, WorkerState
from bgtop.state.thresholds import Limit, Measure, consumers_at
from bgworker.values import dataclass, field

WINDOW: Final = 300.0
"""Seconds over which the share of failures is taken."""

GONE_FOR: Final = 600.0
"""Seconds for which a worker that is gone is told; then somebody has meant it so."""

_FEWEST: Final = 10
"""Ended jobs below which a share of failures says nothing."""

_ALIVE: Final = frozenset({WorkerState.ACTIVE, WorkerState.IDLE})

_Worker = tuple[str, str]
_Work = Mapping[tuple[str, str, datetime | None], tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is watched for, and what happens then: ``command`` is run at most every ``repeat`` s."""

    limits: tuple[Limit, ...] = ()
    failures: float | None = None
    """The largest share of jobs that may fail, from 0 to 1."""
    worker_gone: bool = False
    bell: bool = True
    command: tuple[str, ...] = ()
    repeat: float = 300.0


class _Look(NamedTuple):
    """How much each worker had done at an instant of a clock that never goes back."""

    clock: float
    work: _Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What has to be known of earlier frames: when each worker was alive last, what was done."""

    alive: Mapping[_Worker, float] = field(default_factory=dict)
    looks: tuple[_Look, ...] = ()


def alerts_of(
    rules: Rules, frame: Frame, memory: Memory, clock: float
) -> tuple[tuple[Alert, ...], Memory]:
    """The rules that are broken, and what to remember; ``clock`` in seconds."""
    after = _remembered(frame, memory, clock)
    found = [*_of_limits(rules, frame)]
    if rules.worker_gone:
        found += _gone(frame, after, clock)
    if rules.failures is not None:
        found += _failing(frame, after, rules.failures)
    return tuple(found), after


def _remembered(frame: Frame, memory: Memory, clock: float) -> Memory:
    alive = {worker: at for worker, at in memory.alive.items() if clock - at <= GONE_FOR}
    work: dict[tuple[str, str, datetime | None], tuple[int, int]] = {}
    for source in _read(frame):
        for worker in source.reading.workers if source.reading else ():
            if worker.state in _ALIVE:
                alive[source.key, worker.name] = clock
            if worker.processed is not None and worker.failed is not None:
                key = source.key, worker.name, worker.started_at
                work[key] = worker.processed, worker.failed
    looks = [look for look in memory.looks if clock - look.clock <= WINDOW]
    return Memory(alive=alive, looks=(*looks, _Look(clock, work)))


def _read(frame: Frame) -> Iterator[Source]:
    """What a source said before it failed breaks no rule; its status line says that it failed."""
    for source in frame.snapshot.sources:
        if source.reading is not None and source.failure is None:
            yield source


def _of_limits(rules: Rules, frame: Frame) -> Iterable[Alert]:
    """A queue beyond a limit of its own and one for all is told once, by its own."""
    found: dict[tuple[Measure, str, str], Alert] = {}
    for limit in rules.limits:
        for source in _read(frame):
            consumers = consumers_at(source)
            for queue in source.reading.queues if source.reading else ():
                if limit.queue in (None, queue.name):
                    words = _broken(queue, consumers, limit)
                    about = limit.measure, source.key, queue.name
                    if words and (limit.queue is not None or about not in found):
                        found[about] = Alert(limit.measure.value, source.name, queue.name, words)
    return found.values()


def _broken(
    queue: QueueReading, consumers: Callable[[QueueReading], int | None], limit: Limit
) -> str:
    if limit.measure is Measure.DEPTH and queue.depth is not None and queue.depth > limit.value:
        return f"{queue.depth} waiting, more than {limit.value:g}"
    if limit.measure is Measure.AGE and queue.oldest and queue.oldest.seconds > limit.value:
        return f"oldest job waits {queue.oldest.seconds:.0f} s, more than {limit.value:g} s"
    if limit.measure is Measure.CONSUMERS and queue.depth and consumers(queue) == 0:
        return f"{queue.depth} waiting and no consumer"
    return ""


def _gone(frame: Frame, memory: Memory, clock: float) -> Iterator[Alert]:
    names = {source.key: source.name for source in _read(frame)}
    # In an order that does not depend on who was seen first.
    for (key, worker), at in sorted(memory.alive.items()):
        if at < clock and key in names:
            yield Alert("worker_gone", names[key], worker, f"is gone for {clock - at:.0f} s")


def _failing(frame: Frame, memory: Memory, most: float) -> Iterator[Alert]:
    first, last = memory.looks[0].work, memory.looks[-1].work
    for source in _read(frame):
        done = failed = 0
        for worker, (processed, failures) in last.items():
            if worker[0] == source.key:
                before = first.get(worker, (processed, failures))
                done += max(processed - before[0], 0)
                failed += max(failures - before[1], 0)
        if done >= _FEWEST and failed > most * done:
            share = f"{100 * failed / done:.0f} % of {done} jobs failed, more than {100 * most:g} %"
            yield Alert("failures", source.name, source.info.system or "", share)
