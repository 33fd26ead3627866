"""Taking jobs back: from workers that are proved dead, and from one that leaves."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence

from bgworker.callbacks import after_failure
from bgworker.codec import dump_error
from bgworker.engines.sqlite import schedules
from bgworker.engines.sqlite.ledger import Ledger
from bgworker.engines.sqlite.locks import QueueFiles, is_dead
from bgworker.engines.sqlite.queries import SQL
from bgworker.engines.sqlite.records import claim_of
from bgworker.engines.sqlite.seat import SqliteSeat, remove_traces
from bgworker.engines.sqlite.settle import settle
from bgworker.engines.sqlite.store import Store
from bgworker.listing import Listing
from bgworker.model import CRASH_BUDGET, Claim, Dead, Ended, Millis, Released, Rescued
from bgworker.scoreboard import Board, read_board
from bgworker.states import JobState


def rescue_dead(store: Store, locks: Listing, seat: SqliteSeat, now: Millis) -> Sequence[Rescued]:
    """Find workers whose lock is free, and return what they held to the queues.

    Only the directory of locks is looked at; no table is read while everybody lives. Two rescuers
    do no harm: every move is fenced.
    """
    rescued: list[Rescued] = []
    files = store.files
    for file in locks.names():
        worker = file.removesuffix(".lock")
        if worker not in {file, seat.name} and is_dead(files.life(worker)):
            rescued += _rescue(store, files, worker, now)
    return rescued


def rescue_traceless(store: Store, files: QueueFiles, seat: SqliteSeat, now: Millis) -> None:
    """The same for workers whose files were removed: known only from their rows."""
    for (worker,) in store.read(SQL["unfinished_workers"], (seat.number,)):
        if not os.path.exists(files.life(worker)):
            _rescue(store, files, worker, now)


def _rescue(store: Store, files: QueueFiles, worker: str, now: Millis) -> Sequence[Rescued]:
    """Take everything from a dead worker.

    A job that its scoreboard shows as running is charged with a crash; what was only prefetched
    goes back unburnt.
    """
    board = read_board(files.life(worker))
    ledger = Ledger()
    taken: list[Rescued] = []
    with store.write() as db:
        found = db.execute(SQL["unfinished_worker"], (worker,)).fetchone()
        if found is not None:
            taken = _take_back(db, ledger, found[0], worker=worker, board=board, now=now)
            _note_end(db, found[0], board, now, dead=True)
            schedules.retire(db, files)
        if taken:
            ledger.count("rescued", len(taken))
        ledger.post(db)
    remove_traces(files, worker)
    return taken


def give_back(store: Store, seat: SqliteSeat, now: Millis, *, vital: bool = False) -> None:
    """Everything this worker still claims returns to its queue, nothing is charged."""
    ledger = Ledger()
    with store.write(vital=vital) as db:
        for row in db.execute(SQL["owned"], (seat.number,)).fetchall():
            settle(db, ledger, Ended(claim_of(row), Released()), now)
        _note_end(db, seat.number, read_board(seat.life.path), now, dead=False)
        schedules.retire(db, store.files)
        ledger.post(db)


def _take_back(
    db: sqlite3.Connection,
    ledger: Ledger,
    number: int,
    *,
    worker: str,
    board: Board | None,
    now: Millis,
) -> list[Rescued]:
    running = {(slot.job, slot.claim) for slot in board.running} if board else set()
    taken = []
    for row in db.execute(SQL["owned"], (number,)).fetchall():
        claim = claim_of(row)
        was_running = (int(claim.id), claim.number) in running
        error = dump_error("WorkerLost", f"the worker {worker} died while it ran this job")
        state: JobState | None = JobState.QUEUED
        if not was_running:
            state = settle(db, ledger, Ended(claim, Released()), now)
        elif claim.crashes + 1 >= CRASH_BUDGET or not _requeue(db, ledger, claim, error):
            state = settle(db, ledger, _dead(db, claim, error), now)
        if state is None:
            continue
        taken.append(
            Rescued(
                id=claim.id, task=claim.task, worker=worker, was_running=was_running, state=state
            )
        )
    return taken


def _requeue(db: sqlite3.Connection, ledger: Ledger, claim: Claim, error: str) -> bool:
    """Charge a crash; ``False`` if somebody asked for the job's cancellation."""
    row = (error, int(claim.id), claim.number)
    if db.execute(SQL["requeue_crashed"], row).rowcount != 1:
        return False
    ledger.move(claim.queue, claim.priority, JobState.RUNNING, JobState.QUEUED)
    return True


def _dead(db: sqlite3.Connection, claim: Claim, error: str) -> Ended:
    ending = Dead(error, crashed=True)
    found = db.execute(SQL["get_on_failure"], (claim.task,)).fetchone()
    return Ended(claim, ending, then=after_failure(found[0], claim, ending) if found else None)


def _note_end(
    db: sqlite3.Connection, number: int, board: Board | None, now: Millis, *, dead: bool
) -> None:
    counts = (board.processed, board.failed) if board else (0, 0)
    db.execute(SQL["left"], (now, int(dead), *counts, number))
