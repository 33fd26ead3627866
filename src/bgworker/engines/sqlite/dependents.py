"""Jobs that come after others: linked when stored, let go or cancelled when a parent has ended."""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Sequence

from bgworker.codec import dump_error
from bgworker.engines.sqlite.ledger import Ledger
from bgworker.engines.sqlite.queries import SQL
from bgworker.errors import UnknownJob
from bgworker.model import PAYLOAD_CAP, RESULTS_TOO_LARGE, Millis, Takes, job_number, with_results
from bgworker.states import JobState


def block(
    db: sqlite3.Connection,
    ledger: Ledger,
    child: int,
    parents: Sequence[int],
    *,
    takes: Takes,
    now: Millis,
) -> None:
    """Let a job that was just stored wait for its parents, of which some may have ended.

    The caller has counted it as blocked.

    Raises:
        UnknownJob: there is no such parent.
    """
    ended: dict[int, JobState] = {}
    for place, parent in enumerate(parents):
        state = _state_of(db, parent)
        if state is None:
            raise UnknownJob(f"no job '{parent}' to come after: nothing was stored")
        db.execute(SQL["link"], (parent, child, place))
        if state.is_final:
            ended[parent] = state
        else:
            db.execute(SQL["mark_linked"], (parent,))
    db.execute(SQL["block"], (len(set(parents)), takes.value, child))
    for parent, state in ended.items():
        if state is not JobState.SUCCEEDED:
            cancel_waiting(db, ledger, [child], _parent_failed(parent, state), now)
            return
    for _ in ended:
        _let_go(db, ledger, child, now)


def parent_ended(
    db: sqlite3.Connection, ledger: Ledger, parent: int, state: JobState, now: Millis
) -> None:
    """Let the children of a job go, or cancel them and everything after them."""
    children = [child for (child,) in db.execute(SQL["children"], (parent,)).fetchall()]
    if state is JobState.SUCCEEDED:
        for child in children:
            _let_go(db, ledger, child, now)
    else:
        cancel_waiting(db, ledger, children, _parent_failed(parent, state), now)


def parents_of(db: sqlite3.Connection, job: int) -> tuple[list[int], Takes]:
    """What a job came after that was cancelled before it could run, and what it was to take."""
    parents, takes = db.execute(SQL["came_after"], (job,)).fetchone()
    return (json.loads(parents), Takes(takes)) if parents else ([], Takes.NOTHING)


def may_succeed(db: sqlite3.Connection, job: int) -> bool:
    """Whether a job is alive, or has succeeded: whether it makes sense to come after it."""
    state = _state_of(db, job)
    return state is JobState.SUCCEEDED or (state is not None and not state.is_final)


def _state_of(db: sqlite3.Connection, job: int) -> JobState | None:
    for query in ("state_of", "final_state_of"):
        found = db.execute(SQL[query], (job,)).fetchone()
        if found is not None:
            return JobState(found[0])
    return None


def _let_go(db: sqlite3.Connection, ledger: Ledger, child: int, now: Millis) -> None:
    """One parent less to wait for."""
    found = db.execute(SQL["one_less"], (child,)).fetchall()
    if not found or found[0][0] > 0:
        return
    _, queue, priority, run_at, takes, args = found[0]
    results = [result for (result,) in db.execute(SQL["results_for"], (child,))]
    args = with_results(args, Takes(takes), results)
    if len(args) > PAYLOAD_CAP:
        cancel_waiting(db, ledger, [child], RESULTS_TOO_LARGE, now)
        return
    later = run_at > now
    state = JobState.SCHEDULED if later else JobState.QUEUED
    (place,) = db.execute(SQL["last_place"]).fetchone()
    db.execute(SQL["unblock"], (state.value, run_at if later else now, args, place, child))
    db.execute(SQL["unlink"], (child,))
    ledger.move(queue, priority, JobState.BLOCKED, state)
    ledger.unblocked += not later


def cancel_waiting(
    db: sqlite3.Connection, ledger: Ledger, jobs: Sequence[int], error: str, now: Millis
) -> int:
    """Cancel those of these jobs that wait, and everything after them, level by level.

    How many that were.
    """
    waiting = deque((job, error) for job in jobs)
    count = 0
    while waiting:
        job, why = waiting.popleft()
        found = db.execute(SQL["waiting_job"], (job,)).fetchone()
        if found is None:  # it came after several that failed
            continue
        queue, priority, state = found
        below = db.execute(SQL["children"], (job,)).fetchall()
        db.execute(SQL["archive_waiting"], (now, why, job))
        db.execute(SQL["remove"], (job,)).fetchall()
        db.execute(SQL["unlink"], (job,))
        ledger.move(queue, priority, JobState(state), JobState.CANCELLED)
        ledger.ended(queue, JobState.CANCELLED, now)
        count += 1
        because = _parent_failed(job, JobState.CANCELLED)
        waiting.extend((child, because) for (child,) in below)
    return count


def _parent_failed(parent: int, state: JobState) -> str:
    return dump_error("ParentFailed", f"job {parent}, which it comes after, is {state.value}")


def numbers(parents: Sequence[str | int], stored: Sequence[int]) -> list[int]:
    """Ids and places in the same call as numbers, in their order."""
    found = []
    for parent in parents:
        number = stored[parent] if isinstance(parent, int) else job_number(parent)
        if number is None:
            raise UnknownJob(f"no job {parent!r} to come after: nothing was stored")
        found.append(number)
    return found
