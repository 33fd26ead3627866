"""The power is cut at any moment: what was acknowledged is there, once, and the file is sound."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from disk_trace import STRACE, Disk, Event, read_trace
from redis_server import program
from started_worker import Marked

from bgworker.engines.sqlite import SqliteEngine
from bgworker.model import JobSpec

IMAGES = 500
SEED = 20261121
SCENARIO = Path(__file__).parents[1] / "scenarios" / "busy_queue.py"
FILES = ("jobs.db", "jobs.db-wal", "jobs.db-journal")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the queue was whose writes are replayed."""
    return tmp_path_factory.mktemp("recorded") / "queue"


@pytest.fixture(scope="module")
def recorded(home: Path) -> list[Event]:
    """All that two producers and a worker did to the disk."""
    program("strace", "apt-get install strace")
    folder, trace, marked = home, home.with_name("trace"), Marked()
    folder.mkdir()
    done = subprocess.run(
        [*STRACE, "-o", trace, sys.executable, SCENARIO, folder],
        check=False,
        env=marked.environment(),
        capture_output=True,
        text=True,
        timeout=50,
    )
    marked.kill()
    assert done.returncode == 0, done.stderr
    return list(read_trace(trace))


@pytest.mark.timeout(120)
def test_five_hundred_power_cuts(recorded: list[Event], home: Path, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    cuts = Counter(chance.randrange(len(recorded)) for _ in range(IMAGES))
    disk = Disk(home, FILES)
    acknowledged: list[str] = []
    checked = 0
    for n, event in enumerate(recorded):
        disk.apply(event)
        if event.kind == "append" and "/acknowledged-" in event.path:
            acknowledged += event.data.decode().split()
        for _ in range(cuts[n]):
            folder = tmp_path / f"image-{checked:03}"
            folder.mkdir()
            for name, data in disk.after_power_loss(chance).items():
                (folder / name).write_bytes(data)
            check(folder / "jobs.db", set(acknowledged))
            checked += 1
    assert checked == IMAGES
    assert len(acknowledged) > 150
    checkpoints = [e for e in recorded if e.kind == "flush" and e.path.endswith("jobs.db")]
    assert len(checkpoints) > 5, "the log was never written back: the test lost its teeth"


def check(path: Path, acknowledged: set[str]) -> None:
    """The file opens; each acknowledged job is alive or ended, and in one place only."""
    if not path.exists():
        assert not acknowledged
        return
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], path
        if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'bgworker_job'").fetchone():
            assert not acknowledged
            return
        stored = db.execute(
            "SELECT id, queue, priority, state FROM bgworker_job"
            " UNION ALL SELECT id, queue, priority, state FROM bgworker_history"
        ).fetchall()
        ids = Counter(str(row[0]) for row in stored)
        assert acknowledged - ids.keys() == set(), path
        assert set(ids.values()) <= {1}, path
        tallies = db.execute("SELECT queue, priority, state, n FROM bgworker_tally WHERE n <> 0")
        assert {row[:3]: row[3] for row in tallies} == Counter(row[1:] for row in stored), path
    engine = SqliteEngine(str(path), durable=False)
    (job,) = engine.enqueue([JobSpec(task="t")])
    assert job not in ids
    engine.close()


def test_a_disk_that_lies_is_caught(recorded: list[Event], home: Path, tmp_path: Path) -> None:
    """What this test is worth: without the flushes, jobs are lost."""
    chance = random.Random(SEED)
    disk = Disk(home, FILES)
    acknowledged: set[str] = set()
    lost = 0
    for n, event in enumerate(recorded):
        if event.kind not in {"flush", "flushed"} or event.path.endswith("queue"):
            disk.apply(event)
        if event.kind == "append" and "/acknowledged-" in event.path:
            acknowledged |= set(event.data.decode().split())
        if n % (len(recorded) // 10) == 0 and acknowledged:
            folder = tmp_path / f"lie-{n}"
            folder.mkdir()
            for name, data in disk.after_power_loss(chance).items():
                (folder / name).write_bytes(data)
            try:
                check(folder / "jobs.db", acknowledged)
            except (AssertionError, sqlite3.DatabaseError):
                lost += 1
    assert lost > 0
