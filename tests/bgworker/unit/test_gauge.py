"""How full the log is, on real logs of SQLite."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bgworker import BgWorker
from bgworker.engines.sqlite.gauge import Gauge

LIMIT = 256 * 1024


@pytest.fixture(params=[512, 1024, 4096, 65536])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    found = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    for pragma in (f"page_size = {request.param}", "journal_mode = WAL", "wal_autocheckpoint = 0"):
        found.execute(f"PRAGMA {pragma}").fetchall()
    found.execute("CREATE TABLE t (x)")
    yield found
    found.close()


@pytest.fixture
def gauge(tmp_path: Path) -> Iterator[Gauge]:
    with closing(Gauge(str(tmp_path / "x.db-wal"))) as found:
        yield found


def fill(db: sqlite3.Connection, gauge: Gauge) -> int:
    """Write until the limit is reached; the length of the log then."""
    for _ in range(10_000):
        if gauge.reaches(LIMIT):
            break
        db.execute("INSERT INTO t VALUES (zeroblob(100))")
    (log,) = (row[2] for row in db.execute("PRAGMA database_list"))
    return os.stat(f"{log}-wal").st_size


def test_a_log_is_full_when_so_many_bytes_are_in_it(db: sqlite3.Connection, gauge: Gauge) -> None:
    size = fill(db, gauge)

    assert LIMIT <= size <= LIMIT + 8 * 65_560
    assert not gauge.reaches(size + 65_560)


def test_a_log_that_was_begun_anew_is_not_full_however_long_it_is(
    db: sqlite3.Connection, gauge: Gauge
) -> None:
    size = fill(db, gauge)
    db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    db.execute("INSERT INTO t VALUES (1)")
    (log,) = (row[2] for row in db.execute("PRAGMA database_list"))

    assert os.stat(f"{log}-wal").st_size == size
    assert not gauge.reaches(LIMIT)
    assert fill(db, gauge) >= LIMIT
    assert gauge.reaches(LIMIT)


def test_no_log_is_not_full(tmp_path: Path) -> None:
    with closing(Gauge(str(tmp_path / "none"))) as gauge:
        assert not gauge.reaches(LIMIT)
        (tmp_path / "none").touch()
        assert not gauge.reaches(LIMIT)


def test_the_log_is_written_back_once_for_each_time_it_is_full(tmp_path: Path) -> None:
    """Not again and again from the first time on: its file keeps its length."""
    bg = BgWorker(f"sqlite:///{tmp_path}/jobs.db?durability=process")
    task = bg.task(name="t")(lambda: None)
    for _ in range(4000):
        task.delay()
    with open(tmp_path / "jobs.db-wal", "rb") as log:
        header = log.read(32)
    bg.close()

    turns = int.from_bytes(header[12:16], "big")
    assert 1 <= turns <= 4000 * 6000 // (4 * 1024 * 1024)
