"""Jobs that a worker passes over are read once, not at every claim."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bgworker.engines.sqlite import SqliteEngine
from bgworker.engines.sqlite.declined import Declined
from bgworker.engines.sqlite.ledger import Ledger
from bgworker.engines.sqlite.migrate import migrate
from bgworker.errors import DiskFull
from bgworker.model import Ended, JobSpec, Succeeded
from bgworker.testing.hooks import join

COLUMNS = "task, queue, priority, state, place, run_at, enqueued_at, args"
INSERT = f"INSERT INTO bgworker_job ({COLUMNS}) VALUES (?, 'q', ?, 'queued', ?, 0, 0, '')"
MANY = 20_000


def test_what_was_passed_over_is_not_read_again() -> None:
    """Counted in instructions of SQLite's machine, in steps of 100."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db, ":memory:", 0)
    db.executemany(INSERT, [("unknown", priority, n) for n in range(MANY) for priority in (1, 5)])
    db.executemany(INSERT, [("known", 5, MANY)] * 3)
    rows = [("q", 1, MANY), ("q", 5, MANY + 3)]
    db.executemany("INSERT INTO bgworker_tally VALUES (?, ?, 'queued', ?)", rows)
    declined = Declined()
    declined.replace(frozenset({"unknown"}))
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def cost() -> int:
        nonlocal steps
        steps = 0
        found = declined.others(db, "q", 2)
        assert [(priority, place) for priority, place, _ in found] == [(5, MANY)] * 2
        return steps

    db.set_progress_handler(count, 100)
    assert cost() > 2 * MANY / 100
    assert cost() < 10
    db.execute("INSERT INTO bgworker_counter VALUES ('returned', 1)")
    assert cost() > 2 * MANY / 100, "a job that came back may be anywhere"
    assert cost() < 10
    db.close()


def test_what_was_rolled_back_was_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers that were given in that transaction are given once more, to other jobs."""
    with closing(SqliteEngine(str(tmp_path / "jobs.db"), durable=False)) as engine:
        seat = join(engine)
        engine.enqueue([JobSpec(task="t")])
        (claim,) = engine.exchange(seat, [], 1).claims
        seat.decline(frozenset({"unknown"}))
        end = Ended(claim, Succeeded("1"), then=JobSpec(task="unknown"))
        post = Ledger.post

        def fail_at_the_end(ledger: Ledger, db: sqlite3.Connection) -> None:
            post(ledger, db)
            if db.execute("SELECT count(*) FROM bgworker_counter").fetchone() != (0,):
                raise sqlite3.OperationalError("database or disk is full")
            db.execute("INSERT INTO bgworker_counter VALUES ('posted', 1)")

        with monkeypatch.context() as patched:
            patched.setattr(Ledger, "post", fail_at_the_end)
            with pytest.raises(DiskFull):
                engine.exchange(seat, [end], 4)
        (ours,) = engine.enqueue([JobSpec(task="t")])
        assert [claim.id for claim in engine.exchange(seat, [], 4).claims] == [ours]
        engine.exchange(seat, [end], 0)
        engine.leave(seat)
