"""Jobs that a worker passes over are read once, not at every claim."""

from __future__ import annotations

import sqlite3

from bgworker.engines.sqlite.declined import Declined
from bgworker.engines.sqlite.migrate import migrate

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
