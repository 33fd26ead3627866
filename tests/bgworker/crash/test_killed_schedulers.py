"""Schedulers that are killed at any moment: each tick becomes one job, never two, never none."""

from __future__ import annotations

import mmap
import random
import sqlite3
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

StartPython = Callable[..., "subprocess.Popen[str]"]
WaitUntil = Callable[..., object]

SCHEDULERS = 16
SCHEDULES = 500
TICKS = 60
KILLS = 50
MINUTE = 60_000
START = 1_700_006_400_000  # a full hour

DECLARE = """
    import mmap, os, select, struct, sys
    from bgworker import cron, every
    from bgworker.engines.sqlite import SqliteEngine
    from bgworker.model import TaskPolicy, WorkerProfile

    class SharedClock:
        def __init__(self, path):
            with open(path, "r+b") as file:
                self.memory = mmap.mmap(file.fileno(), 8)
        def now(self):
            return struct.unpack("<q", self.memory[:8])[0]
        def monotonic(self):
            return self.now() / 1000

    folder, count = sys.argv[1], int(sys.argv[2])
    policies = sys.argv[3].split(",")
    zones = ("UTC", "Europe/Rome", "Asia/Kathmandu", "Australia/Lord_Howe")
    kinds = [
        every(minutes=1, missed=policies[n % 3])
        if n % 5
        else cron("* * * * *", tz=zones[n % 4], missed=policies[n % 3])
        for n in range(60)
    ]
    tasks = [
        TaskPolicy(name=f"t{n}", queue=f"q{n % 3}", priority=5, schedule=kinds[n % 60])
        for n in range(count)
    ]
    clock = SharedClock(folder + "/clock")
    engine = SqliteEngine(folder + "/jobs.db", clock=clock)
    profile = WorkerProfile(name=f"w{os.getpid()}", host="h", pid=os.getpid(), concurrency=1)
    seat = engine.join(profile, tasks)
"""
SCHEDULER = (
    DECLARE
    + """
    next_at = engine.fire(seat).next_at
    sys.stdout.write("ready\\n"); sys.stdout.flush()
    while True:
        if clock.now() >= next_at:
            next_at = engine.fire(seat).next_at
        else:
            select.select([seat], [], [], 0.005)
            seat.silence()
"""
)
DIES_AT_STATEMENT = (
    DECLARE
    + """
    left = int(sys.argv[4])
    def one_more(_):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
    clock.memory[:8] = struct.pack("<q", clock.now() + 60_000)
    engine._store.connection().set_trace_callback(one_more)
    engine.fire(seat)
    engine._store.connection().set_trace_callback(None)
    engine.close()
"""
)
FIRES = DECLARE + "    engine.fire(seat); engine.fire(seat); engine.close()\n"


@pytest.fixture
def set_clock(tmp_path: Path) -> Iterator[Callable[[int], None]]:
    """The time of all processes of the test."""
    path = tmp_path / "clock"
    path.write_bytes(struct.pack("<q", START))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 8) as memory:

        def set_clock(millis: int) -> None:
            memory[:8] = struct.pack("<q", millis)

        yield set_clock


def ready(scheduler: subprocess.Popen[str]) -> subprocess.Popen[str]:
    assert scheduler.stdout is not None
    assert scheduler.stdout.readline() == "ready\n", scheduler.communicate()[1]
    return scheduler


def end(scheduler: subprocess.Popen[str]) -> None:
    scheduler.kill()
    scheduler.communicate()


@pytest.mark.timeout(180)
def test_fifty_kills_over_thirty_thousand_ticks(
    tmp_path: Path, python: StartPython, set_clock: Callable[[int], None], wait_until: WaitUntil
) -> None:
    """16 schedulers, 500 schedules, 60 ticks; each kill is somewhere in the run of a tick."""
    chance = random.Random(20261121)

    def hire() -> subprocess.Popen[str]:
        return python(SCHEDULER, str(tmp_path), str(SCHEDULES), "skip,last,all")

    schedulers = [ready(found) for found in [hire() for _ in range(SCHEDULERS)]]
    newcomers: list[subprocess.Popen[str]] = []
    db = sqlite3.connect(f"file:{tmp_path}/jobs.db?mode=ro", uri=True)

    def stored() -> int:
        return int(db.execute("SELECT coalesce(sum(n), 0) FROM bgworker_tally").fetchone()[0])

    doomed = set(chance.sample(range(1, TICKS + 1), KILLS))
    killed = 0
    for tick in range(1, TICKS + 1):
        before = stored()
        set_clock(START + tick * MINUTE)
        if tick in doomed:
            some = before + chance.randrange(SCHEDULES)
            wait_until(lambda some=some: stored() >= some, every=0.001, why="in the middle")
            victim = schedulers.pop(chance.randrange(len(schedulers)))
            end(victim)
            assert victim.returncode == -9, "it ran until it was killed"
            killed += 1
            newcomers.append(hire())
        wait_until(lambda n=tick: stored() >= n * SCHEDULES, seconds=30, why=f"tick {tick}")
        if len(newcomers) == 4:
            schedulers += [ready(found) for found in newcomers]
            newcomers.clear()
    for scheduler in (*schedulers, *newcomers):
        assert scheduler.poll() is None, scheduler.communicate()[1]
        end(scheduler)

    runs = db.execute("SELECT task, enqueued_at FROM bgworker_job").fetchall()
    kept = db.execute("SELECT schedule, fire_at FROM bgworker_tick").fetchall()
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    expected = {
        (f"t{n}", START + tick * MINUTE) for n in range(SCHEDULES) for tick in range(1, TICKS + 1)
    }
    assert killed == KILLS
    assert len(runs) == SCHEDULES * TICKS
    assert set(runs) == set(kept) == expected


def test_a_scheduler_killed_between_any_two_statements(
    tmp_path: Path, python: StartPython, set_clock: Callable[[int], None], finish: Any
) -> None:
    """Tick, cursor and job are stored together or not at all; the next one goes on from there."""
    count, tick, statement = 3, 0, 0
    arguments = (str(tmp_path), str(count), "all,all,all")
    while True:
        dying = python(DIES_AT_STATEMENT, *arguments, str(statement))
        _, errors = dying.communicate(timeout=30)
        assert dying.returncode in {0, -9}, errors
        tick += 1
        db = sqlite3.connect(tmp_path / "jobs.db")
        stored = db.execute("SELECT count(*) FROM bgworker_job").fetchone()[0]
        assert stored in {(tick - 1) * count, tick * count}, "all or nothing"
        assert db.execute("SELECT count(*) FROM bgworker_tick").fetchone() == (stored,)
        tally = db.execute("SELECT coalesce(sum(n), 0) FROM bgworker_tally").fetchone()
        assert tally == (stored,)
        if dying.returncode == 0:
            break
        finish(python(FIRES, *arguments))
        assert db.execute("SELECT count(*) FROM bgworker_job").fetchone() == (tick * count,)
        db.close()
        statement += 1
    db.close()
    assert statement > 10
