"""What one exporter tells of each frame: measures with bounded labels and counts that only grow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from bgtop.model import Capability, QueueReading, WorkerState
from bgtop.state.label_bounds import OTHER, LabelBounds
from bgtop.state.measures import (
    AGE,
    DROPPED,
    EVENTS,
    FORGOTTEN,
    FRESH_SECONDS,
    IN_FLIGHT,
    INFO,
    MISSED,
    POLL,
    QUEUE_COUNTERS,
    QUEUE_GAUGES,
    RUNTIME,
    UP,
    WAIT,
    WORKERS,
    Family,
    Labels,
    Spec,
    Value,
    age_of,
    families_of,
    places,
    regrouped,
)
from bgtop.state.tally import Counted, Tally
from bgtop.task_events import EventKind

if TYPE_CHECKING:
    from datetime import datetime

    from bgtop.model import Frame, Reading, Source
    from bgtop.task_events import TaskEventsReading

Told = Iterator[tuple[Spec, Labels, Value | None]]

_MOST_KEPT: Final = 20_000
"""Labels that are remembered with what became of them: queues may come and go."""

_HISTOGRAMS: Final = frozenset({RUNTIME.name, WAIT.name})

_READ_AS_THEY_ARE: Final = (
    *("depth", "unacked", "scheduled", "deferred", "running", "failed", "dead", "consumers"),
)


class Telling:
    """The memory of one exporter; used from one thread at a time.

    ``peers`` is by how many other exporters' names each task is told as well.
    """

    def __init__(self, peers: int = 0) -> None:
        self.tally = Tally()
        self.bounds = LabelBounds(1 + peers)
        self._peers = peers
        self._frame: Frame | None = None
        self._counted: list[Counted] = []
        self._keys: dict[Labels, str] = {}
        """The keys of sources, by what they are called outside."""
        self._relabelled: dict[tuple[str, Labels], Labels] = {}
        """As most labels are the same from frame to frame, until the bounds or sources change."""

    def take(self, frame: Frame) -> None:
        """This is the newest frame; every one has to be shown, in order."""
        self._frame = frame
        self.tally.take(frame)
        counted = [self.tally.of(source.key) for source in frame.snapshot.sources]
        if [*map(id, counted)] != [*map(id, self._counted)]:
            self._counted = counted
            self.bounds.take_tasks(_costs(counted, self._peers))
        self.bounds.take_queues(self._queues(frame))
        keys = {_labels(source): source.key for source in frame.snapshot.sources}
        full = len(self._relabelled) > _MOST_KEPT
        if self.bounds.changed or full or keys != self._keys:
            self._keys = keys
            self._relabelled.clear()
            self.bounds.changed = False

    def raw(self, now: datetime, dropped: Mapping[str, int], version: str) -> list[Family]:
        """What is to be told now, each task and queue by its own name.

        ``dropped`` is what the exporters of this run threw away so far, by their names.
        """
        frame = self._frame
        if frame is None:
            return []
        return families_of(_everything(frame, self, now, dropped, version))

    def bounded(self, families: list[Family]) -> list[Family]:
        """The same with bounded labels: see :mod:`bgtop.state.label_bounds`."""
        return [self._bounded(family) for family in families]

    def relabel(self, spec: Spec, labels: Labels) -> Labels:
        """Bounded labels for these of a row of :meth:`raw`."""
        if "task" not in spec.labels and "queue" not in spec.labels:
            return labels
        known = self._relabelled.get((spec.name, labels))
        if known is None:
            known = self._relabelled[spec.name, labels] = self._relabel(spec, labels)
        return known

    def _relabel(self, spec: Spec, labels: Labels) -> Labels:
        found = dict(zip(spec.labels, labels, strict=True))
        if found.get("queue"):
            key = self._keys[found["source"], found["system"]]
            found["queue"] = self.bounds.queue(key, found["queue"])
        if "task" in found:
            # Tasks without a name are few, and no reason to be added to others.
            found["task"] = found["task"] and self.bounds.task(found["task"])
        if spec.name in _HISTOGRAMS and not self.bounds.has_histograms(found["task"]):
            found["task"] = found["queue"] = OTHER
        return tuple(found.values())

    def _bounded(self, family: Family) -> Family:
        spec = family.spec
        rows = regrouped(family, lambda labels: self.relabel(spec, labels))
        return Family(spec, tuple(rows.items()))

    def _queues(self, frame: Frame) -> Iterator[tuple[str, str]]:
        for source in frame.snapshot.sources:
            if source.reading is not None:
                yield from ((source.key, queue.name) for queue in source.reading.queues)
        for source in frame.snapshot.sources:
            for one in self.tally.of(source.key).series:
                if one.queue:
                    yield source.key, one.queue


def _costs(counted: list[Counted], peers: int) -> list[tuple[str, int]]:
    """The series that the counts of each task take: one for each kind, and what is in flight.

    Peers have at most one more, and one for each exception.
    """
    costs: dict[str, int] = {}
    for one in (one for each in counted for one in each.series):
        if one.task:
            told = sum(1 for count in one.counts.values() if count) + 1
            told += peers * (told + 1 + len(one.failures))
            costs[one.task] = costs.get(one.task, 0) + told
    return list(costs.items())


def _labels(source: Source) -> Labels:
    return places(source.key, source.name), source.info.system or ""


def is_fresh(source: Source, now: datetime) -> bool:
    """Whether what was read last still says how it is."""
    if source.reading is None:
        return False
    return source.failure is None or age_of(source.reading.taken_at, now) <= FRESH_SECONDS


def _everything(
    frame: Frame, telling: Telling, now: datetime, dropped: Mapping[str, int], version: str
) -> Told:
    for source in frame.snapshot.sources:
        labels, reading = _labels(source), source.reading
        known = source.failure is not None or reading is not None
        yield UP, labels, float(source.failure is None) if known else None
        if reading is not None:
            yield AGE, labels, age_of(reading.taken_at, now)
            yield POLL, labels, source.poll_seconds
            if is_fresh(source, now):
                yield from _queue_gauges(frame, source, reading, labels)
                yield from _workers(source, reading, labels)
            yield from _queue_counters(telling.tally, source, reading, labels)
        counted = telling.tally.of(source.key)
        yield from _tasks(counted, labels, telling.bounds, fresh=is_fresh(source, now))
        if counted.followed:
            yield MISSED, labels, counted.missed
            yield FORGOTTEN, labels, counted.forgotten
    yield from ((DROPPED, (name,), count) for name, count in dropped.items())
    yield INFO, (version,), 1.0


def _queue_gauges(frame: Frame, source: Source, reading: Reading, labels: Labels) -> Told:
    specs = {spec.name.removeprefix("bgtop_queue_"): spec for spec in QUEUE_GAUGES}
    for queue in reading.queues:
        here = (*labels, queue.name)
        for name in _READ_AS_THEY_ARE:
            yield specs[name], here, getattr(queue, name)
        yield specs["oldest_age_seconds"], here, _oldest(queue, source)
        rates = frame.rates.get((source.key, queue.name))
        yield specs["drain_seconds"], here, rates.drain_seconds if rates else None
        yield specs["paused"], here, None if queue.paused is None else float(queue.paused)


def _oldest(queue: QueueReading, source: Source) -> float | None:
    if queue.oldest is not None:
        return queue.oldest.seconds
    tells = Capability.OLDEST_AGE in source.info.capabilities
    return 0.0 if tells and queue.depth == 0 else None


def _queue_counters(tally: Tally, source: Source, reading: Reading, labels: Labels) -> Told:
    for queue in reading.queues:
        for spec, count in zip(QUEUE_COUNTERS, ("entered_total", "left_total"), strict=True):
            yield spec, (*labels, queue.name), tally.of_queue(source.key, queue.name, count)


def _workers(source: Source, reading: Reading, labels: Labels) -> Told:
    if not reading.workers and Capability.WORKERS not in source.info.capabilities:
        return
    states = [worker.state or WorkerState.UNKNOWN for worker in reading.workers]
    for state in WorkerState:
        yield WORKERS, (*labels, state.value), float(states.count(state))


def _tasks(counted: Counted, labels: Labels, bounds: LabelBounds, *, fresh: bool) -> Told:
    for one in counted.series:
        task, here = one.task or "", (*labels, one.queue or "", one.task or "")
        yield IN_FLIGHT, (*labels, task), one.in_flight if fresh else None
        for kind, count in _events(one, counted, bounds):
            yield EVENTS, (*here, kind), count
        yield RUNTIME, here, one.runtime
        yield WAIT, here, one.wait


def _events(
    one: TaskEventsReading, counted: Counted, bounds: LabelBounds
) -> Iterator[tuple[str, float]]:
    """How often each happened; what never did is 0 as long as there is room to say so."""
    for kind in EventKind:
        count = one.counts.get(kind, 0)
        if count or (kind in counted.kinds and not bounds.crowded):
            yield kind.value, float(count)
