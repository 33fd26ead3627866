"""Real RQ on a real Redis: producers in this process, workers in their own."""

from __future__ import annotations

import os
import signal
import warnings
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import redis
from ending import end
from fork_server import Process, start
from rq import VERSION, Queue
from rq.job import Job

PLUGINS = Path(__file__).parent
IMPORTED = ("rq.cli", "rq.worker", "rq.scheduler")
"""What every worker imports."""


class RqCluster:
    """RQ in one database of one server."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.redis = redis.Redis.from_url(url)
        self._workers: dict[str, Process] = {}

    @property
    def version(self) -> str:
        return str(VERSION)

    def put(self, queue: str, count: int = 1, *, task: str = "add", **options: object) -> list[Job]:
        """Enqueue with RQ's own client; ``options`` are those of ``Queue.enqueue``."""
        arguments = {
            "add": (1, 2),
            "fail": (),
            "wait": (str(self.gate),),
            "noted": (str(self.folder), options.pop("kind", "good")),
        }[task]
        target = Queue(queue, connection=self.redis)
        return [target.enqueue(f"rq_tasks.{task}", *arguments, **options) for _ in range(count)]

    def put_later(self, queue: str, when: datetime, count: int = 1) -> list[str]:
        """Into RQ's registry of scheduled jobs; their ids."""
        target = Queue(queue, connection=self.redis)
        return [target.enqueue_at(when, "rq_tasks.add", 1, 2).id for _ in range(count)]

    def put_noted(self, queue: str, count: int, kind: str, after: str | None = None) -> list[str]:
        """Jobs that note their runs in the folder's log; their ids."""
        options = {} if after is None else {"depends_on": after}
        return [job.id for job in self.put(queue, count, task="noted", kind=kind, **options)]

    def cancel(self, id_: str) -> None:
        """As an application does."""
        Job.fetch(id_, connection=self.redis).cancel()

    def status(self, id_: str) -> str:
        """By RQ's own word."""
        said = Job.fetch(id_, connection=self.redis).get_status()
        return str(getattr(said, "value", said))

    def scheduler(self, queue: str) -> Any:
        """The scheduler of rq-scheduler, which puts its jobs into this queue."""
        from rq_scheduler import Scheduler

        return Scheduler(queue_name=queue, connection=self.redis)

    def repeat(self, queue: str, rule: str | int) -> str:
        """Have rq-scheduler put a job in again and again: by a cron line, or each so many seconds.

        Its id.
        """
        options = {"func": "rq_tasks.add", "args": (1, 2), "queue_name": queue}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # crontab's own, of its next release
            if isinstance(rule, str):
                return str(self.scheduler(queue).cron(rule, **options).id)
            when = datetime.utcnow() + timedelta(seconds=rule)  # noqa: DTZ003  # rq-scheduler's way
            return str(self.scheduler(queue).schedule(when, interval=rule, **options).id)

    @property
    def gate(self) -> Path:
        """The file the task ``wait`` waits for."""
        return self.folder / "gate"

    def start_worker(
        self, name: str, *queues: str, options: tuple[str, ...] = (), **more: str
    ) -> str:
        """Start a worker process; ``stop`` or ``kill`` takes its name.

        ``more`` is for its environment.
        """
        self._workers[name] = start(
            "rq.cli",
            ("worker", "--url", self.url, "--name", name, *options, *queues),
            imported=IMPORTED,
            environment={**os.environ, "PYTHONPATH": str(PLUGINS), **more},
            folder=self.folder,
            log=self.folder / "rq.log",
            # It may hold a sitecustomize.
            anew="PYTHONPATH" in more,
        )
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
