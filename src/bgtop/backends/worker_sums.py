"""Events where nobody tells any: what the counters of workers have grown by.

A worker counts from its start, in one sum, or by task where an agent does. What those who are there
at the first look had counted by then is not ours; who comes later is counted from its beginning.
What a worker does between our last look at it and its end is not told to anybody, so nobody can say
how much was missed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from bgtop.state.event_series import MOST_SERIES, OTHER, Series, readings_of
from bgtop.task_events import EventKind, EventsReading, TaskEventsReading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bgtop.model import WorkerReading
    from bgtop.state.event_series import SeriesKey

TaskCounts: TypeAlias = "Mapping[tuple[SeriesKey, EventKind], int]"
"""What one worker has counted."""

_MOST_WORKERS: Final = 20_000
_REMEMBERED: Final = timedelta(minutes=5)
"""How long a worker that is missing is known at least; twice as long at most."""
_MOST_ROWS: Final = 200
_LONGEST_NAME: Final = 255
_TOLD: Final = {
    kind.value: kind
    for kind in (EventKind.SUCCEEDED, EventKind.FAILED, EventKind.RETRIED, EventKind.REVOKED)
}


def task_counts(value: object) -> TaskCounts | None:
    """What an agent says it has counted: ``[[task, queue, {event: count}], …]``; else ``None``."""
    if not isinstance(value, list):
        return None
    found: dict[tuple[SeriesKey, EventKind], int] = {}
    for row in value[:_MOST_ROWS]:
        match row:
            case [str(task), str(queue), dict(counts)]:
                key = (task[:_LONGEST_NAME], queue[:_LONGEST_NAME])
                for word, count in counts.items():
                    kind = _TOLD.get(word)
                    if kind is not None and type(count) is int and 0 <= count < 2**53:
                        found[key, kind] = count
    return found


class WorkerSums:
    """Begins to count when it is asked first; of workers that tell ``processed`` and ``failed``.

    ``others`` is what those that were processed and have not failed are called.
    """

    def __init__(self, others: EventKind = EventKind.SUCCEEDED) -> None:
        self._others: tuple[SeriesKey, EventKind] = ((None, None), others)
        self._failed: tuple[SeriesKey, EventKind] = ((None, None), EventKind.FAILED)
        self._since: datetime | None = None
        self._seen: dict[str, TaskCounts] = {}
        self._seen_before: dict[str, TaskCounts] = {}
        self._seen_since: datetime | None = None
        self._series: dict[SeriesKey, Series] = {}
        self._kinds: set[EventKind] = set()

    def look(
        self,
        workers: Iterable[WorkerReading],
        now: datetime,
        told: Mapping[str, TaskCounts] | None = None,
    ) -> EventsReading:
        """All as of now; ``told`` is what agents have counted, by the name of their worker."""
        first = self._since is None
        self._since = self._since or now
        said, running = dict(told or {}), 0
        for worker in workers:
            counts = said[worker.name] if worker.name in said else self._in_one(worker)
            if counts is not None:
                said[worker.name] = counts
                running += worker.running or 0
        for name, counts in said.items():
            self._kinds.update(kind for _, kind in counts)
            before = self._seen.get(name) or self._seen_before.get(name)
            self._add(counts, before or (counts if first else {}))
        self._remember(said, now)
        return EventsReading(
            since=self._since, series=self._readings(running), kinds=frozenset(self._kinds)
        )

    def _remember(self, said: Mapping[str, TaskCounts], now: datetime) -> None:
        """Who is missing from a look may come back; where pods come and go, most do not.

        Who has counted nothing begins with nothing, known or not.
        """
        since = self._seen_since = self._seen_since or now
        if now - since >= _REMEMBERED or len(self._seen) > _MOST_WORKERS:
            self._seen_before, self._seen, self._seen_since = self._seen, {}, now
        for name, counts in said.items():
            if any(counts.values()):
                self._seen[name] = counts
            else:
                self._seen.pop(name, None)
                self._seen_before.pop(name, None)

    def _in_one(self, worker: WorkerReading) -> TaskCounts | None:
        done, failed = worker.processed, worker.failed
        if done is None or failed is None:
            return None
        others = done if self._others[1] is EventKind.STARTED else max(0, done - failed)
        return {self._others: others, self._failed: failed}

    def _add(self, counts: TaskCounts, before: TaskCounts) -> None:
        if any(count < before.get(what, 0) for what, count in counts.items()):
            before = {}  # another process under the same name
        for what, count in counts.items():
            key, kind = what
            if key not in self._series and len(self._series) >= MOST_SERIES:
                key = (OTHER, OTHER)
            series = self._series.setdefault(key, Series())
            series.counts[kind] = series.counts.get(kind, 0) + count - before.get(what, 0)

    def _readings(self, running: int) -> tuple[TaskEventsReading, ...]:
        """How many run is known for all together."""
        if not self._kinds:
            return ()
        self._series.setdefault((None, None), Series())
        return tuple(
            TaskEventsReading(
                task=one.task,
                queue=one.queue,
                counts=one.counts,
                in_flight=running if one.task is None else None,
            )
            for one in readings_of(self._series)
        )
