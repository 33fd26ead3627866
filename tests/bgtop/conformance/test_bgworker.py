"""The backend that reads bgworker's own queue, against real files and real workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import run_log
from sqlite_source import SqliteSource

from bgtop.actions import JOB_VERBS, Verb
from bgtop.backends.bgworker import plugin
from bgtop.backends.bgworker.queue_file import CAPABILITIES
from bgtop.contracts import Backend, Settings
from bgtop.model import JobState
from bgtop.testing import PARENTS, ActionSuite, JobSuite, wait_until
from bgworker.engines.sqlite import SqliteEngine
from bgworker.inspector import Inspector
from bgworker.model import (
    Ended,
    JobId,
    JobSpec,
    Schedule,
    Succeeded,
    TaskPolicy,
    WorkerProfile,
)
from bgworker.states import JobState as Theirs

APP = """
import sys
sys.path.append({plugins!r})
from bgworker import BgWorker, Retry, current_job
from run_log import RunLog

bg = BgWorker()
log = RunLog({folder!r})

def task(name, kind, **options):
    bg.task(name=name, **options)(lambda: log.run(current_job().id, kind))

task("app.good", "good")
task("app.bad", "bad", retry=Retry(on=()))
task("app.poor", "bad", retry=Retry(max=1, delay=0))
task("app.long", "long")
"""
TASKS = {JobState.FAILED: "app.bad", JobState.DEAD: "app.poor"}
WAITS = {Theirs.QUEUED, Theirs.RUNNING}


class TestBgWorker(SqliteSource, JobSuite, ActionSuite):
    """One file per test."""

    capabilities = CAPABILITIES
    verbs = (JOB_VERBS - {Verb.DELETE}) | {Verb.SHUTDOWN, Verb.SEND}
    sendable = "app.good"
    plugin = plugin
    priorities = (0, 3, 9)
    bad_urls = ("sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://host/jobs.db")

    @pytest.fixture(autouse=True)
    def queue(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path / "jobs.db"
        self.log = run_log.RunLog(tmp_path)
        plugins = str(Path(run_log.__file__).parent)
        (tmp_path / "app.py").write_text(APP.format(plugins=plugins, folder=str(tmp_path)))
        self.engine = SqliteEngine(str(self.path))
        self.engine.enqueue([])
        self.engine.policy_of("creates the file")
        yield
        self.engine.close()

    def open_backend(self) -> Backend:
        return plugin.open(f"sqlite:///{self.path}", Settings())

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.engine.enqueue([JobSpec(task="app.good", queue=queue, priority=priority)] * count)

    @contextmanager
    def hold(self, queue: str, count: int) -> Iterator[None]:
        seat = self.engine.join(_profile("holder", queue), [])
        assert len(self.engine.exchange(seat, [], count).claims) == count
        yield
        self.engine.leave(seat)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
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
        # One that was told to end before may have given its handlers back already.
        assert worker.returncode in {0, -signal.SIGTERM}

    def complete_one(self, queue: str) -> None:
        self.fill(queue, 1)
        seat = self.engine.join(_profile("completer", queue), [])
        (claim,) = self.engine.exchange(seat, [], 1).claims
        now = time.time_ns() // 1_000_000
        self.engine.exchange(seat, [Ended(claim, Succeeded("1"), now - 20, now)], 0)
        self.engine.leave(seat)

    # Single jobs

    def jobs_in(self, state: JobState, queue: str, count: int) -> Sequence[str]:
        spec = JobSpec(task=TASKS.get(state, "app.good"), queue=queue)
        if state is JobState.SCHEDULED:
            in_an_hour = (time.time_ns() // 1_000_000) + 3_600_000
            spec = JobSpec(task="app.good", queue=queue, run_at=in_an_hour)
        if state is JobState.DEFERRED:
            parents = self.engine.enqueue([JobSpec(task="app.good", queue=PARENTS)])
            spec = JobSpec(task="app.good", queue=queue, after=tuple(parents))
        ids = self.engine.enqueue([spec] * count)
        if state is JobState.CANCELLED:
            self.engine.cancel(ids, "by a test")
        if state in {JobState.SUCCEEDED, JobState.FAILED, JobState.DEAD}:
            self._work_until(lambda: all(self._state(id_).is_final for id_ in ids), queue)
        return ids

    @contextmanager
    def running_jobs(self, queue: str, count: int) -> Iterator[Sequence[str]]:
        self.log.gate.unlink(missing_ok=True)
        with self.running_worker(queue):
            ids = self.engine.enqueue([JobSpec(task="app.long", queue=queue)] * count)
            wait_until(lambda: all(self.begun(id_) for id_ in ids), seconds=self.patience)
            yield ids
            self.log.gate.touch()
            wait_until(lambda: all(self._state(id_).is_final for id_ in ids), seconds=self.patience)

    def work_off(self, *queues: str) -> None:
        inspector = Inspector(str(self.path))

        def idle() -> bool:
            found = [queue for queue in inspector.stats(0).queues if queue.name in queues]
            return not any(queue.states[state] for queue in found for state in WAITS)

        self._work_until(idle, *queues)
        inspector.close()

    def _work_until(self, done: Callable[[], bool], *queues: str) -> None:
        with self.running_worker(*queues):
            wait_until(done, seconds=self.patience, why=f"{queues} are worked off")

    def _state(self, id_: str) -> Theirs:
        return self.engine.fetch(JobId(id_)).state

    def begun(self, id_: str) -> int:
        return self.log.count("begun", id_)

    def ended(self, id_: str) -> int:
        return self.log.count("ended", id_)

    def declare_schedule(self) -> str:
        policy = TaskPolicy(
            name="app.good", queue="alpha", priority=5, schedule=Schedule(every=60_000)
        )
        self.engine.leave(self.engine.join(_profile("declarer", "alpha"), [policy]))
        return "app.good"


def _profile(name: str, queue: str) -> WorkerProfile:
    return WorkerProfile(name=name, host="here", pid=1, concurrency=2, queues=(queue,))
