"""Counting moves inside a transaction, so that the tallies can never drift from the rows."""

from __future__ import annotations

import sqlite3

from bgworker.engines.sqlite.queries import SQL
from bgworker.model import Millis
from bgworker.states import JobState
from bgworker.values import dataclass


@dataclass(slots=True)
class _QueueSums:
    succeeded: int = 0
    failed: int = 0
    dead: int = 0
    cancelled: int = 0
    retried: int = 0
    runs: int = 0
    run_ms: int = 0
    last_ended_at: Millis | None = None


class Ledger:
    """The sums of one transaction; nothing counts before :meth:`post` wrote it."""

    def __init__(self) -> None:
        self._tally: dict[tuple[str, int, str], int] = {}
        self._queues: dict[str, _QueueSums] = {}
        self._counters: dict[str, int] = {}
        self.unblocked = 0
        """Jobs that became available because one they came after succeeded."""

    def enter(self, queue: str, priority: int, state: JobState, n: int = 1) -> None:
        """New jobs appear in ``state``."""
        key = (queue, priority, state.value)
        self._tally[key] = self._tally.get(key, 0) + n

    def move(self, queue: str, priority: int, old: JobState, new: JobState, n: int = 1) -> None:
        """Jobs go from ``old`` to ``new``."""
        self.enter(queue, priority, old, -n)
        self.enter(queue, priority, new, n)
        if old is JobState.RUNNING and new is JobState.QUEUED:  # the only way to an old place
            self.count("returned", n)

    def ran(self, queue: str, run_ms: Millis, n: int = 1) -> None:
        """Runs took place, ``run_ms`` of them all together, however they ended."""
        sums = self._sums(queue)
        sums.runs += n
        sums.run_ms += run_ms

    def ended(self, queue: str, state: JobState, at: Millis, n: int = 1) -> None:
        """Jobs reached a final state, the last of them ``at``."""
        sums = self._sums(queue)
        setattr(sums, state.value, getattr(sums, state.value) + n)
        sums.last_ended_at = max(at, sums.last_ended_at or 0)

    def retried(self, queue: str) -> None:
        """One job will be tried again."""
        self._sums(queue).retried += 1

    def count(self, name: str, n: int = 1) -> None:
        """Something else worth a counter happened."""
        self._counters[name] = self._counters.get(name, 0) + n

    def post(self, db: sqlite3.Connection) -> None:
        """Write the sums and begin anew."""
        tally = [(*key, n) for key, n in self._tally.items() if n]
        if tally:
            db.executemany(SQL["bump_tally"], tally)
        for name, s in self._queues.items():
            endings = (s.succeeded, s.failed, s.dead, s.cancelled)
            row = (name, *endings, s.retried, s.runs, s.run_ms, s.last_ended_at)
            db.execute(SQL["bump_queue"], row)
        if self._counters:
            db.executemany(SQL["bump_counter"], list(self._counters.items()))
        self._tally.clear()
        self._queues.clear()
        self._counters.clear()

    def _sums(self, queue: str) -> _QueueSums:
        return self._queues.setdefault(queue, _QueueSums())
