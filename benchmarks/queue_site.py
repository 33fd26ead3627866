"""One system at work: its database on the disk, its worker, and the program that enqueues."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from machine import process_tree
from queue_subjects import PEERS, Subject

_SHARED_MEMORY = "/dev/shm"
_GRACE = 15.0  # seconds a worker has to stop
_DRIVER = 300.0  # seconds the enqueuing program may take
_FOREIGN = ("BGWORKER_", "PYBGWORKER_", "BENCH_", "HUEY_")


class Void(Exception):
    """A measurement that cannot be used; the message says why."""


class Stamps:
    """When each job began; see ``peers/stamps.py``."""

    def __init__(self, path: str, jobs: int) -> None:
        self._jobs = jobs
        with open(path, "w+b") as file:
            file.truncate(jobs * 8)
            self._view = memoryview(mmap.mmap(file.fileno(), jobs * 8)).cast("q")

    def wait(self, seconds: float) -> None:
        """Until every job has begun.

        Raises:
            Void: some have not within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        for number in range(self._jobs):
            while not self._view[number]:
                if time.monotonic() > deadline:
                    begun = sum(1 for instant in self._view if instant)
                    raise Void(f"only {begun} of {self._jobs} jobs began within {seconds:g} s")
                time.sleep(0.02)

    def seconds(self) -> float:
        """From the first start to the last."""
        return (max(self._view) - min(self._view)) / 1e9


@dataclass(frozen=True, slots=True)
class Site:
    """A subject with fresh files: ``disk`` for the database, ``memory`` for stamps and logs."""

    subject: Subject
    disk: str
    memory: str
    stamps: Stamps

    def drive(self, verb: str, *numbers: float) -> Any:
        """Run the enqueuing program; see ``peers/driver.py``."""
        command = [self.subject.python, os.path.join(PEERS, "driver.py"), self.subject.app, verb]
        done = subprocess.run(
            [*command, *map(str, numbers)],
            env=self._environment(),
            cwd=self.disk,
            capture_output=True,
            text=True,
            timeout=_DRIVER,
            check=False,
        )
        if done.returncode:
            raise Void(f"{verb}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def worker(self) -> Iterator[int]:
        """A worker with two children, as its pid; logs go to memory, as those of all do."""
        with open(os.path.join(self.memory, "worker.log"), "ab") as log:
            process = subprocess.Popen(
                self.subject.worker,
                env=self._environment(),
                cwd=PEERS,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process.pid
        except Void as why:
            if process.poll() is None:
                raise
            raise Void(f"{why}; the worker had ended: {self._last_words()}") from None
        finally:
            _stop(process)

    def wait_stored(self, jobs: int, seconds: float) -> None:
        """Until the results of all jobs are in the file.

        Raises:
            Void: they are not within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while (stored := self.drive("stored")) != jobs:
            if time.monotonic() > deadline:
                raise Void(f"{stored} results of {jobs} jobs were stored")
            time.sleep(0.1)

    def _environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
        return {
            **inherited,
            **self.subject.settings,
            self.subject.database: os.path.join(self.disk, "jobs.db"),
            "BENCH_STAMPS": os.path.join(self.memory, "stamps"),
            "PYTHONPATH": PEERS,
        }

    def _last_words(self) -> str:
        with open(os.path.join(self.memory, "worker.log"), errors="replace") as log:
            return (log.read().strip().splitlines() or ["it said nothing"])[-1][:300]


@contextlib.contextmanager
def site(subject: Subject, folder: str, jobs: int) -> Iterator[Site]:
    """Fresh files for a subject, on the disk of ``folder``; removed afterwards."""
    memory_parent = _SHARED_MEMORY if os.path.isdir(_SHARED_MEMORY) else None
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix="queue-speed-") as disk,
        tempfile.TemporaryDirectory(dir=memory_parent, prefix="queue-speed-") as memory,
    ):
        os.sync()  # nobody's flushes pay for what the one before left to be written
        yield Site(subject, disk, memory, Stamps(os.path.join(memory, "stamps"), jobs))


def _stop(process: subprocess.Popen[bytes]) -> None:
    members = process_tree(process.pid) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(_GRACE)
