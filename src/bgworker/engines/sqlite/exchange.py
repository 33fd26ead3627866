"""What a worker's transaction does: settle endings, make due jobs available, claim."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from bgworker.engines.sqlite.ledger import Ledger
from bgworker.engines.sqlite.queries import SQL, claim_sql
from bgworker.engines.sqlite.records import claim_of
from bgworker.engines.sqlite.seat import SqliteSeat
from bgworker.engines.sqlite.store import Store
from bgworker.model import (
    Claim,
    Dead,
    Ended,
    Exchange,
    Failed,
    JobState,
    Millis,
    Released,
    Retrying,
    Succeeded,
)

_ARMS = 100
"""Queues one claim looks at; with more waiting at once, the next claim sees the rest."""
_FINAL = {Succeeded: JobState.SUCCEEDED, Failed: JobState.FAILED, Dead: JobState.DEAD}


def exchange(
    store: Store, seat: SqliteSeat, ended: Sequence[Ended], want: int, now: Millis
) -> Exchange:
    """One transaction; see :meth:`bgworker.contracts.Engine.exchange`.

    A claim alone needs no flush: should a power cut undo it, the job is simply claimed again.
    """
    ledger = Ledger()
    with store.write(durable=bool(ended)) as db:
        stale = [end for end in ended if not settle(db, ledger, end, now)]
        if stale:
            ledger.count("stale_writes", len(stale))
        next_due = db.execute(SQL["next_due"]).fetchone()[0]
        if next_due is not None and next_due <= now:
            _promote(db, ledger, now)
            next_due = db.execute(SQL["next_due"]).fetchone()[0]
        ledger.post(db)  # before the claim, which reads from the tallies where jobs wait
        claims = _claim(db, ledger, seat, want) if want > 0 else ()
        ledger.post(db)
    return Exchange(claims=claims, stale=tuple(stale), next_due_at=next_due)


def settle(db: sqlite3.Connection, ledger: Ledger, end: Ended, now: Millis) -> bool:
    """Record one ending; ``False`` if the claim is no longer held: then nothing changes."""
    claim, ending = end.claim, end.ending
    fence = (int(claim.id), claim.number)
    if isinstance(ending, Succeeded | Failed | Dead):
        state = _FINAL[type(ending)]
        held = _archive(db, end, state, now)
    elif isinstance(ending, Retrying):
        state = JobState.RETRYING
        budget = (0, 1) if ending.crashed else (1, 0)
        row = (ending.run_at, ending.error, *budget, *fence)
        held = db.execute(SQL["retry"], row).rowcount == 1
    elif ending.run_at is None:
        state = JobState.QUEUED
        held = db.execute(SQL["release"], fence).rowcount == 1
    else:
        state = JobState.SCHEDULED
        held = db.execute(SQL["park"], (ending.run_at, *fence)).rowcount == 1
    if held:
        _book(ledger, end, state, now)
    return held


def _archive(db: sqlite3.Connection, end: Ended, state: JobState, now: Millis) -> bool:
    ending, claim = end.ending, end.claim
    result = ending.result if isinstance(ending, Succeeded) else None
    error = ending.error if isinstance(ending, Failed | Dead) else None
    crashes = int(isinstance(ending, Dead) and ending.crashed)
    run = (end.started_at, end.finished_at or now)
    row = (state.value, *run, crashes, result, error, int(claim.id), claim.number)
    if db.execute(SQL["archive"], row).rowcount != 1:
        return False
    db.execute(SQL["remove"], (int(claim.id),))
    return True


def _book(ledger: Ledger, end: Ended, state: JobState, now: Millis) -> None:
    claim = end.claim
    ledger.move(claim.queue, claim.priority, JobState.RUNNING, state)
    if isinstance(end.ending, Released):
        return
    ledger.ran(claim.queue, end.started_at, end.finished_at)
    if state.is_final:
        ledger.ended(claim.queue, state, end.finished_at or now)
    else:
        ledger.retried(claim.queue)


def _promote(db: sqlite3.Connection, ledger: Ledger, now: Millis) -> None:
    """Due jobs join their queue behind those that are available already."""
    place = db.execute(SQL["last_place"]).fetchone()[0]
    due = db.execute(SQL["due"], (now,)).fetchall()
    db.executemany(SQL["promote"], [(place, id_) for id_, *_ in due])
    for _, queue, priority, state in due:
        ledger.move(queue, priority, JobState(state), JobState.QUEUED)


def _claim(
    db: sqlite3.Connection, ledger: Ledger, seat: SqliteSeat, want: int
) -> tuple[Claim, ...]:
    queues = seat.queues or [name for (name,) in db.execute(SQL["busy_queues"])]
    if not queues:
        return ()
    arms = queues[:_ARMS]
    rows = db.execute(claim_sql(len(arms)), (seat.number, *arms, want)).fetchall()
    # RETURNING promises no order; sort by what the claim chose by: priority, place, id.
    rows.sort(key=lambda row: (row[5], row[0], row[1]))
    for row in rows:
        ledger.move(row[4], row[5], JobState.QUEUED, JobState.RUNNING)
    return tuple(claim_of(row[1:]) for row in rows)
