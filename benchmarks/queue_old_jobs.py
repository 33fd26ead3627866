"""A queue with a past and a future: millions of ended and delayed jobs, made by SQL."""

from __future__ import annotations

import contextlib
import sqlite3
import time

from bgworker.codec import dump_error
from bgworker.engines.sqlite.engine import SqliteEngine
from bgworker.states import JobState

DAY = 86_400_000  # ms
_NUMBERS = "WITH RECURSIVE number (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < ?)"
_ENDED = f"""
INSERT INTO bgworker_history (id, task, queue, priority, state, run_at, enqueued_at, started_at,
                              finished_at, attempts, retries, crashes, claim, args, result, error)
{_NUMBERS}
SELECT i, 'noop', 'default', 5, iif(i % 100, 'succeeded', 'failed'), ? + i, ? + i, ? + i, ? + i,
       1, 0, 0, 1, '[[1],{{}}]', iif(i % 100, '1', NULL), iif(i % 100, NULL, ?) FROM number
"""
_DELAYED = f"""
INSERT INTO bgworker_job (id, task, queue, priority, state, place, run_at, enqueued_at, args)
{_NUMBERS}
SELECT ? + i, 'noop', 'default', 5, 'scheduled', ?, ? + i, ?, '[[1],{{}}]' FROM number
"""
_TALLIES = """
INSERT INTO bgworker_tally (queue, priority, state, n)
SELECT queue, priority, state, count(*) FROM {table} GROUP BY queue, priority, state
"""
_TOTALS = """
INSERT INTO bgworker_queue (name, succeeded, failed, runs, last_ended_at)
SELECT queue, sum(state = 'succeeded'), sum(state = 'failed'), count(*), max(finished_at)
FROM bgworker_history GROUP BY queue
"""


def now() -> int:
    """Ms of UTC."""
    return time.time_ns() // 1_000_000


def make(path: str, *, ended: int = 0, days_ago: int = 1, delayed: int = 0) -> None:
    """A new file. The last job ended ``days_ago``, a ms after the one before; one in 100 failed."""
    engine = SqliteEngine(path)
    engine.find("noop", "")  # whatever first opens the file makes its tables
    engine.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        # Nobody else is here and nothing would be lost: no log, no flush.
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -200000")
        db.execute("BEGIN")
        if ended:
            first = now() - days_ago * DAY - ended
            error = dump_error("ValueError", "no")
            db.execute(_ENDED, (ended, first, first, first, first, error))
        if delayed:
            db.execute(_DELAYED, (delayed, ended, ended, now() + DAY, now()))
        elif ended:  # ids go on from here
            db.execute("INSERT INTO sqlite_sequence VALUES ('bgworker_job', ?)", (ended,))
        for table in ("bgworker_history", "bgworker_job"):
            db.execute(_TALLIES.format(table=table))
        db.execute(_TOTALS)
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = WAL")


LIVE = (JobState.QUEUED, JobState.RUNNING, JobState.SCHEDULED, JobState.RETRYING)
