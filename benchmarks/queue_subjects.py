"""What there is to say of a system that is measured; and ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")
CHILDREN = 2
OURS = "bgworker"
BARE = "bare"


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
    address: str = "BENCH_DATABASE"
    """The variable that tells it where its file, or its Redis, is."""
    redis: bool = False
    prepares: bool = False
    """Whether its database has to be made before the worker may start."""
    needs: str = "bgworker"
    """The module without which it is not installed."""
    hint: str = ""
    """Why it may not be."""
    jobs: float = 1.0
    samples: float = 1.0
    pause: tuple[float, float] | None = None
    ours: bool = False


def ours() -> list[Subject]:
    """The bgworker of this tree: with and without flushing, and with threads."""
    return [
        _bgworker(f"{OURS} full", "full", "process", "flush per commit, isolated children"),
        _bgworker(f"{OURS} process", "process", "process", "no flush, isolated children"),
        _bgworker(f"{OURS} threads", "full", "thread", "flush per commit, threads of one child"),
    ]


def bare() -> list[Subject]:
    """The least that can be called a queue in a file: how fast one can be on this machine."""
    worker = (sys.executable, os.path.join(PEERS, "bare_worker.py"), str(CHILDREN))
    return [
        Subject(
            name=f"{BARE} {durability}",
            app="bare_app",
            python=sys.executable,
            worker=worker,
            promise=f"no queue for anybody: rows, two children, results, {words}",
            settings={"BENCH_DURABILITY": durability},
        )
        for durability, words in (("full", "flush per commit"), ("process", "no flush"))
    ]


def _bgworker(name: str, durability: str, pool: str, words: str) -> Subject:
    worker = (sys.executable, "-m", "bgworker.cli", "run", "--app", "bgworker_app")
    return Subject(
        name=name,
        app="bgworker_app",
        python=sys.executable,
        worker=(*worker, "--concurrency", str(CHILDREN), "--pool", pool),
        promise=f"at least once, results, {words}",
        settings={"BENCH_DURABILITY": durability},
        ours=True,
    )
