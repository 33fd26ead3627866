"""Real workers, and other processes, that a test starts, follows and ends."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bgtop.testing import wait_until
from bgworker.scoreboard import read_board

APPS = Path(__file__).parents[1] / "bgworker" / "apps"
_MARK = "BGWORKER_TEST_MARK"


class Marked:
    """Processes that carry a mark in their environment: whatever they start carries it too."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(8)
        self._older = dict(_processes())
        """What runs already cannot carry it: to read hundreds of environments takes a while."""

    def environment(self, **more: str) -> dict[str, str]:
        """For a process that is to be found again."""
        python_path = os.pathsep.join(filter(None, [str(APPS), os.environ.get("PYTHONPATH")]))
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("BGWORKER_", "PYTHON"))}
        # A module that a test writes twice within a second must not be taken from a cache.
        ours = {"PYTHONPATH": python_path, "PYTHONDONTWRITEBYTECODE": "1", _MARK: self.mark}
        return {**kept, **ours, **more}

    def run(
        self, *command: str | Path, seconds: float = 50, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        return subprocess.run(
            command,
            check=False,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            **more,
        )

    def alive(self) -> dict[int, str]:
        """The marked processes that run, with their command lines."""
        wanted = f"{_MARK}={self.mark}".encode()
        found = {}
        for pid, number in _processes():
            if self._older.get(pid) != number:
                with contextlib.suppress(OSError):
                    environment = Path(f"/proc/{pid}/environ").read_bytes()
                    if wanted in environment.split(b"\0"):
                        command = Path(f"/proc/{pid}/cmdline").read_bytes()
                        found[pid] = command.replace(b"\0", b" ").decode(errors="replace")
        return found

    def kill(self) -> None:
        """End all of them at once."""
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Worker:
    """A running ``bgworker run``. ``process`` is its supervisor."""

    def __init__(
        self, folder: Path, url: str, marked: Marked, app: str, options: list[str]
    ) -> None:
        self.folder = folder
        self.url = url
        self.marked = marked
        number = len(list(folder.glob("worker-*.err")))
        self.stdout = folder / f"worker-{number}.out"
        self.stderr = folder / f"worker-{number}.err"
        self.command = ["-m", "bgworker.cli", "run", "--app", app, "--url", url, *options]
        self.launcher: list[str] = []
        """A program that starts it, in place of itself."""
        self._greeting: list[dict[str, Any]] = []
        self._known = 0
        self.process: subprocess.Popen[bytes]

    def start(self, **environment: str) -> None:
        """Start it; returns at once."""
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            self.process = subprocess.Popen(
                [*self.launcher, sys.executable, *self.command],
                cwd=self.folder,
                env=self.marked.environment(**environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def forget(self) -> None:
        """For another test: of the log so far, only the start of the worker is told."""
        self._greeting = self.events("worker_start")
        self._known = self.stderr.stat().st_size

    def lines(self) -> list[dict[str, Any]]:
        """The log so far. What is no JSON object (the output of tasks) is left out."""
        found = list(self._greeting)
        with self.stderr.open("rb") as log:
            log.seek(self._known)
            written = log.read()
        for line in written.split(b"\n")[:-1]:
            with contextlib.suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict) and "event" in value:
                    found.append(value)
        return found

    def events(self, *names: str, **fields: object) -> list[dict[str, Any]]:
        """The lines of these events (none named: of all) that have these values."""
        return [
            line
            for line in self.lines()
            if (not names or line["event"] in names)
            and all(line.get(field) == value for field, value in fields.items())
        ]

    def wait_for(self, *names: str, seconds: float = 10.0, **fields: object) -> dict[str, Any]:
        """The first line of one of these events with these values."""

        def found() -> dict[str, Any] | None:
            assert self.process.poll() is None or self.events(*names, **fields), self.words()
            return next(iter(self.events(*names, **fields)), None)

        return wait_until(found, seconds=seconds, why=f"{names} {fields} in the log")

    def wait_for_run(self, job_id: str) -> None:
        """Until a child runs this job: when it is handed out, it may still be taken back."""
        name = self.wait_for("worker_start")["worker"]
        path = str(self.folder / "jobs.db.d" / "workers" / f"{name}.lock")

        def runs() -> bool:
            board = read_board(path)
            return board is not None and int(job_id) in {slot.job for slot in board.running}

        wait_until(runs, why=f"job {job_id} runs")

    def words(self) -> str:
        """What it wrote to standard error."""
        return self.stderr.read_bytes()[-20_000:].decode(errors="replace")

    def zygotes(self) -> list[int]:
        """None while it is replaced: the supervisor then has what the old one left behind."""
        return [pid for pid in children_of(self.pid) if b"bgworker.worker.zygote" in words_of(pid)]

    def zygote(self) -> int:
        """The process that forks the children."""
        (pid,) = self.zygotes()
        return pid

    def children(self) -> list[int]:
        """The processes that run tasks."""
        return children_of(self.zygote())

    def cpu_seconds(self, pid: int | None = None) -> float:
        """User and system time so far, of the supervisor or of another process."""
        with open(f"/proc/{pid or self.pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0]) / 1e9

    def child(self) -> int:
        """The only one of a worker with ``--concurrency 1``, once it is there."""
        return wait_until(lambda: self.children()[0] if self.children() else None, why="a child")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ask_to_stop(self) -> None:
        """Send SIGTERM and wait until it was noticed; what runs must not end meanwhile."""
        self.signal(signal.SIGTERM)
        wait_until(lambda: rests(self.pid), every=0.002, why="the signal is noticed")

    def wait(self, seconds: float = 10.0) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(seconds)

    def stop(self, seconds: float = 10.0) -> None:
        """Ask it to stop; it must obey cleanly and leave no process behind."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        assert self.wait(seconds) == 0, self.words()
        wait_until(lambda: not self.marked.alive(), seconds=2, why=f"gone: {self.marked.alive()}")

    @staticmethod
    def is_running(pid: int) -> bool:
        """Whether a process runs; a zombie does not."""
        return is_running(pid)

    @staticmethod
    def rests(pid: int) -> bool:
        """Whether a process sleeps and no signal is on its way to it."""
        return rests(pid)


def _processes() -> Iterator[tuple[int, int]]:
    """All of them; the second number is another one when another process has the same id."""
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with contextlib.suppress(OSError):
                yield int(entry), os.stat(f"/proc/{entry}").st_ino


def children_of(pid: int) -> list[int]:
    """The child processes of a process."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def words_of(pid: int) -> bytes:
    """A process's command line; empty when it is dead."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def rests(pid: int) -> bool:
    """Whether a process sleeps and no signal is on its way to it."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file)
    pending = int(status["SigPnd"], 16) | int(status["ShdPnd"], 16)
    return not pending and status["State"].startswith("S")


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def end_all(started: list[Worker]) -> None:
    """Stop those that still run; they must obey, and leave nothing behind."""
    try:
        for running in started:
            if running.process.poll() is None:
                running.stop()
    finally:
        for running in started:
            running.marked.kill()
            running.process.wait()
