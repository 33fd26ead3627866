"""What people ask of stored jobs: cancel, retry, purge. One transaction decides for all."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence

from bgworker.engines.sqlite.dependents import block, cancel_waiting, may_succeed, parents_of
from bgworker.engines.sqlite.ledger import Ledger
from bgworker.engines.sqlite.queries import SQL
from bgworker.engines.sqlite.store import Store
from bgworker.engines.sqlite.transaction import transact
from bgworker.model import Answer, JobId, Millis, job_number
from bgworker.states import JobState

_Place = tuple[int, str, int, JobState]
"""A job's number, queue, priority and state."""
_DELAYED = (JobState.SCHEDULED, JobState.RETRYING)
_WORTH_ANOTHER_TRY = (JobState.FAILED, JobState.DEAD, JobState.CANCELLED)


def cancel(
    store: Store, jobs: Sequence[JobId], error: str, now: Millis, only: Collection[JobState]
) -> Sequence[Answer]:
    """Waiting jobs end; of running ones it is noted that they are to be stopped."""

    def work(db: sqlite3.Connection) -> Sequence[_Place]:
        ledger = Ledger()
        found = _find(db, jobs)
        chosen = [job for job in found if job[-1] in only]
        cancel_waiting(db, ledger, [job[0] for job in chosen], error, now)
        ledger.post(db)
        running = [(error, id_) for id_, _, _, state in chosen if state is JobState.RUNNING]
        db.executemany(SQL["ask_to_cancel"], running)
        return found

    found = transact(store, work)
    done = {JobState.CANCELLED, *only}
    return _answers(jobs, found, {job[0] for job in found if job[-1] in done})


def retry(store: Store, jobs: Sequence[JobId], now: Millis) -> Sequence[Answer]:
    """Jobs of the history come back with all their budgets, delayed ones become due.

    In the order of their numbers: no job comes after one with a higher number.
    """
    done = set()

    def work(db: sqlite3.Connection) -> Sequence[_Place]:
        ledger = Ledger()
        place = db.execute(SQL["last_place"]).fetchone()[0]
        found = _find(db, jobs)
        for job in sorted(found):
            id_, queue, priority, state = job
            if state in _DELAYED:
                db.execute(SQL["hasten"], (place, now, id_))
                ledger.move(queue, priority, state, JobState.QUEUED)
                done.add(id_)
            elif state in _WORTH_ANOTHER_TRY and _revive(db, ledger, job, place, now):
                done.add(id_)
        ledger.post(db)
        return found

    return _answers(jobs, transact(store, work), done)


def _revive(db: sqlite3.Connection, ledger: Ledger, job: _Place, place: int, now: Millis) -> bool:
    """Bring a job back; ``False`` if a living twin or something it comes after forbids it."""
    id_, queue, priority, was = job
    parents, takes = parents_of(db, id_)
    if not all(may_succeed(db, parent) for parent in parents):
        return False
    state = JobState.BLOCKED if parents else JobState.QUEUED
    if db.execute(SQL["revive"], (state.value, place, now, id_)).rowcount != 1:
        return False  # a unique key
    db.execute(SQL["remove_from_history"], (id_,))
    ledger.move(queue, priority, was, state)
    if parents:
        block(db, ledger, id_, parents, takes=takes, now=now)
    return True


def last_job(store: Store) -> int:
    """The highest number given out so far."""
    found: int = store.read(SQL["last_place"])[0][0]
    return found


def waiting(store: Store, queue: str | None, after: int, last: int) -> Sequence[int]:
    """The next few hundred jobs that wait, with numbers above ``after`` and up to ``last``.

    Nobody is locked out while they are looked for; they may be claimed the next moment.
    """
    return [id_ for (id_,) in store.read(SQL["waiting_ids"], (after, last, queue))]


def end_waiting(store: Store, ids: Sequence[int], error: str, now: Millis) -> int:
    """End those of these jobs that wait still, and what comes after them; how many that were."""

    def work(db: sqlite3.Connection) -> int:
        ledger = Ledger()
        count = cancel_waiting(db, ledger, ids, error, now)
        ledger.post(db)
        return count

    return transact(store, work)


def pause(store: Store, queue: str, *, paused: bool) -> None:
    """Let no worker start jobs of this queue, or let them again."""

    def work(db: sqlite3.Connection) -> None:
        db.execute(SQL["pause"], (queue, int(paused)))
        db.execute(SQL["tidy_limit"], (queue,))

    transact(store, work)


def _find(db: sqlite3.Connection, jobs: Sequence[JobId]) -> Sequence[_Place]:
    """What is stored of these jobs, in the order they are named in."""
    numbers = list(dict.fromkeys(n for job in jobs if (n := job_number(job)) is not None))
    found: dict[int, _Place] = {}
    for query in ("live_states", "final_states"):
        for id_, queue, priority, state in db.execute(SQL[query], (json.dumps(numbers),)):
            found[id_] = (id_, queue, priority, JobState(state))
    return [found[number] for number in numbers if number in found]


def _answers(jobs: Sequence[JobId], found: Sequence[_Place], done: set[int]) -> Sequence[Answer]:
    states = {id_: state for id_, _, _, state in found}
    answers = []
    for job in dict.fromkeys(jobs):
        number = job_number(job)
        was = None if number is None else states.get(number)
        answers.append(Answer(id=job, was=was, done=number in done))
    return answers
