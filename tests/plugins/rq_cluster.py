"""Real RQ on a real Redis: producers in this process, workers in their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import redis
from ending import end
from rq import VERSION, Queue
from rq.job import Job

PLUGINS = Path(__file__).parent
RQ = str(Path(sys.executable).with_name("rq"))


class RqCluster:
    """RQ in one database of one server."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.redis = redis.Redis.from_url(url)
        self._workers: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def version(self) -> str:
        return str(VERSION)

    def put(self, queue: str, count: int = 1, *, task: str = "add", **options: object) -> list[Job]:
        """Enqueue with RQ's own client; ``options`` are those of ``Queue.enqueue``."""
        arguments = {"add": (1, 2), "fail": (), "wait": (str(self.gate),)}[task]
        target = Queue(queue, connection=self.redis)
        return [target.enqueue(f"rq_tasks.{task}", *arguments, **options) for _ in range(count)]

    def put_later(self, queue: str, when: datetime, count: int = 1) -> None:
        """Into RQ's registry of scheduled jobs."""
        for _ in range(count):
            Queue(queue, connection=self.redis).enqueue_at(when, "rq_tasks.add", 1, 2)

    def scheduler(self, queue: str) -> Any:
        """The scheduler of rq-scheduler, which puts its jobs into this queue."""
        from rq_scheduler import Scheduler

        return Scheduler(queue_name=queue, connection=self.redis)

    @property
    def gate(self) -> Path:
        """The file the task ``wait`` waits for."""
        return self.folder / "gate"

    def start_worker(self, name: str, *queues: str, options: tuple[str, ...] = ()) -> str:
        """Start a worker process; ``stop`` or ``kill`` takes its name."""
        command = [RQ, "worker", "--url", self.url, "--name", name, *options, *queues]
        environment = {**os.environ, "PYTHONPATH": str(PLUGINS)}
        with (self.folder / "rq.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=log
            )
        self._workers[name] = process
        return name

    def work_off(self, *queues: str) -> None:
        """Let a worker do all that waits, and end."""
        name = self.start_worker("burst", *queues, options=("--burst",))
        assert self._workers.pop(name).wait(30) == 0, (self.folder / "rq.log").read_text()

    def pid(self, name: str) -> int:
        return self._workers[name].pid

    def kill(self, name: str) -> None:
        """What the kernel does to a whole container: neither worker nor its child says good-bye."""
        process = self._workers.pop(name)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        horses = children.read_text().split() if children.exists() else []
        process.kill()
        process.wait()
        for horse in horses:
            # It may have ended by itself as its parent died.
            with suppress(ProcessLookupError):
                os.kill(int(horse), signal.SIGKILL)

    def stop(self, name: str) -> None:
        """A warm shutdown, waited for."""
        end(self._workers.pop(name))

    def close(self) -> None:
        """End everything that was started."""
        for name in [*self._workers]:
            self.kill(name)
        self.redis.close()
