"""Real workers: started on a queue of the test's own, ended cleanly, nothing left behind."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bgtop.testing import wait_until
from bgworker.cli import main
from bgworker.scoreboard import read_board

APPS = Path(__file__).parent / "apps"
_MARK = "BGWORKER_TEST_MARK"


class Marked:
    """Processes that carry a mark in their environment: whatever they start carries it too."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(8)

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
        for entry in os.listdir("/proc"):
            if entry.isdecimal():
                with contextlib.suppress(OSError):
                    environment = Path("/proc", entry, "environ").read_bytes()
                    if wanted in environment.split(b"\0"):
                        command = Path("/proc", entry, "cmdline").read_bytes()
                        found[int(entry)] = command.replace(b"\0", b" ").decode(errors="replace")
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
        self.marked = marked
        number = len(list(folder.glob("worker-*.err")))
        self.stdout = folder / f"worker-{number}.out"
        self.stderr = folder / f"worker-{number}.err"
        self.command = ["-m", "bgworker.cli", "run", "--app", app, "--url", url, *options]
        self.launcher: list[str] = []
        """A program that starts it, in place of itself."""
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

    def lines(self) -> list[dict[str, Any]]:
        """The log so far. What is no JSON object (the output of tasks) is left out."""
        found = []
        for line in self.stderr.read_bytes().split(b"\n")[:-1]:
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


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A queue of the test's own; its file does not exist yet."""
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
def pool() -> str:
    """What the jobs of a test's workers run in; to be parametrised where it is both."""
    return "process"


@pytest.fixture
def worker(tmp_path: Path, url: str, pool: str) -> Iterator[Callable[..., Worker]]:
    """Start workers: ``worker("--concurrency", "1", app="jobs", wait=True, env={})``.

    At the end of the test each that still runs is stopped and must exit with 0; no process that it
    started may be left.
    """
    started: list[Worker] = []

    def start(
        *options: str,
        app: str = "jobs",
        wait: bool = True,
        env: dict[str, str] | None = None,
        limits: dict[str, object] | None = None,
        launcher: list[str] | None = None,
    ) -> Worker:
        options = options if "--concurrency" in options else ("--concurrency", "2", *options)
        running = Worker(tmp_path, url, Marked(), app, [*options, "--pool", pool])
        running.launcher = launcher or []
        if limits is not None:
            given = {"app": app, "url": url, "concurrency": 2, "pool": pool, **limits}
            running.command = [str(APPS / "with_options.py"), json.dumps(given)]
        started.append(running)
        running.start(**(env or {}))
        if wait:
            running.wait_for("worker_start")
        return running

    yield start
    try:
        for running in started:
            if running.process.poll() is None:
                running.stop()
    finally:
        for running in started:
            running.marked.kill()
            running.process.wait()


@pytest.fixture
def marked() -> Iterator[Marked]:
    """A mark for other processes of a test; what carries it at the end is killed."""
    found = Marked()
    yield found
    found.kill()


def load_app(name: str) -> ModuleType:
    """Import an application of ``apps``, without leaving it in ``sys.modules``."""
    spec = importlib.util.spec_from_file_location(name, APPS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def producer_of(name: str) -> Any:
    """A fixture: the tasks of an application, for a producer in this process."""

    @pytest.fixture(name=name)
    def tasks(url: str) -> Iterator[Any]:
        module = load_app(name)
        module.bg.url = url
        yield module
        module.bg.close()

    return tasks


jobs = producer_of("jobs")
limited = producer_of("limited")
cancellable = producer_of("cancellable")


@pytest.fixture
def python(marked: Marked) -> Callable[..., subprocess.Popen[str]]:
    """Start a Python program with ``jobs`` importable; its warnings are errors."""

    def start(script: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments],
            env=marked.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def finish() -> Callable[..., str]:
    """Close a program's standard input; it must end well and quietly. Its output."""

    def finish(process: subprocess.Popen[str], seconds: float = 30) -> str:
        out, err = process.communicate(timeout=seconds)
        assert process.returncode == 0, err
        assert err == ""
        return out

    return finish


class Said:
    """How a command ended and what it wrote."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def json(self) -> Any:
        assert self.out.endswith("\n")
        return json.loads(self.out)


@pytest.fixture
def cli(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Said]:
    """Run a command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("BGWORKER_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str) -> Said:
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run
