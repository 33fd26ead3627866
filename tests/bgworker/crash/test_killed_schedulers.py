"""Schedulers that are killed at any moment: each tick becomes one job, never two, never none."""

from __future__ import annotations

import mmap
import random
import sqlite3
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

StartPython = Callable[..., "subprocess.Popen[str]"]
WaitUntil = Callable[..., object]

SCHEDULERS = 16
SCHEDULES = 500
TICKS = 60
KILLS = 50
MINUTE = 60_000
START = 1_700_006_400_000  # a full hour

NURSERY = """
    # Imports once and forks: a hundred processes that import each for itself take half a minute.
    import mmap, os, select, signal, struct, sys
    from bgworker import cron, every
    from bgworker.engines.sqlite import SqliteEngine
    from bgworker.model import TaskPolicy, WorkerProfile

    folder, count, policies = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(",")

    class SharedClock:
        def __init__(self, path):
            with open(path, "r+b") as file:
                self.memory = mmap.mmap(file.fileno(), 8)
        def now(self):
            return struct.unpack("<q", self.memory[:8])[0]
        def monotonic(self):
            return self.now() / 1000

    def join():
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
        return clock, engine, engine.join(profile, tasks)

    def schedule():
        clock, engine, seat = join()
        next_at = engine.fire(seat).next_at
        say("ready", os.getpid())
        while True:
            if clock.now() >= next_at:
                next_at = engine.fire(seat).next_at
            else:
                select.select([seat], [], [], 0.02)
                seat.silence()

    def die(statement):
        clock, engine, seat = join()
        left = statement
        def one_more(_):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        clock.memory[:8] = struct.pack("<q", clock.now() + 60_000)
        engine._store.connection().set_trace_callback(one_more)
        engine.fire(seat)
        engine._store.connection().set_trace_callback(None)
        engine.close()

    def fire():
        clock, engine, seat = join()
        engine.fire(seat)
        engine.fire(seat)
        engine.close()

    def say(*words):
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())

    def fork(task, *numbers):
        pid = os.fork()
        if pid == 0:
            try:
                {"schedule": schedule, "die": die, "fire": fire}[task](*numbers)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        return pid

    for line in sys.stdin:
        verb, *words = line.split()
        numbers = [int(word) for word in words]
        if verb == "schedule":
            fork(verb)
            continue
        if verb == "kill":
            (pid,) = numbers
            os.kill(pid, signal.SIGKILL)
        else:
            pid = fork(verb, *numbers)
        say("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


class Nursery:
    """Has schedulers forked, one answer for each request."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, *words: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()

    def answer(self, word: str) -> int:
        """The number behind this word, which the next answer begins with."""
        assert self._process.stdout is not None
        found, _, number = self._process.stdout.readline().partition(" ")
        assert found == word, (found, number)
        return int(number)

    def run(self, *words: object) -> int:
        """The exit code of a process that does this."""
        self.ask(*words)
        return self.answer("ended")


@pytest.fixture
def nursery(
    tmp_path: Path, python: StartPython, finish: Callable[..., str]
) -> Iterator[Callable[..., Nursery]]:
    """``nursery(schedules, policies)``; it must end quietly, as must all it forked."""
    started: list[subprocess.Popen[str]] = []

    def start(schedules: int, policies: str) -> Nursery:
        started.append(python(NURSERY, str(tmp_path), str(schedules), policies))
        return Nursery(started[-1])

    yield start
    for process in started:
        finish(process)


@pytest.fixture
def set_clock(tmp_path: Path) -> Iterator[Callable[[int], None]]:
    """The time of all processes of the test."""
    path = tmp_path / "clock"
    path.write_bytes(struct.pack("<q", START))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 8) as memory:

        def set_clock(millis: int) -> None:
            memory[:8] = struct.pack("<q", millis)

        yield set_clock


@pytest.mark.timeout(180)
def test_fifty_kills_over_thirty_thousand_ticks(
    tmp_path: Path,
    nursery: Callable[..., Nursery],
    set_clock: Callable[[int], None],
    wait_until: WaitUntil,
) -> None:
    """16 schedulers, 500 schedules, 60 ticks; each kill is somewhere in the run of a tick."""
    chance = random.Random(20261121)

    home = nursery(SCHEDULES, "skip,last,all")
    for _ in range(SCHEDULERS):
        home.ask("schedule")
    schedulers = [home.answer("ready") for _ in range(SCHEDULERS)]
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
            assert home.run("kill", victim) == -9, "it ran until it was killed"
            killed += 1
            home.ask("schedule")
            schedulers.append(home.answer("ready"))
        wait_until(lambda n=tick: stored() >= n * SCHEDULES, seconds=30, why=f"tick {tick}")
    assert {home.run("kill", scheduler) for scheduler in schedulers} == {-9}, "all still ran"

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
    tmp_path: Path, nursery: Callable[..., Nursery], set_clock: Callable[[int], None]
) -> None:
    """Tick, cursor and job are stored together or not at all; the next one goes on from there."""
    count, tick, statement = 3, 0, 0
    home = nursery(count, "all,all,all")
    while True:
        code = home.run("die", statement)
        assert code in {0, -9}
        tick += 1
        db = sqlite3.connect(tmp_path / "jobs.db")
        stored = db.execute("SELECT count(*) FROM bgworker_job").fetchone()[0]
        assert stored in {(tick - 1) * count, tick * count}, "all or nothing"
        assert db.execute("SELECT count(*) FROM bgworker_tick").fetchone() == (stored,)
        tally = db.execute("SELECT coalesce(sum(n), 0) FROM bgworker_tally").fetchone()
        assert tally == (stored,)
        if code == 0:
            break
        assert home.run("fire") == 0
        assert db.execute("SELECT count(*) FROM bgworker_job").fetchone() == (tick * count,)
        db.close()
        statement += 1
    db.close()
    assert statement > 10
