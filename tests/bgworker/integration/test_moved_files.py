"""The file is moved, replaced or deleted under those who use it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgworker.engines.sqlite import SqliteEngine
from bgworker.errors import DatabaseGone
from bgworker.model import JobSpec

StartWorker = Callable[..., Any]
WaitUntil = Callable[..., object]
FILES = ("jobs.db", "jobs.db-wal", "jobs.db-shm")


def delete(folder: Path) -> None:
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def move(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    for name in FILES:
        (folder / name).rename(folder / "elsewhere" / name)


def replace(folder: Path) -> None:
    shutil.copy(folder / "jobs.db", folder / "backup.db")
    (folder / "backup.db").replace(folder / "jobs.db")


def delete_the_log(folder: Path) -> None:
    (folder / "jobs.db-wal").unlink()


def move_the_folder(folder: Path) -> None:
    (folder / "jobs.db.d").rename(folder / "old.d")
    move(folder)


MISHAPS = [delete, move, replace, delete_the_log, move_the_folder]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SqliteEngine]:
    found = SqliteEngine(str(tmp_path / "jobs.db"))
    yield found
    found.close()


@pytest.mark.parametrize("mishap", [delete, move, replace, move_the_folder])
def test_a_producer_stores_nothing_in_a_file_that_is_gone(
    engine: SqliteEngine, tmp_path: Path, mishap: Callable[[Path], None]
) -> None:
    """Not even the next job, and not until it is opened anew."""
    engine.enqueue([JobSpec(task="t")] * 3)
    mishap(tmp_path)
    before = {path: path.stat().st_size for path in tmp_path.rglob("jobs.db*")}
    for _ in range(3):
        with pytest.raises(DatabaseGone, match=r"jobs\.db was (replaced|moved or deleted)"):
            engine.enqueue([JobSpec(task="t")])
    assert {path: path.stat().st_size for path in tmp_path.rglob("jobs.db*")} == before
    engine.close()
    (job,) = engine.enqueue([JobSpec(task="t")])
    assert engine.fetch(job).task == "t"


def test_a_producer_notices_within_a_second_that_its_log_is_gone(
    engine: SqliteEngine, tmp_path: Path, wait_until: WaitUntil
) -> None:
    engine.enqueue([JobSpec(task="t")])
    delete_the_log(tmp_path)

    def refused() -> bool:
        try:
            engine.enqueue([JobSpec(task="t")])
        except DatabaseGone as error:
            return "jobs.db-wal was moved or deleted" in str(error)
        return False

    wait_until(refused, seconds=5, why="it is noticed")
    with pytest.raises(DatabaseGone):
        engine.enqueue([JobSpec(task="t")])


def test_waiting_for_a_result_ends_with_the_file(engine: SqliteEngine, tmp_path: Path) -> None:
    (job,) = engine.enqueue([JobSpec(task="t")])
    delete(tmp_path)
    with pytest.raises(DatabaseGone):
        engine.wait(job, 20)


@pytest.mark.parametrize("mishap", MISHAPS)
def test_a_worker_stops_with_one_line(
    worker: StartWorker, jobs: Any, tmp_path: Path, mishap: Callable[[Path], None]
) -> None:
    """And what it ran is killed: the jobs of the file it lost belong to whoever finds it."""
    running = worker("--concurrency", "1")
    handle = jobs.nap.delay(60)
    running.wait_for_run(handle.id)
    mishap(tmp_path)
    assert running.wait(5) == 1
    lines = [line for line in running.words().splitlines() if not line.startswith("{")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("bgworker: ")
    assert "while it was in use" in lines[0] or "was removed" in lines[0]
    assert not running.marked.alive()


def test_a_file_that_was_moved_and_is_used_at_its_new_place_has_lost_nothing(
    worker: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    running = worker("--concurrency", "1")
    handle = jobs.nap.delay(60)
    waiting = [jobs.add.delay(n, n) for n in range(3)]
    running.wait_for_run(handle.id)
    move(tmp_path)
    assert running.wait(5) == 1
    engine = SqliteEngine(str(tmp_path / "elsewhere" / "jobs.db"))
    assert engine.fetch(handle.id).state.value == "running"
    assert [engine.fetch(job.id).state.value for job in waiting] == ["queued"] * 3
    from bgworker.testing.hooks import join

    seat = join(engine)
    claims = engine.exchange(seat, [], 9).claims
    assert [claim.id for claim in claims] == [handle.id, *(job.id for job in waiting)]
    engine.close()
    assert not os.path.exists(tmp_path / "jobs.db")
