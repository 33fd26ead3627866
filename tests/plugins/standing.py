"""Workers that tests of a module share, each on a queue of its own.

A test gives its worker back as it found it: no job waits or runs, no process is left of what its
tasks started. A worker that was stopped, or whose queue is not empty, is not given to the next.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Hashable
from contextlib import closing
from pathlib import Path
from typing import Any

from bgtop.testing import wait_until


class StandingWorkers:
    """By what they were started with; ``start(folder, ...)`` makes one that runs."""

    def __init__(self, root: Path, start: Callable[..., Any]) -> None:
        self._root = root
        self._start = start
        self._running: dict[Hashable, Any] = {}
        self._folders = 0

    def find(self, app: str, options: tuple[str, ...], environment: dict[str, str]) -> Any:
        """The one that was started like this, which remembers nothing of other tests."""
        key = (app, options, tuple(sorted(environment.items())))
        found = self._running.get(key)
        if found is None or found.process.poll() is not None:
            self._folders += 1
            folder = self._root / str(self._folders)
            folder.mkdir()
            found = self._running[key] = self._start(folder, app, options, environment)
        found.forget()
        return found

    def take_back(self, worker: Any, processes: int) -> None:
        """After a test: it has so many processes and rests, or it is not used again."""
        if worker.process.poll() is not None:
            self._drop(worker)
            return
        try:
            wait_until(
                lambda: len(worker.marked.alive()) == processes, seconds=2, why="no survivor"
            )
            wait_until(lambda: worker.rests(worker.pid), seconds=5, why="it rests")
        except AssertionError:
            self._drop(worker)
            raise
        deadline = time.monotonic() + 0.5
        while _live_jobs(worker.folder):
            if time.monotonic() > deadline:
                self._drop(worker).stop()
                return
            time.sleep(0.05)

    def _drop(self, worker: Any) -> Any:
        """Others get another one; this one is ended by who started it."""
        self._running = {key: one for key, one in self._running.items() if one is not worker}
        return worker


def _live_jobs(folder: Path) -> int:
    with closing(sqlite3.connect(f"file:{folder}/jobs.db?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM bgworker_job").fetchone()[0])
