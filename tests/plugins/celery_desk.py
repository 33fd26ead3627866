"""Real tasks that leave traces, and bgtop that acts on them: what tests of actions share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bgtop.actions import Action, Outcome, RetryJob
from bgtop.backends.celery import plugin
from bgtop.contracts import Backend, Interest, Settings
from bgtop.model import JobList, JobQuery, JobReading, JobState, Reading
from bgtop.testing import wait_until

if TYPE_CHECKING:
    # Not imported: it may be in another Python, which has the Celery to test with.
    from celery_cluster import CeleryCluster

PREFORK = ("-P", "prefork", "-c", "1")
PATIENCE = 30.0
_ODD = ["ü\u202e", 1.5, None, {"a": [1, {"b": "c" * 3000}]}, 2**70]


class Desk:
    """An operator in front of bgtop, at one application."""

    def __init__(self, backend: Backend, celery: CeleryCluster, folder: Path, url: str) -> None:
        self.backend = backend
        self.url = url
        self.celery = celery
        self.notes_path = str(folder / "notes")

    def start_worker(self, *queues: str, name: str = "w1") -> str:
        """One with processes, as most applications have them, that is heard by bgtop."""
        node = self.celery.start_worker(name, *queues, pool=PREFORK)
        self.until(lambda: any(w.name == node and w.last_heartbeat_at for w in self.look().workers))
        return node

    def until(self, condition: Callable[[], object], why: str = "") -> None:
        wait_until(lambda: bool(condition()) or None, seconds=PATIENCE, every=0.1, why=why)

    def look(self, **interest: object) -> Reading:
        return self.backend.poll(Interest(**interest))  # type: ignore[arg-type]

    def jobs(self, **query: object) -> JobList:
        jobs = self.look(jobs=JobQuery(**query)).jobs  # type: ignore[arg-type]
        assert jobs is not None
        return jobs

    def job(self, task: str) -> JobReading | None:
        rows = self.jobs(id=task).rows
        assert len(rows) <= 1
        return rows[0] if rows else None

    def state(self, task: str) -> JobState | None:
        job = self.job(task)
        return None if job is None else job.state

    def perform(self, action: Action) -> Outcome:
        return self.backend.perform(action)

    def depth(self, queue: str) -> int | None:
        return next((q.depth for q in self.look().queues if q.name == queue), None)

    @property
    def notes(self) -> list[object]:
        """What tasks were called with, each time one ran."""
        if not os.path.exists(self.notes_path):
            return []
        return [json.loads(line) for line in Path(self.notes_path).read_text().splitlines()]

    def mend(self) -> None:
        """Let ``falter`` succeed from now on."""
        Path(self.notes_path + ".mended").touch()

    def start_hold(self, queue: str, path: str) -> tuple[str, int]:
        """A task that runs until it is stopped: its id, and the process that runs it."""
        task = self.celery.send(queue, "hold", path)
        wait_until(lambda: os.path.exists(path) and Path(path).read_text(), seconds=PATIENCE)
        return task, int(Path(path).read_text())


def failed(desk: Desk, *args: object, **kwargs: object) -> str:
    """A task that has failed, with these arguments."""
    task = desk.celery.send("mail", "falter", desk.notes_path, *args, kwargs=kwargs)
    desk.until(lambda: desk.state(task) is JobState.FAILED, "the task has failed")
    return task


def assert_retried_with_its_own_arguments(desk: Desk) -> str:
    """A task that was retried and has succeeded; fails unless both runs had all it was sent."""
    desk.start_worker("mail")
    task = failed(desk, *_ODD, key=_ODD)
    desk.mend()
    outcome = desk.perform(RetryJob(id=task))
    assert outcome.changed == 1
    desk.until(lambda: desk.state(task) is JobState.SUCCEEDED, "it has succeeded")
    assert desk.notes == [[_ODD, {"key": _ODD}]] * 2
    return task


def lives(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def at_desk(url: str, celery: CeleryCluster, folder: Path) -> Iterator[Desk]:
    with closing(plugin.open(url, Settings(connect_timeout=2, read_timeout=10))) as backend:
        yield Desk(backend, celery, folder, url)
