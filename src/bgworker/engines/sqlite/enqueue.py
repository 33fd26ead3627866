"""Storing jobs: the statements behind ``delay`` and ``map``."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bgworker.engines.sqlite.dependents import block, numbers
from bgworker.engines.sqlite.ledger import Ledger
from bgworker.engines.sqlite.queries import SQL
from bgworker.model import JobId, JobSpec, Millis, with_results
from bgworker.states import JobState

Row = tuple[Any, ...]


def insert(db: sqlite3.Connection, jobs: Sequence[JobSpec], now: Millis) -> list[JobId]:
    """Store all of them inside a transaction; the ids are those of the jobs that are meant."""
    if all(job.is_plain for job in jobs):
        rows = [_row(job, now) for job in jobs]
        _count(db, rows)
        return _insert_plain(db, rows)
    ids: list[int] = []
    ledger = Ledger()
    for job in jobs:
        ids.append(_find_or_insert(db, ledger, job, ids, now))
    ledger.post(db)
    return [JobId(str(id_)) for id_ in ids]


def _insert_plain(db: sqlite3.Connection, rows: list[Row]) -> list[JobId]:
    if len(rows) == 1:
        return [JobId(str(_insert_row(db, rows[0])))]
    # A statement of its own kind for jobs without options: bound NULLs take their time too.
    if any(row[7:] != _NOTHING for row in rows):
        db.executemany(SQL["insert_job_with"], rows)
    else:
        db.executemany(SQL["insert_job"], [row[:7] for row in rows])
    (last,) = db.execute(SQL["last_insert"]).fetchone()
    # One writer at a time: the ids of one transaction are consecutive.
    return [JobId(str(id_)) for id_ in range(last - len(rows) + 1, last + 1)]


_NOTHING = (None, None, None)


def _insert_row(db: sqlite3.Connection, row: Row) -> int:
    if row[7:] == _NOTHING:
        return db.execute(SQL["insert_job"], row[:7]).lastrowid or 0
    return db.execute(SQL["insert_job_with"], row).lastrowid or 0


def _find_or_insert(
    db: sqlite3.Connection, ledger: Ledger, job: JobSpec, stored: Sequence[int], now: Millis
) -> int:
    for query, key in (("idempotent_job", job.idempotency_key), ("unique_job", job.unique)):
        if key is not None:
            found = db.execute(SQL[query], (job.task, key)).fetchone()
            if found is not None:
                return int(found[0])
    row = _row(job, now)
    id_ = _insert_row(db, row)
    ledger.enter(job.queue, job.priority, JobState(row[2]))
    if job.after:
        parents = numbers(job.after, stored)
        block(db, ledger, id_, parents, takes=job.takes, now=now)
    if job.idempotency_key is not None:
        db.execute(SQL["put_idempotency"], (job.task, job.idempotency_key, id_))
    return id_


def _row(job: JobSpec, now: Millis) -> Row:
    """The parameters of ``insert_job_with``; queue, priority and state come first."""
    later = job.run_at is not None and job.run_at > now
    state = "blocked" if job.after else "scheduled" if later else "queued"
    args = job.args if job.after else with_results(job.args, job.takes, ())
    run_at = job.run_at if later else now
    plain = (job.queue, job.priority, state, job.task, run_at, now, args)
    return (*plain, job.lane, job.expires_at, job.unique)


def _count(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Tell the tallies; one job, the usual case, without the detour over sums."""
    if len(rows) == 1:
        db.execute(SQL["bump_tally"], (*rows[0][:3], 1))
        return
    sums = Counter(row[:3] for row in rows)
    db.executemany(SQL["bump_tally"], [(*key, n) for key, n in sums.items()])
