"""Who is measured: ours and the peers, each with its interpreter, worker and promise."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")
CHILDREN = 2


@dataclass(frozen=True, slots=True)
class Subject:
    """A system in one configuration.

    ``jobs`` and ``samples`` are its shares of what ours gets: slow ones are given less to do, or
    the run would take hours. ``pause`` is how far apart (seconds) latency samples lie for a system
    that polls: more than one period, so that samples fall on all its phases.
    """

    name: str
    app: str
    python: str
    worker: tuple[str, ...]
    promise: str
    settings: Mapping[str, str] = field(default_factory=dict)
    database: str = "BENCH_DATABASE"
    """The variable that tells it where its file is."""
    jobs: float = 1.0
    samples: float = 1.0
    pause: tuple[float, float] | None = None
    ours: bool = False


def ours() -> list[Subject]:
    """The bgworker of this tree, with and without flushing."""
    worker = (sys.executable, "-m", "bgworker.cli", "run", "--app", "bgworker_app")
    return [
        Subject(
            name=f"bgworker {durability}",
            app="bgworker_app",
            python=sys.executable,
            worker=(*worker, "--concurrency", str(CHILDREN)),
            promise=f"at least once, {words}, results, isolated children",
            settings={"BENCH_DURABILITY": durability},
            ours=True,
        )
        for durability, words in (("full", "flush per commit"), ("process", "no flush"))
    ]


def peers(folder: str) -> list[Subject]:
    """The peers installed in a virtual environment."""
    python = os.path.abspath(os.path.join(folder, "bin", "python"))
    return [
        _huey(python, "huey fsync", "full", "flush per commit", jobs=0.2),
        _huey(python, "huey", "process", "no flush", jobs=0.5),
        _pybgworker(python, "pybgworker", {}, jobs=0.001),
        _pybgworker(python, "pybgworker rate_limit=0", {"BENCH_RATE_LIMIT": "0"}, jobs=0.006),
    ]


def _huey(python: str, name: str, durability: str, words: str, *, jobs: float) -> Subject:
    consumer = (python, "-m", "huey.bin.huey_consumer", "huey_app.huey", "-k", "process")
    return Subject(
        name=name,
        app="huey_app",
        python=python,
        worker=(*consumer, "-w", str(CHILDREN)),
        promise=f"at most once, {words}, results, two processes",
        settings={"BENCH_DURABILITY": durability},
        jobs=jobs,
        samples=0.2,
        pause=(0.02, 0.32),
    )


def _pybgworker(python: str, name: str, settings: Mapping[str, str], *, jobs: float) -> Subject:
    run = (python, "-m", "pybgworker.cli", "run", "--app", "pybgworker_app")
    return Subject(
        name=name,
        app="pybgworker_app",
        python=python,
        worker=(*run, "--concurrency", str(CHILDREN)),
        promise="at least once, flush per commit, results, fork per task",
        settings=settings,
        database="PYBGWORKER_DB",
        jobs=jobs,
        samples=0.04,
        pause=(0.3, 1.7),
    )
