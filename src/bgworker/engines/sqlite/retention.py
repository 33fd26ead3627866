"""Deleting old jobs, a little at a time: producers and workers hardly notice."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from bgworker.engines.sqlite.ledger import Ledger
from bgworker.engines.sqlite.queries import SQL
from bgworker.engines.sqlite.store import Store
from bgworker.model import Millis
from bgworker.states import JobState

_TURN = 0.002
"""Seconds of the writer's lock that one transaction is meant to take."""
_MOST = 32
"""Jobs deleted between two looks at the clock; a megabyte each, they take another millisecond."""


class Broom:
    """Deletes; one worker at a time. It keeps its lock until there is nothing left to delete."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fd = -1

    def sweep(self, before: Millis) -> int:
        """One transaction; see :meth:`bgworker.contracts.Engine.expire`."""
        if not self._is_ours():
            return 0
        deleted = self._delete(before) if self._store.read(SQL["expired"], (before,)) else 0
        if not deleted:
            self.close()
        return deleted

    def close(self) -> None:
        """Let another worker have it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _is_ours(self) -> bool:
        if self._fd >= 0:
            return True
        with contextlib.suppress(OSError):
            path = self._store.files.broom
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        self.close()
        return False

    def _delete(self, before: Millis) -> int:
        ledger = Ledger()
        deleted, step = 0, 1
        # No flush: what a power cut brings back is deleted again.
        with self._store.write(durable=False) as db:
            ends = time.monotonic() + _TURN
            while time.monotonic() < ends:
                rows = db.execute(SQL["expire"], (before, step)).fetchall()
                for _, queue, priority, state in rows:
                    ledger.enter(queue, priority, JobState(state), -1)
                ids = [row[:1] for row in rows]
                db.executemany(SQL["forget_key"], ids)
                db.executemany(SQL["forget_progress"], ids)
                deleted += len(rows)
                if len(rows) < step:
                    break
                step = min(2 * step, _MOST)
            ledger.post(db)
        self._store.tidy()
        return deleted
