"""Jobs stored in a transaction of the application's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bgworker.engines.sqlite import SqliteEngine
from bgworker.errors import UnknownJob, UnusableDatabase
from bgworker.model import JobSpec, WorkerProfile
from bgworker.states import JobState


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "app.db")


@pytest.fixture
def engine(path: str) -> Iterator[SqliteEngine]:
    """On a file that is an application's too."""
    with closing(SqliteEngine(path)) as engine:
        engine.enqueue([JobSpec(task="first")])
        yield engine


@pytest.fixture
def own(engine: SqliteEngine, path: str) -> Iterator[sqlite3.Connection]:
    """The application's connection, with a table of its own, and rows as it likes them."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0.1)) as own:
        own.execute("CREATE TABLE account (balance INTEGER)")
        own.row_factory = lambda _, row: {"row": row}
        own.text_factory = bytes
        yield own


def states(path: str) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as db:
        rows: list[Any] = db.execute(
            "SELECT state, sum(n) FROM bgworker_tally WHERE n > 0 GROUP BY state"
        ).fetchall()
        assert (
            sum(n for _, n in rows) == db.execute("SELECT count(*) FROM bgworker_job").fetchone()[0]
        )
        return dict(rows)


def test_a_job_is_there_if_and_only_if_the_caller_commits(
    engine: SqliteEngine, own: sqlite3.Connection, path: str
) -> None:
    for ending in ("ROLLBACK", "COMMIT"):
        own.execute("BEGIN")
        own.execute("INSERT INTO account VALUES (1)")
        (job,) = engine.enqueue_in(own, [JobSpec(task="t", idempotency_key="k")])
        assert engine.find("t", "k") is None, "nobody sees it before the commit"
        own.execute(ending)

    assert engine.fetch(job).state is JobState.QUEUED
    assert states(path) == {"queued": 2}
    assert own.execute("SELECT count(*) FROM account").fetchone() == {"row": (1,)}
    assert own.text_factory is bytes


def test_a_worker_waits_for_the_callers_commit_without_being_stuck(
    engine: SqliteEngine, own: sqlite3.Connection, path: str
) -> None:
    """It holds SQLite's lock but not ours: another writer gives up in time, and gets its turn."""
    with closing(SqliteEngine(path)) as workers:
        seat = workers.join(WorkerProfile(name="w", host="h", pid=1, concurrency=1), [])
        own.execute("BEGIN")
        engine.enqueue_in(own, [JobSpec(task="t")])
        with pytest.raises(Exception, match="locked"):
            workers.exchange(seat, (), 2)
        seat.silence()
        own.execute("COMMIT")
        engine.ring()

        assert seat in _readable(seat)
        assert [claim.task for claim in workers.exchange(seat, (), 2).claims] == ["first", "t"]
        workers.leave(seat)


def _readable(seat: Any) -> list[Any]:
    import select

    return select.select([seat], [], [], 5)[0]


def test_all_are_stored_or_none_and_the_callers_own_writes_stay(
    engine: SqliteEngine, own: sqlite3.Connection, path: str
) -> None:
    own.execute("BEGIN")
    own.execute("INSERT INTO account VALUES (1)")
    with pytest.raises(UnknownJob):
        engine.enqueue_in(own, [JobSpec(task="t"), JobSpec(task="t", after=("99",))])  # type: ignore[arg-type]
    own.execute("COMMIT")

    assert states(path) == {"queued": 1}
    assert own.execute("SELECT count(*) FROM account").fetchone() == {"row": (1,)}


def test_what_cannot_be_right_is_refused(
    engine: SqliteEngine, own: sqlite3.Connection, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="in no transaction"):
        engine.enqueue_in(own, [JobSpec(task="t")])
    with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as other:
        other.execute("BEGIN")
        with pytest.raises(ValueError, match="not to"):
            engine.enqueue_in(other, [JobSpec(task="t")])
        with (
            closing(SqliteEngine(str(tmp_path / "other.db"))) as elsewhere,
            pytest.raises(UnusableDatabase, match="no queue yet"),
        ):
            elsewhere.enqueue_in(other, [JobSpec(task="t")])
