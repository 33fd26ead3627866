"""Storing jobs: the statements behind ``delay`` and ``map``."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from bgworker.engines.sqlite.dependents import block, numbers
from bgworker.engines.sqlite.ledger import Ledger
from bgworker.engines.sqlite.queries import SQL, rows_sql, several
from bgworker.model import JobId, JobSpec, Millis, with_results
from bgworker.states import JobState
from bgworker.values import replace

Kind = tuple[Any, ...]
"""Queue, priority and state come first, then the other columns that like jobs share."""
_ROW = "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?)"


def insert(db: sqlite3.Connection, jobs: Sequence[JobSpec], now: Millis) -> list[JobId]:
    """Store all of them inside a transaction; the ids are those of the jobs that are meant."""
    ids: list[int] = []
    if len(jobs) == 1 and jobs[0].is_plain:  # the usual case: two statements
        kind = _kind(jobs[0], now)
        db.execute(SQL["bump_tally"], (*kind[:3], 1))
        ids.append(_insert_one(db, kind, _args(jobs[0])))
    elif all(job.is_plain for job in jobs):
        for kind, group in groupby(jobs, lambda job: _kind(job, now)):
            ids += _insert_each(db, kind, [_args(job) for job in group])
    else:
        ledger = Ledger()
        for job in jobs:
            ids.append(_find_or_insert(db, ledger, job, ids, now))
        ledger.post(db)
    return [JobId(str(id_)) for id_ in ids]


def insert_each(
    db: sqlite3.Connection, job: JobSpec, args: Sequence[str], now: Millis
) -> list[JobId]:
    """Store one job like this for each of the arguments, inside a transaction."""
    if not job.is_plain:
        return insert(db, [replace(job, args=one) for one in args], now)
    return [JobId(str(id_)) for id_ in _insert_each(db, _kind(job, now), args)]


def _insert_each(db: sqlite3.Connection, kind: Kind, args: Sequence[str]) -> Sequence[int]:
    db.execute(SQL["bump_tally"], (*kind[:3], len(args)))
    (place,) = db.execute(SQL["last_place"]).fetchone()
    last = 0
    for some in several(args):
        sql = rows_sql("insert_jobs", _ROW, len(some))
        last = db.execute(sql, (*kind, place, *some)).lastrowid or 0
    # One writer at a time: the ids of one transaction are consecutive.
    return range(last - len(args) + 1, last + 1)


def _insert_one(db: sqlite3.Connection, kind: Kind, args: str) -> int:
    return db.execute(SQL["insert_job"], (*kind, args)).lastrowid or 0


def _find_or_insert(
    db: sqlite3.Connection, ledger: Ledger, job: JobSpec, stored: Sequence[int], now: Millis
) -> int:
    for query, key in (("idempotent_job", job.idempotency_key), ("unique_job", job.unique)):
        if key is not None:
            found = db.execute(SQL[query], (job.task, key)).fetchone()
            if found is not None:
                return int(found[0])
    kind = _kind(job, now)
    id_ = _insert_one(db, kind, _args(job))
    ledger.enter(job.queue, job.priority, JobState(kind[2]))
    if job.after:
        parents = numbers(job.after, stored)
        block(db, ledger, id_, parents, takes=job.takes, now=now)
    if job.idempotency_key is not None:
        db.execute(SQL["put_idempotency"], (job.task, job.idempotency_key, id_))
    return id_


def _kind(job: JobSpec, now: Millis) -> Kind:
    later = job.run_at is not None and job.run_at > now
    state = "blocked" if job.after else "scheduled" if later else "queued"
    run_at = job.run_at if later else now
    times = (run_at, now)
    return (job.queue, job.priority, state, job.task, *times, job.lane, job.expires_at, job.unique)


def _args(job: JobSpec) -> str:
    """Of a job after others once these have ended; otherwise there is nothing to take."""
    return job.args if job.after else with_results(job.args, job.takes, ())
