"""Real workers: started on a queue of the test's own, ended cleanly, nothing left behind."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from standing import StandingWorkers
from started_worker import APPS, Marked, Worker, end_all

from bgworker.cli import main


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
    end_all(started)


@pytest.fixture(scope="module")
def standing_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandingWorkers]:
    """Those of a module; each must end as cleanly as a worker of one test."""
    started: list[Worker] = []

    def start(folder: Path, app: str, options: list[str], environment: dict[str, str]) -> Worker:
        started.append(Worker(folder, f"sqlite:///{folder}/jobs.db", Marked(), app, options))
        started[-1].start(**environment)
        started[-1].wait_for("worker_start")
        return started[-1]

    yield StandingWorkers(tmp_path_factory.mktemp("standing"), start)
    end_all(started)


@pytest.fixture
def standing(
    standing_workers: StandingWorkers, pool: str, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Worker]]:
    """As :func:`worker`, for tests that harm nothing but jobs: the module's, started only once.

    What the test enqueues with ``jobs`` and its like goes to that worker's queue from here on.
    """
    used: list[tuple[Worker, int]] = []

    def find(*options: str, app: str = "jobs", env: dict[str, str] | None = None) -> Worker:
        options = options if "--concurrency" in options else ("--concurrency", "2", *options)
        found: Worker = standing_workers.find(app, (*options, "--pool", pool), env or {})
        children = int(options[options.index("--concurrency") + 1]) if pool == "process" else 1
        used.append((found, 2 + children + ("--health" in options)))
        for producer in {"jobs", "limited", "cancellable"} & set(request.fixturenames):
            request.getfixturevalue(producer).bg.url = found.url
        return found

    yield find
    for found, processes in used:
        standing_workers.take_back(found, processes)


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
