"""What is not well, judged from one or several frames of the same sources: pure.

Several frames, some seconds apart, also show what grows. Findings that only a system can make come
with its readings and are passed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

from bgtop.model import (
    Finding,
    Frame,
    QueueReading,
    Reading,
    Severity,
    Source,
    WorkerReading,
    WorkerState,
)
from bgtop.state.mending import ask_or_start, quoted, restart, starting
from bgtop.state.tested import untested
from bgtop.state.thresholds import consumers_at
from bgtop.symptoms import DRIFT, clock_drift, finding

NOT_CONSUMED_AFTER: Final = 60.0
"""Seconds after which a job that waits beside an idle worker is worth a word."""
_USUAL_STEPS: Final = frozenset({0, 3, 6, 9})
"""Celery's ``priority_steps`` unless the application says otherwise."""
_HOARD: Final = 4
_GROWTH: Final = 10
_LIVING: Final = frozenset({WorkerState.ACTIVE, WorkerState.IDLE})


class Case(NamedTuple):
    """A finding and the source it is about."""

    source: Source
    finding: Finding

    @property
    def id(self) -> tuple[str, str]:
        """What a selection holds on to."""
        return self.source.key, f"{self.finding.subject}\0{self.finding.code}"

    @property
    def copied(self) -> str:
        """What is worth copying: the command that mends it."""
        return self.finding.mend


class _Course:
    """A source as it was read one time after the other, the newest last."""

    def __init__(self, source: Source, readings: tuple[Reading, ...]) -> None:
        self.source = source
        self.readings = readings
        self.now = readings[-1]

    @cached_property
    def queues(self) -> list[Mapping[str, QueueReading]]:
        """Those of each reading, by their names; most courses are never asked for them."""
        return [{queue.name: queue for queue in reading.queues} for reading in self.readings]

    def of(self, queue: str) -> list[QueueReading]:
        """A queue in each reading that has it."""
        return [queues[queue] for queues in self.queues if queue in queues]


def findings_of(frames: Sequence[Frame]) -> tuple[Case, ...]:
    """The findings of the sources of the newest frame, the worst first."""
    cases = [
        Case(source, finding)
        for source in frames[-1].snapshot.sources
        for finding in _of_source(source, frames)
    ]
    return tuple([case for bad in Severity for case in cases if case.finding.severity is bad])


def _of_source(source: Source, frames: Sequence[Frame]) -> Iterator[Finding]:
    if source.failure is not None:
        yield finding(
            "source-down",
            source.name,
            source.failure.message,
            "start the server, or correct the address: bgtop init",
        )
        return
    if source.info.system is None:
        yield finding(
            "no-system",
            source.name,
            f"nothing in {source.info.broker} looks like one",
            "name the system: bgtop --backend NAME, or a URL such as rq+redis://…",
        )
        return
    readings = tuple(
        reading
        for frame in frames
        for one in frame.snapshot.sources
        if one.key == source.key and (reading := one.reading) is not None
    )
    if readings:
        course = _Course(source, readings)
        for rule in _RULES:
            yield from rule(course)
        yield from course.now.findings


def _no_consumer(course: _Course) -> Iterator[Finding]:
    consumers, start = consumers_at(course.source), starting(course.source)
    for queue in course.now.queues:
        if queue.depth and not queue.paused and consumers(queue) == 0:
            yield finding(
                "no-consumer",
                queue.name,
                f"{queue.depth} waiting, 0 consumers",
                start(queue.name),
            )


def _paused(course: _Course) -> Iterator[Finding]:
    for queue in course.now.queues:
        if queue.depth and queue.paused:
            yield finding(
                "paused",
                queue.name,
                f"{queue.depth} waiting",
                f"bgtop resume {quoted(queue.name)} {quoted(course.source.info.url)}",
            )


def _silent(course: _Course) -> Iterator[Finding]:
    for worker in course.now.workers:
        if worker.state in _LIVING:
            continue
        beat = worker.last_heartbeat_at
        seen = "no heartbeat was heard"
        if beat is not None:
            seconds = (course.now.taken_at - beat).total_seconds()
            seen = f"last heartbeat {max(seconds, 0.0):.0f} s ago"
        dead = worker.state is WorkerState.DEAD
        yield finding(
            "worker-silent",
            worker.name,
            seen,
            restart(course.source, worker.name, dead=dead),
        )


def _not_consumed(course: _Course) -> Iterator[Finding]:
    """A job is ready, a worker has nothing to do, and they do not find each other."""
    idle, consumers = _first_idle(course.now.workers), consumers_at(course.source)
    for queue in course.now.queues:
        age = queue.oldest.seconds if queue.oldest else None
        if not queue.depth or queue.paused or age is None or age < NOT_CONSUMED_AFTER:
            continue
        worker = idle.get(queue.name, idle.get(None))
        if worker is not None and consumers(queue) != 0:
            yield finding(
                "not-consumed",
                queue.name,
                f"{queue.depth} waiting, the oldest for {age:.0f} s; idle: {worker.name}",
                restart(course.source, worker.name, dead=False)
                if worker.queues is not None
                else ask_or_start(course.source, worker.name, queue.name),
            )


def _first_idle(workers: Sequence[WorkerReading]) -> dict[str | None, WorkerReading]:
    """The first worker with nothing to do by the queue it takes from; ``None`` stands for any."""
    first: dict[str | None, WorkerReading] = {}
    for worker in workers:
        if worker.state is WorkerState.IDLE and not worker.running:
            for queue in (None,) if worker.queues is None else worker.queues:
                first.setdefault(queue, worker)
    return first


def _hoarding(course: _Course) -> Iterator[Finding]:
    """Messages lie with busy workers while others have nothing left to take."""
    held = _total(course.now, "unacked")
    running = [w.running for w in course.now.workers if w.state in _LIVING]
    if held is None or None in running:
        return
    # Celery's workers also hold what is not due yet, others apart from the rest.
    celery = course.source.info.system == "celery"
    due_later = (_total(course.now, "scheduled") or 0) if celery else 0
    spare = held - due_later - sum(count or 0 for count in running)
    idle = [w for w in course.now.workers if w.state is WorkerState.IDLE and not w.running]
    waiting = _total(course.now, "depth")
    busy = any(running)
    if busy and idle and waiting == 0 and spare >= _HOARD:
        yield finding(
            "prefetch-hoarding",
            course.source.info.system or "",
            f"{spare} fetched and not running, {len(idle)} idle workers, e.g. {idle[0].name}",
            "Celery: worker_prefetch_multiplier = 1 and task_acks_late = True; "
            "Dramatiq: dramatiq_queue_prefetch=1 in its environment",
        )


def _total(reading: Reading, name: str) -> int | None:
    if name in reading.totals:
        return reading.totals[name]
    counts = [getattr(queue, name) for queue in reading.queues]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _unread_priorities(course: _Course) -> Iterator[Finding]:
    if course.source.info.system != "celery":
        return
    living = any(worker.state in _LIVING for worker in course.now.workers)
    for queue in course.now.queues:
        found = {
            step: count
            for step, count in (queue.by_priority or {}).items()
            if count and step not in _USUAL_STEPS
        }
        if not found or not living:
            continue
        seen = [q.by_priority for q in course.of(queue.name) if q.by_priority is not None]
        odd = [step for step, n in found.items() if all(s.get(step, 0) <= n for s in seen)]
        if odd:
            steps = ", ".join(map(str, odd))
            yield finding(
                "priority-unread",
                queue.name,
                f"priority {steps}; unless told otherwise workers read 0, 3, 6 and 9",
                'the same broker_transport_options = {"priority_steps": …} for producers and '
                "workers",
            )


def _unacked_grows(course: _Course) -> Iterator[Finding]:
    for queue in course.now.queues:
        if queue.unacked is None or queue.unacked < _GROWTH:
            continue  # nearly all queues end here
        held = [q.unacked for q in course.of(queue.name) if q.unacked is not None]
        if len(held) < 3 or held[-1] - held[0] < _GROWTH:
            continue
        if all(later >= earlier for earlier, later in pairwise(held)):
            span = (course.now.taken_at - course.readings[0].taken_at).total_seconds()
            yield finding(
                "unacked-grows",
                queue.name,
                f"{held[0]} grew to {held[-1]} within {span:.0f} s",
                "limit what a worker fetches in advance; see that tasks end, and that their "
                "workers acknowledge",
            )


def _drift(course: _Course) -> Iterator[Finding]:
    # Heartbeats of the other systems come to us by our own clock.
    late = _late(course.readings) if course.source.info.system == "rq" else {}
    # A reading is dated by the begin of its poll, and what was written meanwhile may be in it.
    took = course.source.poll_seconds or 0.0
    for worker in course.now.workers:
        beat = worker.last_heartbeat_at
        ahead = (beat - course.now.taken_at).total_seconds() - took if beat else 0.0
        if ahead <= DRIFT:
            ahead = -late.get(worker.name, 0.0)
        if abs(ahead) > DRIFT:
            yield clock_drift(worker.name, ahead, worker.host)


def _late(readings: Sequence[Reading]) -> dict[str, float]:
    """By worker how late its clock is at least: a new heartbeat came after the look before."""
    found: dict[str, float] = {}
    for earlier, later in pairwise(readings):
        before = {worker.name: worker.last_heartbeat_at for worker in earlier.workers}
        for worker in later.workers:
            last, beat = before.get(worker.name), worker.last_heartbeat_at
            if last is not None and beat is not None and beat > last:
                late = (earlier.taken_at - beat).total_seconds()
                found[worker.name] = min(late, found.get(worker.name, late))
    return found


def _versions(course: _Course) -> Iterator[Finding]:
    system = course.source.info.system or ""
    seen: dict[tuple[str, str], str] = {}
    broker = course.now.broker_version
    product = course.source.info.broker
    if broker and (range_ := untested(product, broker)):
        seen[product, broker] = range_
    for worker in course.now.workers:
        version = worker.version or ""
        if version.startswith(f"{system} ") and (range_ := untested(system, version)):
            seen[system, version.removeprefix(f"{system} ")] = range_
    for (product, version), words in seen.items():
        yield finding(
            "version-untested",
            product,
            f"{product} {version}; {words}",
            "pip install --upgrade bgtop, and compare the numbers here with its own tools",
        )


def _warnings(course: _Course) -> Iterator[Finding]:
    for warning in course.now.warnings:
        yield finding(
            "warning",
            course.source.name,
            warning,
            "docs/how-to says of each system what can be told, and with which rights",
        )


_RULES: Final[tuple[Callable[[_Course], Iterator[Finding]], ...]] = (
    _no_consumer,
    _paused,
    _silent,
    _not_consumed,
    _hoarding,
    _unread_priorities,
    _unacked_grows,
    _drift,
    _versions,
    _warnings,
)
