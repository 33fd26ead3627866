"""Counts that other exporters tell and our readings do not have as such."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from bgtop.state.label_bounds import MOST_WORKERS, OTHER, steady
from bgtop.task_events import EventKind, HistogramReading

if TYPE_CHECKING:
    from datetime import datetime

    from bgtop.model import Reading, Source, WorkerReading
    from bgtop.state.measures import Labels
    from bgtop.task_events import TaskEventsReading

_GENERIC: Final = "generic"
_UNKNOWN: Final = "UnknownException"
"""What celery-exporter calls an exception whose class it cannot read."""


def failures_by_class(one: TaskEventsReading) -> dict[str, int]:
    """How often this task has failed, by the class of the exception; they add up to all failures.

    None failed without an exception, which the peer tells as well.
    """
    found = {"": 0, **one.failures}
    unknown = one.counts.get(EventKind.FAILED, 0) - sum(one.failures.values())
    return found if unknown <= 0 else {**found, _UNKNOWN: unknown + found.get(_UNKNOWN, 0)}


class WorkerCounts:
    """What RQ's workers did, by host and queues: who leaves takes nothing from the sums."""

    def __init__(self) -> None:
        self._gone: dict[Labels, list[int]] = {}
        self._last: dict[tuple[str, str], tuple[Labels, list[int]]] = {}
        self._polled_at: dict[str, datetime] = {}
        self._polls, self._seconds = 0, 0.0
        self._groups: dict[Labels, None] = {}

    def take(self, source: Source, reading: Reading) -> None:
        """Learn from a reading; each counts once."""
        if self._polled_at.get(source.key) == reading.taken_at:
            return
        self._polled_at[source.key] = reading.taken_at
        self._polls += 1
        self._seconds += source.poll_seconds or 0.0
        seen = {worker.name for worker in reading.workers}
        for key in [(of, name) for of, name in self._last if of == source.key]:
            if key[1] not in seen:
                self._keep(*self._last.pop(key))
        for worker in reading.workers:
            if worker.processed is None:
                continue
            failed = worker.failed or 0
            counts = [worker.processed - failed, failed]
            before = self._last.get((source.key, worker.name))
            if before is not None and (counts[0] < before[1][0] or counts[1] < before[1][1]):
                self._keep(*before)
            self._last[source.key, worker.name] = (self.group(worker), counts)

    def group(self, worker: WorkerReading) -> Labels:
        """The labels ``name`` and ``queues`` of this worker."""
        labels = (steady(worker.host or _GENERIC), ",".join(worker.queues or ()))
        if labels not in self._groups and len(self._groups) >= MOST_WORKERS:
            return OTHER, OTHER
        self._groups.setdefault(labels)
        return labels

    def _keep(self, group: Labels, counts: list[int]) -> None:
        before = self._gone.get(group, [0, 0])
        self._gone[group] = [a + b for a, b in zip(before, counts, strict=True)]

    def told(self) -> Iterator[tuple[Labels, list[int]]]:
        """Successes and failures, by group; a group may come again."""
        yield from self._gone.items()
        yield from self._last.values()

    @property
    def polls(self) -> HistogramReading:
        """How many looks at RQ there were, and how long they took."""
        return HistogramReading(counts=(self._polls,), seconds=self._seconds)
