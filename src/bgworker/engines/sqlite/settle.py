"""Recording endings: fenced by the claim's number, each at most once."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from itertools import chain

from bgworker.engines.sqlite.dependents import parent_ended
from bgworker.engines.sqlite.enqueue import insert
from bgworker.engines.sqlite.ledger import Ledger
from bgworker.engines.sqlite.queries import SQL, rows_sql, several
from bgworker.model import Cancelled, Dead, Ended, Failed, Millis, Released, Retrying, Succeeded
from bgworker.states import JobState
from bgworker.values import dataclass

_FINAL = {
    Succeeded: JobState.SUCCEEDED,
    Failed: JobState.FAILED,
    Dead: JobState.DEAD,
    Cancelled: JobState.CANCELLED,
}
_MANY = 4
"""From this many successes on, what is held is read at once and written in two statements."""


@dataclass(slots=True)
class _Sum:
    """Successes of one queue and priority."""

    jobs: int = 0
    runs: int = 0
    run_ms: Millis = 0
    last: Millis = 0

    def add(self, started_at: Millis | None, finished_at: Millis) -> None:
        self.jobs += 1
        self.last = max(self.last, finished_at)
        if started_at is not None:
            self.runs += 1
            self.run_ms += max(0, finished_at - started_at)

    def book(self, ledger: Ledger, queue: str, priority: int) -> None:
        ledger.move(queue, priority, JobState.RUNNING, JobState.SUCCEEDED, self.jobs)
        ledger.ran(queue, self.run_ms, self.runs)
        ledger.ended(queue, JobState.SUCCEEDED, self.last, self.jobs)


def settle_all(
    db: sqlite3.Connection, ledger: Ledger, worker: int, ended: Sequence[Ended], now: Millis
) -> tuple[list[Ended], list[Ended]]:
    """Record them all.

    Returns those whose claim is no longer held, for which nothing changes, and those of jobs that
    ended as cancelled.
    """
    if sum(isinstance(end.ending, Succeeded) for end in ended) >= _MANY:
        ended = _settle_successes(db, ledger, worker, ended, now)
    stale, cancelled = [], []
    for end in ended:
        state = settle(db, ledger, end, now)
        if state is None:
            stale.append(end)
        elif state is JobState.CANCELLED:
            cancelled.append(end)
    return stale, cancelled


def _settle_successes(
    db: sqlite3.Connection, ledger: Ledger, worker: int, ended: Sequence[Ended], now: Millis
) -> list[Ended]:
    """Record the successes of claims that are held and stay held; returns all that is left."""
    # Nobody else writes until this transaction ends, so what is held now stays held.
    asked = json.dumps([int(end.claim.id) for end in ended]), worker
    held = {(id_, number): linked for id_, number, linked in db.execute(SQL["held"], asked)}
    left, rows, thens = [], [], []
    sums: dict[tuple[str, int], _Sum] = {}
    for end in ended:
        claim, ending = end.claim, end.ending
        key = (int(claim.id), claim.number)
        # Popped: an ending is recorded once, however often it is told.
        if not isinstance(ending, Succeeded) or held.pop(key, True):  # not held, or others follow
            left.append(end)
            continue
        started_at, finished_at = end.started_at, end.finished_at or now
        rows.append((key[0], started_at, finished_at, ending.result))
        if end.then is not None:
            thens.append(end.then)
        place = (claim.queue, claim.priority)
        found = sums.get(place)
        if found is None:
            found = sums[place] = _Sum()
        found.add(started_at, finished_at)
    for some in several(rows):
        db.execute(rows_sql("archive_held", "(?, ?, ?, ?)", len(some)), list(chain(*some)))
    db.execute(SQL["remove_held"], (json.dumps([row[0] for row in rows]),))
    if thens:
        insert(db, thens, now)
    for (queue, priority), found in sums.items():
        found.book(ledger, queue, priority)
    return left


def settle(db: sqlite3.Connection, ledger: Ledger, end: Ended, now: Millis) -> JobState | None:
    """Record one ending: where it led, ``None`` if the claim is no longer held.

    Only the first statement is usually run. When it finds no such claim, the job may be one whose
    cancellation was asked for, which then is its ending.
    """
    state, held = _settle_as_told(db, ledger, end, now)
    if held and end.then is not None:
        insert(db, [end.then], now)
    if not held:
        state, held = JobState.CANCELLED, _archive_cancelled(db, ledger, end, now)
    if not held:
        return None
    _book(ledger, end, state, now)
    return state


def _settle_as_told(
    db: sqlite3.Connection, ledger: Ledger, end: Ended, now: Millis
) -> tuple[JobState, bool]:
    claim, ending = end.claim, end.ending
    fence = (int(claim.id), claim.number)
    if isinstance(ending, Succeeded | Failed | Dead | Cancelled):
        state = _FINAL[type(ending)]
        return state, _archive(db, ledger, end, state, now)
    if isinstance(ending, Retrying):
        budget = (0, 1) if ending.crashed else (1, 0)
        row = (ending.run_at, ending.error, *budget, *fence)
        return JobState.RETRYING, db.execute(SQL["retry"], row).rowcount == 1
    return JobState.QUEUED, db.execute(SQL["release"], fence).rowcount == 1


def _archive_cancelled(db: sqlite3.Connection, ledger: Ledger, end: Ended, now: Millis) -> bool:
    run = (end.started_at, end.finished_at or now)
    not_run = int(isinstance(end.ending, Released))
    row = (*run, not_run, int(end.claim.id), end.claim.number)
    if db.execute(SQL["archive_cancelled"], row).rowcount != 1:
        return False
    _remove(db, ledger, int(end.claim.id), JobState.CANCELLED, now)
    return True


def _archive(
    db: sqlite3.Connection, ledger: Ledger, end: Ended, state: JobState, now: Millis
) -> bool:
    ending, claim = end.ending, end.claim
    result = ending.result if isinstance(ending, Succeeded) else None
    error = ending.error if isinstance(ending, Failed | Dead | Cancelled) else None
    crashes = int(isinstance(ending, Dead) and ending.crashed)
    run = (end.started_at, end.finished_at or now)
    row = (state.value, *run, crashes, result, error, int(claim.id), claim.number)
    if db.execute(SQL["archive"], row).rowcount != 1:
        return False
    _remove(db, ledger, int(claim.id), state, now)
    return True


def _remove(db: sqlite3.Connection, ledger: Ledger, job: int, state: JobState, now: Millis) -> None:
    (linked,) = db.execute(SQL["remove"], (job,)).fetchall()[0]
    if linked:
        parent_ended(db, ledger, job, state, now)


def _book(ledger: Ledger, end: Ended, state: JobState, now: Millis) -> None:
    claim = end.claim
    ledger.move(claim.queue, claim.priority, JobState.RUNNING, state)
    if end.started_at is not None and end.finished_at is not None:
        ledger.ran(claim.queue, max(0, end.finished_at - end.started_at))
    if state.is_final:
        ledger.ended(claim.queue, state, end.finished_at or now)
    elif state is JobState.RETRYING:
        ledger.retried(claim.queue)
