"""What a worker's transaction does: settle endings, make due jobs available, claim."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence

from bgworker.engines.sqlite.ledger import Ledger
from bgworker.engines.sqlite.queries import SQL, claim_sql
from bgworker.engines.sqlite.records import claim_of
from bgworker.engines.sqlite.seat import SqliteSeat
from bgworker.engines.sqlite.settle import settle_all
from bgworker.engines.sqlite.store import Store
from bgworker.model import Claim, Ended, Exchange, JobState, Millis

_ARMS = 100
"""Queues one claim looks at; with more waiting at once, the next claim sees the rest."""


def exchange(
    store: Store, seat: SqliteSeat, ended: Sequence[Ended], want: int, now: Millis
) -> Exchange:
    """One transaction; see :meth:`bgworker.contracts.Engine.exchange`.

    A claim alone needs no flush: should a power cut undo it, the job is simply claimed again.
    """
    ledger = Ledger()
    with store.write(durable=bool(ended)) as db:
        stale = settle_all(db, ledger, seat.number, ended, now) if ended else ()
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
    for (queue, priority), n in Counter(row[4:6] for row in rows).items():
        ledger.move(queue, priority, JobState.QUEUED, JobState.RUNNING, n)
    return tuple(claim_of(row[1:]) for row in rows)
