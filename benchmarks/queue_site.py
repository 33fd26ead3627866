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

from background import redis_server
from machine import process_tree
from queue_subjects import PEERS, Subject

_SHARED_MEMORY = "/dev/shm"
_GRACE = 15.0  # seconds a worker has to stop
_DRIVER = 300.0  # seconds the enqueuing program may take
_FOREIGN = ("BGWORKER_", "PYBGWORKER_", "BENCH_", "HUEY_", "RQ_", "CELERY_", "DJANGO_")


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

    def clear(self) -> None:
        """Forget who began."""
        for number in range(self._jobs):
            self._view[number] = 0

    def seconds(self) -> float:
        """From the first start to the last."""
        return (max(self._view) - min(self._view)) / 1e9


@dataclass(frozen=True, slots=True)
class Site:
    """A subject with fresh files: ``disk`` for the database, ``memory`` for stamps and logs.

    ``address`` is where its jobs are: a file, or the URL of a Redis.
    """

    subject: Subject
    address: str
    disk: str
    memory: str
    stamps: Stamps

    def drive(self, verb: str, *numbers: float) -> Any:
        """Run the enqueuing program; see ``peers/driver.py``."""
        command = [self.subject.python, os.path.join(PEERS, "driver.py"), self.subject.app, verb]
        try:
            done = subprocess.run(
                [*command, *map(str, numbers)],
                env=self.environment(),
                cwd=self.disk,
                capture_output=True,
                text=True,
                timeout=_DRIVER,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Void(f"{verb}: not done within {_DRIVER:g} s") from None
        if done.returncode:
            raise Void(f"{verb}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def worker(self) -> Iterator[int]:
        """A worker, as its pid; logs go to memory, as those of all do."""
        with open(os.path.join(self.memory, "worker.log"), "ab") as log:
            process = subprocess.Popen(
                self.subject.worker,
                env=self.environment(),
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
        """Until the results of all jobs are stored, if the subject stores any.

        Raises:
            Void: they are not within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while (stored := self.drive("stored")) not in {None, jobs}:
            if time.monotonic() > deadline:
                raise Void(f"{stored} results of {jobs} jobs were stored")
            time.sleep(0.1)

    def environment(self) -> dict[str, str]:
        """What a program of this system has to know."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
        return {
            **inherited,
            **self.subject.settings,
            self.subject.address: self.address,
            "BENCH_STAMPS": os.path.join(self.memory, "stamps"),
            "PYTHONPATH": PEERS,
        }

    def _last_words(self) -> str:
        with open(os.path.join(self.memory, "worker.log"), errors="replace") as log:
            return (log.read().strip().splitlines() or ["it said nothing"])[-1][:300]


@contextlib.contextmanager
def site(subject: Subject, folder: str, jobs: int) -> Iterator[Site]:
    """Fresh files on the disk of ``folder``, or a fresh Redis; removed afterwards."""
    memory_parent = _SHARED_MEMORY if os.path.isdir(_SHARED_MEMORY) else None
    with contextlib.ExitStack() as stack:
        disk, memory = (
            stack.enter_context(tempfile.TemporaryDirectory(dir=parent, prefix="queue-speed-"))
            for parent in (folder, memory_parent)
        )
        address = os.path.join(disk, "jobs.db")
        if subject.redis:
            address = f"redis://127.0.0.1:{stack.enter_context(redis_server())}/0"
        os.sync()  # nobody's flushes pay for what the one before left to be written
        here = Site(subject, address, disk, memory, Stamps(os.path.join(memory, "stamps"), jobs))
        if subject.prepares:
            here.drive("prepare")
        yield here


def _stop(process: subprocess.Popen[bytes]) -> None:
    members = process_tree(process.pid) if process.poll() is None else []
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    for pid in members:  # none of them is left, if all went well
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(_GRACE)
