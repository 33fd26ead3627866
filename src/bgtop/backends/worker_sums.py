"""Events where nobody tells any: what the counters of workers have grown by, as one sum.

A worker counts from its start. What those who are there at the first look had counted by then is
not ours; who comes later is counted from its beginning. What a worker does between our last look at
it and its end is not told to anybody, so nobody can say how much was missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bgtop.task_events import EventKind, EventsReading, TaskEventsReading

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from bgtop.model import WorkerReading

_MOST_WORKERS: Final = 20_000


class WorkerSums:
    """Begins to count when it is asked first; of workers that tell ``processed`` and ``failed``.

    ``others`` is what those that were processed and have not failed are called.
    """

    def __init__(self, others: EventKind = EventKind.SUCCEEDED) -> None:
        self._others = others
        self._since: datetime | None = None
        self._seen: dict[tuple[str, int | None], tuple[int, int]] = {}
        self._done = self._failed = 0
        self._anybody = False

    def look(self, workers: Iterable[WorkerReading], now: datetime) -> EventsReading:
        """All as of now."""
        first = self._since is None
        since = self._since = self._since or now
        seen: dict[tuple[str, int | None], tuple[int, int]] = {}
        running = 0
        for worker in workers:
            done, failed = worker.processed, worker.failed
            if done is None or failed is None:
                continue
            self._anybody = True
            running += worker.running or 0
            who = (worker.name, worker.pid)
            before = self._seen.get(who, (done, failed) if first else (0, 0))
            if done < before[0] or failed < before[1]:
                before = (0, 0)  # another one under the same name
            self._done += done - before[0]
            self._failed += failed - before[1]
            seen[who] = (done, failed)
        # A worker may be missing from a look and come back.
        kept = {**self._seen, **seen}
        self._seen = kept if len(kept) <= _MOST_WORKERS else seen
        return EventsReading(
            since=since,
            series=(self._sum(running),) if self._anybody else (),
            kinds=frozenset({self._others, EventKind.FAILED} if self._anybody else ()),
        )

    def _sum(self, running: int) -> TaskEventsReading:
        started = self._others is EventKind.STARTED
        others = self._done if started else max(0, self._done - self._failed)
        counts = {self._others: others, EventKind.FAILED: self._failed}
        return TaskEventsReading(counts=counts, in_flight=running)
