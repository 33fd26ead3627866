"""What a worker's transaction does: settle endings, make due jobs available, claim."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from bgworker.codec import dump_progress
from bgworker.engines.sqlite.claim import Claimed, claim
from bgworker.engines.sqlite.ledger import Ledger
from bgworker.engines.sqlite.queries import SQL
from bgworker.engines.sqlite.seat import SqliteSeat
from bgworker.engines.sqlite.settle import settle_all
from bgworker.engines.sqlite.store import Store
from bgworker.model import Ended, Exchange, Millis, Said, Succeeded
from bgworker.states import JobState


def exchange(
    store: Store,
    seat: SqliteSeat,
    ended: Sequence[Ended],
    want: int,
    now: Millis,
    *,
    said: Sequence[Said] = (),
    vital: bool = False,
) -> Exchange:
    """One transaction; see :meth:`bgworker.contracts.Engine.exchange`.

    A claim alone needs no flush: should a power cut undo it, the job is simply claimed again. Nor
    does progress. With ``vital`` nothing but endings is written.
    """
    try:
        return _exchange(store, seat, ended, want, now, said=said, vital=vital)
    except BaseException:
        seat.declined.forget()  # what was passed over then may have been rolled back
        raise


def _exchange(
    store: Store,
    seat: SqliteSeat,
    ended: Sequence[Ended],
    want: int,
    now: Millis,
    *,
    said: Sequence[Said],
    vital: bool,
) -> Exchange:
    ledger = Ledger()
    with store.write(durable=bool(ended), vital=vital) as db:
        if said:  # first: what ends in this transaction still runs
            _note_progress(db, said)
        stale, cancelled = settle_all(db, ledger, seat.number, ended, now) if ended else ((), ())
        store.carry(_size(ended))
        if stale:
            ledger.count("stale_writes", len(stale))
        next_due = db.execute(SQL["next_due"]).fetchone()[0]
        if next_due is not None and next_due <= now and not vital:
            _promote(db, ledger, now)
            next_due = db.execute(SQL["next_due"]).fetchone()[0]
        ledger.post(db)  # before the claim, which reads from the tallies where jobs wait
        done = claim(db, ledger, seat, want, now) if want > 0 and not vital else Claimed()
        ledger.post(db)
    due = [at for at in (next_due, done.opens_at) if at is not None]
    return Exchange(
        claims=tuple(done.claims),
        stale=tuple(stale),
        cancelled=tuple(cancelled),
        expired=tuple(done.expired),
        unblocked=ledger.unblocked,
        next_due_at=min(due, default=None),
    )


def _size(ended: Sequence[Ended]) -> int:
    """Of what is written again when jobs move to the history, and with them."""
    size = 0
    for end in ended:
        size += len(end.claim.args)
        if type(end.ending) is Succeeded:
            size += len(end.ending.result)
    return size


def _note_progress(db: sqlite3.Connection, said: Sequence[Said]) -> None:
    rows = [(dump_progress(s.progress), int(s.claim.id), s.claim.number) for s in said]
    db.executemany(SQL["put_progress"], rows)


def _promote(db: sqlite3.Connection, ledger: Ledger, now: Millis) -> None:
    """Due jobs join their queue behind those that are available already."""
    place = db.execute(SQL["last_place"]).fetchone()[0]
    due = db.execute(SQL["due"], (now,)).fetchall()
    db.executemany(SQL["promote"], [(place, id_) for id_, *_ in due])
    for _, queue, priority, state in due:
        ledger.move(queue, priority, JobState(state), JobState.QUEUED)
