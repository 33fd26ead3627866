"""Real Huey: producers in this process, consumers in their own."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ending import end, kill
from fork_server import Process, start
from huey_tasks import KEEPS_NAMES, open_huey, register

PLUGINS = Path(__file__).parent

IMPORTED = ("huey", "huey.consumer", "huey.consumer_options", "redis", "sqlite3")
"""What every consumer imports."""


class HueyCluster:
    """Applications of one kind (``RedisHuey``, ``sqlite``, …) in one place."""

    def __init__(self, kind: str, place: str, folder: Path) -> None:
        self.kind = kind
        self.place = place
        self.folder = folder
        self._apps: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._consumers: list[Process] = []

    @property
    def keeps_names(self) -> bool:
        """Whether names are in the keys as they are."""
        return KEEPS_NAMES

    def put(
        self, queue: str, count: int = 1, *, priority: int = 0, task: str = "add", **options: Any
    ) -> None:
        """Enqueue with Huey's own client."""
        _, tasks = self._app(queue)
        args = () if task in {"fails", "retries"} else (1, 2)
        if task == "waits":
            args = (str(self.folder / "go"),)
        if priority:
            options["priority"] = priority
        for _ in range(count):
            tasks[task](*args, **options)

    def put_noted(self, queue: str, count: int, kind: str) -> list[str]:
        """Tasks that note their runs in the folder's log; their ids."""
        noted = self.tasks(queue)["noted"]
        return [str(noted(str(self.folder), kind).id) for _ in range(count)]

    def put_later(self, queue: str, count: int) -> list[str]:
        """Tasks of the schedule that are due in an hour, as a consumer puts them there."""
        noted = self.tasks(queue)["noted"]
        tasks = [noted.s(str(self.folder), "good") for _ in range(count)]
        for task in tasks:
            task.eta = datetime.now(timezone.utc).replace(tzinfo=None) + timedelta(hours=1)
            self.app(queue).add_schedule(task)
        return [str(task.id) for task in tasks]

    def release(self) -> None:
        """Let the tasks ``waits`` end."""
        (self.folder / "go").touch()

    def app(self, queue: str) -> Any:
        """The producer's Huey."""
        return self._app(queue)[0]

    def tasks(self, queue: str) -> dict[str, Any]:
        """The producer's tasks, by name."""
        return self._app(queue)[1]

    def _app(self, queue: str) -> tuple[Any, dict[str, Any]]:
        if queue not in self._apps:
            app = open_huey(self.kind, queue, self.place)
            self._apps[queue] = app, register(app)
        return self._apps[queue]

    def start_consumer(
        self, queue: str, *options: str, agent: bool = False, **more: str
    ) -> Process:
        """A real ``huey_consumer``; ``more`` is for its environment."""
        environment = {
            **os.environ,
            "TEST_HUEY_KIND": self.kind,
            "TEST_HUEY_NAME": queue,
            "TEST_HUEY_PLACE": self.place,
            "TEST_HUEY_AGENT": "1" if agent else "",
            "PYTHONPATH": os.pathsep.join(
                [str(PLUGINS), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            **more,
        }
        consumer = start(
            "huey.bin.huey_consumer",
            ("huey_tasks.huey", *options),
            imported=IMPORTED,
            environment=environment,
            folder=self.folder,
            log=self.folder / "consumer.log",
            leads=True,
            anew="PYTHONPATH" in more,
        )
        self._consumers.append(consumer)
        return consumer

    def stop(self, consumer: Process) -> None:
        """A graceful stop, waited for."""
        end(consumer, signal.SIGINT)

    def close(self) -> None:
        """End everything that was started, and what that started."""
        for consumer in self._consumers:
            kill(consumer)
        for app, _ in self._apps.values():
            close = getattr(app.storage, "close", None) or app.storage.conn.close
            close()
            if hasattr(app.storage, "pool"):
                app.storage.pool.disconnect()
