"""Claiming past the jobs of tasks that a worker does not know, however many of them wait."""

from __future__ import annotations

import json
import sqlite3

from bgworker.engines.sqlite.queries import SQL
from bgworker.values import dataclass, field


@dataclass(slots=True)
class Declined:
    """The tasks, and how far in each queue and priority there is nothing but their jobs.

    A job that becomes available stands behind all that are, so what was passed over need not be
    read again; only a job that comes back from a worker takes its old place, and those are counted.
    """

    tasks: frozenset[str] = frozenset()
    _passed: dict[tuple[str, int], int] = field(default_factory=dict)
    _returned: int = 0

    def replace(self, tasks: frozenset[str]) -> None:
        """Decline these from now on, and no others."""
        self.tasks = tasks
        self._passed.clear()

    def forget(self) -> None:
        """Read everything again at the next claim."""
        self._passed.clear()

    def others(self, db: sqlite3.Connection, queue: str, room: int) -> list[tuple[int, int, int]]:
        """The first jobs of a queue, of those in no lane, whose tasks are not declined."""
        (returned,) = db.execute(SQL["returned"]).fetchone()
        if returned != self._returned:
            self._returned = returned
            self._passed.clear()
        names = json.dumps(sorted(self.tasks))
        jobs: list[tuple[int, int, int]] = []
        for (priority,) in db.execute(SQL["queued_priorities"], (queue,)).fetchall():
            key = (queue, priority)
            row = (*key, self._passed.get(key, 0), names, room - len(jobs))
            found = db.execute(SQL["queued_known"], row).fetchall()
            self._passed[key] = found[0][1] if found else _newest(db)
            jobs += found
            if len(jobs) >= room:
                break
        return jobs


def _newest(db: sqlite3.Connection) -> int:
    return int(db.execute(SQL["last_place"]).fetchone()[0])
