"""Real arq on a real Redis: a producer and workers, in the environment that has arq.

arq wants an older redis-py than Celery does, so both cannot be installed beside each other.
``BGTOP_TEST_ARQ_PYTHON`` is the Python of another environment, with another release.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import time
from functools import cache
from pathlib import Path

import pytest
from ending import end, kill
from fork_server import Process, start

PLUGINS = Path(__file__).parent
PYTHON = os.environ.get("BGTOP_TEST_ARQ_PYTHON") or PLUGINS.parents[1] / ".venvs/arq/bin/python"
PROGRAMS = Path(PYTHON).parent


class ArqCluster:
    """arq in one database of one server."""

    def __init__(self, url: str, folder: Path) -> None:
        if not (PROGRAMS / "arq").exists():
            pytest.skip("needs arq in an environment of its own: make venv-arq")
        self.url = url
        self.folder = folder
        self._workers: dict[str, Process] = {}

    def put(self, queue: str, count: int = 1, *, task: str = "add", **options: object) -> None:
        """Enqueue; ``options`` are those of ``enqueue_job``, as ``_defer_by``, and its keywords."""
        arguments = {"add": [1, 2], "wait": [str(self.gate)]}.get(task, [])
        _desk().put([self.url, task, arguments, queue, count, options])

    def put_noted(self, queue: str, count: int, kind: str, **options: object) -> list[str]:
        """Jobs that note their runs in the folder's log; their ids, which sort as they were put."""
        ids = [f"{time.time_ns():020}-{number:03}" for number in range(count)]
        for id_ in ids:
            more = {"_job_id": id_, "folder": str(self.folder), "kind": kind}
            self.put(queue, task="noted", **more, **options)
        return ids

    @property
    def gate(self) -> Path:
        """The file the task ``wait`` waits for."""
        return self.folder / "gate"

    def start_worker(
        self, queue: str, *, reports: float = 3600, allow_abort_jobs: bool = False
    ) -> None:
        """One worker of this queue that reports so often, in seconds."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(PLUGINS),
            "TEST_ARQ_URL": self.url,
            "TEST_ARQ_QUEUE": queue,
            "TEST_ARQ_REPORTS": str(reports),
            "TEST_ARQ_ABORTS": "1" if allow_abort_jobs else "",
        }
        self._workers[queue] = start(
            "arq",
            ("arq_tasks.WorkerSettings",),
            python=str(PROGRAMS / "python"),
            imported=("arq.cli", "arq.worker"),
            environment=environment,
            folder=self.folder,
            log=self.folder / "arq.log",
        )

    def stop(self, queue: str) -> None:
        """A shutdown in good order, waited for."""
        end(self._workers.pop(queue))

    def kill(self, queue: str) -> None:
        """Without a word."""
        kill(self._workers.pop(queue))

    def close(self) -> None:
        """End everything that was started."""
        for queue in [*self._workers]:
            self.kill(queue)


class _Desk:
    """The producer; one that has ended because it failed is no desk for the next."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [PROGRAMS / "python", PLUGINS / "arq_desk.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        atexit.register(kill, self.process)

    def put(self, words: list[object]) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline()
        if said != "done\n":
            _desk.cache_clear()
            raise AssertionError(said + self.process.communicate()[0])


@cache
def _desk() -> _Desk:
    return _Desk()
