"""kill -9 of every kind of process at random moments: nothing lost, nothing doubled, soon again.

What happened is told by the tasks themselves: each run takes a kernel lock on its job's byte of one
file (another live process holding it is an overlap), and appends a line when it starts and ends.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from bgtop.testing import wait_until
from bgworker import BgWorker

JOBS = 10_000
KILLS = 30
WORKERS = 2
SEED = 20261121

APP = """
import fcntl, os, random, time
from bgworker import BgWorker

bg = BgWorker("sqlite:///jobs.db")
_lines = os.open("runs.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_locks = os.open("locks", os.O_RDWR | os.O_CREAT)

@bg.task(name="run")
def run(n):
    try:
        fcntl.lockf(_locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, n)
    except OSError:
        os.write(_lines, b"OVERLAP %d 0\\n" % n)
    os.write(_lines, b"START %d %d\\n" % (n, time.monotonic_ns()))
    time.sleep(random.choice((0, 0, 0.001, 0.004)))
    os.write(_lines, b"END %d %d\\n" % (n, time.monotonic_ns()))
    fcntl.lockf(_locks, fcntl.LOCK_UN, 1, n)
"""


@dataclass
class Kill:
    """One blow: what it hit, which worker that was, and when."""

    target: str
    worker: str
    at: float


class Shop:
    """Workers on one queue, replaced when their supervisor dies, as systemd would."""

    def __init__(self, folder: Path, pool: str) -> None:
        self.folder = folder
        self.pool = pool
        self.log = folder / "worker.log"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.kills: list[Kill] = []

    def hire(self) -> None:
        command = ["run", "--app", "app", "--concurrency", "2", "--pool", self.pool]
        with self.log.open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "bgworker.cli", *command],
                cwd=self.folder,
                env={**os.environ, "BGWORKER_LOG": "json"},
                stderr=log,
            )
        self.workers.append(worker)

    def strike(self, target: str, chance: random.Random) -> None:
        worker = chance.choice(self.workers)
        name = self.name_of(worker.pid)
        while True:
            victims = wait_until(lambda: _family(worker.pid)[target], why=f"there is a {target}")
            with suppress(ProcessLookupError):  # it was just being replaced
                os.kill(chance.choice(victims), signal.SIGKILL)
                break
        self.kills.append(Kill(target, name, time.monotonic()))
        if target == "supervisor":
            worker.wait()
            self.workers.remove(worker)
            self.hire()

    def name_of(self, pid: int) -> str:
        """The worker's name, once it has started."""
        return wait_until(
            lambda: next(
                (str(e["worker"]) for e in self.events("worker_start") if e["pid"] == pid), None
            ),
            why="the worker starts",
        )

    def events(self, *names: str) -> list[dict[str, object]]:
        events = []
        for line in self.log.read_bytes().splitlines():
            with suppress(ValueError):  # the last line of a killed supervisor may be cut
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event") in names:
                    events.append(event)
        return events

    def dismiss(self) -> None:
        for worker in self.workers:
            self.name_of(worker.pid)
            worker.terminate()
        for worker in self.workers:
            assert worker.wait(20) == 0


def _family(supervisor: int) -> dict[str, list[int]]:
    zygotes = _children(supervisor)
    children = [child for zygote in zygotes for child in _children(zygote)]
    return {"supervisor": [supervisor], "zygote": zygotes, "child": children}


def _children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@pytest.fixture
def shop(tmp_path: Path, pool: str) -> Iterator[Shop]:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "runs.log").touch()
    shop = Shop(tmp_path, pool)
    yield shop
    for worker in shop.workers:
        worker.kill()
        worker.wait()


@pytest.mark.timeout(150)
@pytest.mark.parametrize("pool", ["process", "thread"])
def test_thirty_kills_over_ten_thousand_jobs(shop: Shop) -> None:
    """Every acknowledged job ends once, none runs twice at a time, the dead are replaced fast."""
    chance = random.Random(SEED)
    bg = BgWorker(f"sqlite:///{shop.folder}/jobs.db")
    send = bg.task(name="run")(lambda n: n)
    acknowledged: dict[str, int] = {}
    for _ in range(WORKERS):
        shop.hire()
    targets = ["supervisor", "zygote", "child"] * (KILLS // 3)
    chance.shuffle(targets)
    batch = JOBS // KILLS + 1
    for n, target in enumerate(targets):
        numbers = range(n * batch, min(JOBS, (n + 1) * batch))
        acknowledged.update(
            {job.id: i for job, i in zip(send.map([(i,) for i in numbers]), numbers, strict=True)}
        )
        _serve(shop, len(acknowledged) - chance.randrange(batch))
        shop.strike(target, chance)
    _serve(shop, JOBS)
    shop.dismiss()
    bg.close()

    assert len(acknowledged) == JOBS
    assert len(shop.kills) == KILLS
    _check_endings(shop, acknowledged)
    _check_runs(shop, acknowledged)


def _serve(shop: Shop, jobs: int) -> None:
    wait_until(lambda: _ended(shop) >= jobs, seconds=60, why=f"{jobs} jobs have ended")


def _ended(shop: Shop) -> int:
    db = sqlite3.connect(f"file:{shop.folder}/jobs.db?mode=ro", uri=True)
    (n,) = db.execute(
        "SELECT coalesce(sum(succeeded + failed + dead + cancelled), 0) FROM bgworker_queue"
    ).fetchone()
    db.close()
    return int(n)


def _check_endings(shop: Shop, acknowledged: dict[str, int]) -> None:
    db = sqlite3.connect(shop.folder / "jobs.db")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert db.execute("SELECT count(*) FROM bgworker_job").fetchone() == (0,)
    history = [str(id_) for (id_,) in db.execute("SELECT id FROM bgworker_history")]
    states = Counter(state for (state,) in db.execute("SELECT state FROM bgworker_history"))
    kept = dict(db.execute("SELECT state, sum(n) FROM bgworker_tally GROUP BY state"))
    db.close()

    assert sorted(history) == sorted(acknowledged)
    assert states.keys() <= {"succeeded", "dead"}
    assert {state: n for state, n in kept.items() if n} == states
    told = Counter(
        event["job_id"] for event in shop.events("task_success", "task_failed", "task_dead")
    )
    doubled = [job for job, n in told.items() if n > 1]
    stale = {event["job_id"] for event in shop.events("stale_write")}
    # Told twice is only what one worker said and could not write before it died.
    assert [job for job in doubled if job not in stale and not _was_rescued(shop, job)] == []


def _was_rescued(shop: Shop, job: object) -> bool:
    return any(event["job_id"] == job for event in shop.events("rescued"))


def _check_runs(shop: Shop, acknowledged: dict[str, int]) -> None:
    starts: dict[int, list[float]] = {}
    ends: Counter[int] = Counter()
    for line in (shop.folder / "runs.log").read_text().splitlines():
        what, n, at = line.split(" ")
        assert what != "OVERLAP", f"job {n} ran in two live processes at once"
        if what == "START":
            starts.setdefault(int(n), []).append(int(at) / 1e9)
        else:
            ends[int(n)] += 1
    assert set(starts) == set(acknowledged.values())

    deaths = {kill.worker: kill.at for kill in shop.kills if kill.target == "supervisor"}
    delays = []
    for event in shop.events("rescued"):
        died = deaths[str(event["from"])]
        again = [at for at in starts[acknowledged[str(event["job_id"])]] if at > died]
        if again:  # else its result was on disk already, or it was dead
            delays.append(again[0] - died)
    assert delays, "no job was rescued: the test has lost its teeth"
    assert max(delays) <= 1.0


def test_a_result_survives_the_supervisor(shop: Shop) -> None:
    """A job whose worker is killed at once runs again under the next one, started alone."""
    bg = BgWorker(f"sqlite:///{shop.folder}/jobs.db")
    job = bg.task(name="run")(lambda n: n).delay(1)
    shop.hire()
    shop.strike("supervisor", random.Random(SEED))

    assert job.result(timeout=20) is None
    shop.dismiss()
    bg.close()
