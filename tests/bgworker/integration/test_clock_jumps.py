"""A wall clock that jumps by days, or stands still, changes nothing for what runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgworker import JobFailed

StartWorker = Callable[..., Any]
WaitUntil = Callable[..., Any]

MOVABLE = """
import os, time
PATH = os.environ["CLOCK"]
real_ns = time.time_ns
def time_ns():
    try:
        with open(PATH, encoding="ascii") as file:
            said = file.read()
    except OSError:
        return real_ns()
    if said.startswith("at "):
        return int(said[3:])
    return real_ns() + int(said or 0) * 10**9
time.time_ns = time_ns
time.time = lambda: time_ns() / 1e9
"""
DAY = 86_400


class WallClock:
    """What the processes of the workers take for the wall clock."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "clock"
        self.environment = {"CLOCK": str(self.path)}

    def jump(self, seconds: int) -> None:
        self._write(str(seconds))

    def freeze(self) -> None:
        self._write(f"at {time.time_ns()}")

    def _write(self, text: str) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.path)


@pytest.fixture
def wall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """A clock that every worker of the test goes by."""
    folder = tmp_path / "movable"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(MOVABLE)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return WallClock(tmp_path)


@pytest.mark.parametrize("seconds", [DAY, -DAY])
def test_a_jump_robs_nobody_and_ends_nothing(
    seconds: int,
    wall: WallClock,
    worker: StartWorker,
    jobs: Any,
    tmp_path: Path,
    wait_until: WaitUntil,
) -> None:
    """Two workers: neither takes the other for dead, no time limit is over, none is forgotten."""
    log = tmp_path / "runs"
    wall.jump(0)
    workers = [worker("--concurrency", "2", env=wall.environment) for _ in range(2)]
    naps = [jobs.nap.delay(2, str(log)) for _ in range(2)]
    limited = jobs.outlives_its_time.delay(str(tmp_path / "limited"))
    wait_until(lambda: log.exists() and log.read_text().count("begin") == 2, why="both run")
    wall.jump(seconds)
    sums = jobs.add.delay(1, 1)
    assert sums.result(10) == 2
    ahead = (jobs.bg.dispatcher.fetch(sums.id).finished_at or 0) / 1000 - time.time()
    assert abs(ahead - seconds) < 60, "the workers go by the clock that jumped"
    assert [nap.result(20) for nap in naps] == ["rested"] * 2
    assert [jobs.bg.dispatcher.fetch(nap.id).attempts for nap in naps] == [1, 1]
    with pytest.raises(JobFailed, match="HardTimeout"):
        limited.result(20)
    for one in workers:
        assert not one.events("rescued", "stale_write", "child_lost", "heartbeat_error")


def test_a_clock_that_stands_still(
    wall: WallClock, worker: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    wall.freeze()
    worker("--concurrency", "2", env=wall.environment)
    assert jobs.add.delay(1, 1).result(10) == 2
    with pytest.raises(JobFailed, match="HardTimeout"):
        jobs.ignores_everything.delay().result(20)
    later = jobs.add.options(countdown=60).delay(2, 2)
    assert [h.result(10) for h in jobs.add.map([(n, n) for n in range(50)])][-1] == 98
    assert later.status.value == "scheduled"
    wall.jump(120)
    assert later.result(20) == 4
