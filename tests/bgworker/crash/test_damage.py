"""Files with flipped bits, cut off, or overwritten: they work, or they are refused in one line."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bgworker.cli.main import main
from bgworker.engines.sqlite.faults import FAULTS
from bgworker.errors import UnusableDatabase
from bgworker.salvage import salvage

IMAGES = 240
SEED = 20261121
PROGRAM = Path(__file__).parents[1] / "scenarios" / "use_damaged.py"
MAKE = """
    import os, sys
    from bgworker.engines.sqlite import SqliteEngine, store
    from bgworker.model import *
    store.WAL_LIMIT, store._LOOK_AFTER = 40_000, 50
    engine = SqliteEngine(sys.argv[1], durable=False)
    seat = engine.join(WorkerProfile(name="old", host="h", pid=1, concurrency=2), [])
    for n in range(60):
        engine.enqueue([JobSpec(task="t", args=f'[["{"x" * n * 20}"],{{}}]', queue=f"q{n % 3}")])
        claims = engine.exchange(seat, [], 1).claims if n % 2 else ()
        endings = (Succeeded("1"), Failed("{}"), Retrying("{}", 1), Released())
        engine.exchange(seat, [Ended(c, endings[n % 4], 1, 2) for c in claims if n % 5], 0)
    os._exit(0)  # as if killed: log and index stay
"""


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 64)):
        data[chance.randrange(len(data))] ^= chance.randint(1, 255)
    path.write_bytes(data)


def scramble_one_page(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    start = chance.randrange(len(data)) // 1024 * 1024
    data[start : start + 1024] = chance.randbytes(len(data[start : start + 1024]))
    path.write_bytes(data)


def cut(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(1, path.stat().st_size))


def zero_the_first_page(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        file.write(bytes(1024))


WAYS: list[Callable[[Path, random.Random], None]] = [
    flip,
    scramble_one_page,
    cut,
    zero_the_first_page,
]
NAMES = ("jobs.db", "jobs.db", "jobs.db-wal", "jobs.db-shm")


@pytest.fixture
def original(tmp_path: Path, python: Any, finish: Any) -> Path:
    """A queue with jobs in every state, half of it in the log, left by a killed worker."""
    folder = tmp_path / "original"
    folder.mkdir()
    finish(python(MAKE, str(folder / "jobs.db")))
    assert (folder / "jobs.db").stat().st_size > 20_000
    assert (folder / "jobs.db-wal").stat().st_size > 20_000
    return folder


@pytest.mark.timeout(180)
def test_damaged_files_are_used_or_refused(original: Path, tmp_path: Path, marked: Any) -> None:
    """240 of them: no crash, no hang, no traceback, and nobody begins anew in silence."""
    chance = random.Random(SEED)
    folders = []
    for n in range(IMAGES):
        folder = tmp_path / f"{n:03}"
        shutil.copytree(original, folder, ignore=shutil.ignore_patterns("*.bell", "reserve"))
        WAYS[n % len(WAYS)](folder / NAMES[n // len(WAYS) % len(NAMES)], chance)
        folders.append(folder)
    done = subprocess.run(
        [sys.executable, "-X", "dev", PROGRAM, *folders],
        check=False,
        env=marked.environment(),
        capture_output=True,
        text=True,
        timeout=150,
    )
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (0, IMAGES), (lines[-1:], done.stderr)
    outcomes = Counter(word for line in lines for word in line.split()[1:])
    assert outcomes["used"] > IMAGES / 4  # most of what is hit is not looked at
    assert outcomes["refused"] > IMAGES / 4, "the damage does no harm: the test lost its teeth"


def live_jobs(path: Path) -> dict[int, str]:
    with closing(sqlite3.connect(path)) as db:
        return dict(db.execute("SELECT id, args FROM bgworker_job"))


def test_what_can_be_read_of_a_damaged_file_is_saved(original: Path, tmp_path: Path) -> None:
    """At least as much as SQLite reads from end to end; nothing twice; the file stays as it is."""
    chance = random.Random(SEED)
    unneeded = shutil.ignore_patterns("*.bell", "reserve")
    alone = shutil.copytree(original, tmp_path / "alone", ignore=unneeded)
    whole = live_jobs(alone / "jobs.db")
    saved_of_page = []
    for n in range(80):
        folder = tmp_path / f"{n:03}"
        shutil.copytree(original, folder, ignore=unneeded)
        way = WAYS[n % len(WAYS)]
        way(folder / ("jobs.db", "jobs.db-wal")[n // len(WAYS) % 2], chance)
        before = (folder / "jobs.db").read_bytes()
        into = folder / "saved.jsonl"
        with contextlib.suppress(UnusableDatabase):
            saved = salvage(f"sqlite:///{folder}/jobs.db", str(into))
            ids = [json.loads(line)["id"] for line in into.read_text().splitlines()]
            assert saved.jobs == len(ids) == len(set(ids))
            if way is scramble_one_page:
                saved_of_page.append(len(whole.keys() & set(ids)))
        assert (folder / "jobs.db").read_bytes() == before
        with contextlib.suppress(*FAULTS):
            readable = live_jobs(folder / "jobs.db")
            assert readable.keys() <= set(ids)
    # One page of hundreds holds some of the jobs, or the head of the file and with it all of them.
    assert len(saved_of_page) > 10
    assert sum(saved_of_page) > 0.8 * len(whole) * len(saved_of_page)


def test_a_sound_file_is_saved_whole(original: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = original / "saved.jsonl"
    command = ["doctor", "--salvage", str(into), "--url", f"sqlite:///{original}/jobs.db"]

    assert main(command) == 0
    lines = [json.loads(line) for line in into.read_text().splitlines()]

    jobs = {line["id"]: [line["args"], line["kwargs"]] for line in lines}
    whole = {id_: json.loads(args) for id_, args in live_jobs(original / "jobs.db").items()}
    assert jobs == whole
    assert capsys.readouterr().out.startswith(f"{len(jobs)} of {len(jobs)} jobs")
    assert into.stat().st_mode & 0o777 == 0o600
    assert main(command) == 1
    assert "file exists" in capsys.readouterr().err


def test_a_zeroed_file_is_not_begun_anew(original: Path, tmp_path: Path) -> None:
    for name in ("jobs.db-wal", "jobs.db-shm"):
        (original / name).unlink()
    path = original / "jobs.db"
    path.write_bytes(bytes(path.stat().st_size))
    done = subprocess.run(
        [sys.executable, PROGRAM, original], check=True, capture_output=True, text=True, timeout=20
    )
    assert done.stdout.split()[1:] == ["refused"] * 3
    assert path.read_bytes().count(0) == path.stat().st_size
