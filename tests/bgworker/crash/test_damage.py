"""Files with flipped bits, cut off, or overwritten: they work, or they are refused in one line."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
