"""The backend that reads bgworker's own queue, against real files and real workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlite_source import SqliteSource

from bgtop.backends.bgworker import plugin
from bgtop.backends.bgworker.queue_file import CAPABILITIES
from bgtop.contracts import Backend, Settings
from bgworker.engines.sqlite import SqliteEngine
from bgworker.model import Ended, JobSpec, Succeeded, WorkerProfile

APP = """
from bgworker import BgWorker
bg = BgWorker()

@bg.task(queue="alpha")
def noop():
    return 1
"""


class TestBgWorker(SqliteSource):
    """One file per test."""

    capabilities = CAPABILITIES
    plugin = plugin
    priorities = (0, 3, 9)
    bad_urls = ("sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://host/jobs.db")

    @pytest.fixture(autouse=True)
    def queue(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path / "jobs.db"
        self.engine = SqliteEngine(str(self.path))
        self.engine.enqueue([])
        self.engine.policy_of("creates the file")
        yield
        self.engine.close()

    def open_backend(self) -> Backend:
        return plugin.open(f"sqlite:///{self.path}", Settings())

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.engine.enqueue([JobSpec(task="app.noop", queue=queue, priority=priority)] * count)

    @contextmanager
    def hold(self, queue: str, count: int) -> Iterator[None]:
        seat = self.engine.join(_profile("holder", queue), [])
        assert len(self.engine.exchange(seat, [], count).claims) == count
        yield
        self.engine.leave(seat)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        (self.path.parent / "app.py").write_text(APP)
        worker = subprocess.Popen(
            [
                *(sys.executable, "-m", "bgworker.cli", "run", "--app", "app"),
                *("--concurrency", "1", "--queues", ",".join(queues)),
            ],
            cwd=self.path.parent,
            env={**os.environ, "BGWORKER_URL": f"sqlite:///{self.path}", "BGWORKER_LOG": "json"},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert worker.stderr is not None
        yield json.loads(worker.stderr.readline())["worker"]
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=10)
        assert worker.returncode == 0

    def complete_one(self, queue: str) -> None:
        self.fill(queue, 1)
        seat = self.engine.join(_profile("completer", queue), [])
        (claim,) = self.engine.exchange(seat, [], 1).claims
        now = time.time_ns() // 1_000_000
        self.engine.exchange(seat, [Ended(claim, Succeeded("1"), now - 20, now)], 0)
        self.engine.leave(seat)


def _profile(name: str, queue: str) -> WorkerProfile:
    return WorkerProfile(name=name, host="here", pid=1, concurrency=2, queues=(queue,))
