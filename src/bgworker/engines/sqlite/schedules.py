"""Schedules in the file: declared by workers that join, run by all that declare them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from bgworker.contracts import Fired, Tick
from bgworker.engines.sqlite.enqueue import insert
from bgworker.engines.sqlite.locks import QueueFiles, is_dead
from bgworker.engines.sqlite.queries import SQL
from bgworker.engines.sqlite.store import Store
from bgworker.model import JobId, Millis, Missed, Schedule, TaskPolicy
from bgworker.standing import (
    BATCH,
    KEPT_TICKS,
    Plan,
    Standing,
    declare,
    in_turn,
    plan_all,
    retired,
)


def declare_all(
    db: sqlite3.Connection, files: QueueFiles, worker: int, tasks: Sequence[TaskPolicy], now: Millis
) -> None:
    """Take down what a joining worker says of its schedules; disable what nobody declares."""
    if not tasks:
        return
    others = set().union(*_declared(db, files, worker))
    known = {old.task: old for old in _standings(db.execute(SQL["schedules"]).fetchall())}
    mine = {task.name for task in tasks if task.schedule is not None}
    new = [declare(task, known.get(task.name), now, awake=task.name in others) for task in tasks]
    _put(db, [one for one in new if one is not None and one is not known.get(one.task)])
    _put(db, retired(known.values(), others | mine))


def retire(db: sqlite3.Connection, files: QueueFiles) -> None:
    """After a worker has gone: disable what only it declared, if others with tasks are alive.

    When the last one goes nothing is disabled: it comes back, and what it missed is made up for.
    """
    declared = _declared(db, files, 0)
    if declared:
        known = _standings(db.execute(SQL["schedules"]).fetchall())
        _put(db, retired(known, set().union(*declared)))


def fire(
    store: Store, worker: int, mine: frozenset[str], now: Millis, ring: Callable[[], object]
) -> Fired:
    """See :meth:`bgworker.contracts.Engine.fire`; ``ring`` wakes the workers.

    What to do is planned before the transaction, so that no writer waits for a calendar. Whoever
    changes a schedule's revision first carries its plan out.
    """
    if not mine:
        return Fired()
    coming = _coming(store, mine)
    order = in_turn(coming, now, worker)
    if not order:
        return Fired(next_at=_soonest(coming))
    plans = plan_all(_standings_of(store, order), now, partial(_oldest, store))
    ticks = _carry_out(store, plans, now, ring) if plans else ()
    return Fired(ticks=ticks, next_at=_soonest(_coming(store, mine)))


def _coming(store: Store, mine: frozenset[str]) -> list[tuple[str, Millis | None, Millis]]:
    """Task, next tick and cursor of each that is enabled."""
    rows = store.read(SQL["coming_ticks"])
    return [(task, next_at, cursor) for task, next_at, cursor in rows if task in mine]


def _soonest(coming: Sequence[tuple[str, Millis | None, Millis]]) -> Millis | None:
    return min((at for _, at, _ in coming if at is not None), default=None)


def _standings_of(store: Store, tasks: Sequence[str]) -> Iterator[Standing]:
    """In this order; no more are read than are asked for, give or take a batch."""
    for first in range(0, len(tasks), BATCH):
        batch = tasks[first : first + BATCH]
        rows = {row[0]: row for row in store.read(SQL["some_schedules"], (json.dumps(batch),))}
        yield from (standing_of(rows[task]) for task in batch if task in rows)


def _carry_out(
    store: Store, plans: Sequence[Plan], now: Millis, ring: Callable[[], object]
) -> tuple[Tick, ...]:
    fired: list[tuple[Standing, Millis]] = []
    ids: list[JobId] = []
    with store.write() as db:
        for plan in plans:
            new = plan.standing
            moved = (new.cursor, new.awake_since, new.next_at, new.last_fired_at, new.revision)
            was = (new.task, new.revision - 1)
            if db.execute(SQL["move_schedule"], (*moved, *was)).rowcount == 0:
                continue  # another worker was first
            fired += [
                (new, at)
                for at in plan.ticks
                if db.execute(SQL["new_tick"], (new.task, at)).rowcount
            ]
            if plan.ticks:
                db.execute(SQL["forget_ticks"], (new.task, new.task, KEPT_TICKS))
        if fired:
            ids = insert(db, [new.job() for new, _ in fired], now)
            ring()
    store.tidy()
    return tuple(new.tick(at, id_) for (new, at), id_ in zip(fired, ids, strict=True))


def _oldest(store: Store, task: str) -> Millis | None:
    found: Millis | None = store.read(SQL["oldest_tick"], (task,))[0][0]
    return found


def _declared(db: sqlite3.Connection, files: QueueFiles, besides: int) -> list[set[str]]:
    """What each live worker that declares tasks declares as schedules."""
    rows = db.execute(SQL["declarers"], (besides,)).fetchall()
    return [set(json.loads(said)) for name, said in rows if not is_dead(files.life(name))]


def _put(db: sqlite3.Connection, standings: Sequence[Standing]) -> None:
    db.executemany(SQL["put_schedule"], [_row(standing) for standing in standings])


def _row(standing: Standing) -> tuple[Any, ...]:
    schedule = standing.schedule
    return (
        standing.task,
        schedule.cron,
        schedule.tz,
        schedule.every,
        schedule.missed.value,
        standing.queue,
        standing.priority,
        standing.lane,
        int(standing.enabled),
        standing.cursor,
        standing.awake_since,
        standing.next_at,
        standing.last_fired_at,
        standing.revision,
    )


def standing_of(row: Sequence[Any]) -> Standing:
    """A row of the statement ``schedules``."""
    task, cron, tz, every, missed, queue, priority, lane, enabled, *moving = row
    cursor, awake_since, next_at, last_fired_at, revision = moving
    return Standing(
        task=task,
        schedule=Schedule(cron=cron, tz=tz, every=every, missed=Missed(missed)),
        queue=queue,
        priority=priority,
        lane=lane,
        enabled=bool(enabled),
        cursor=cursor,
        awake_since=awake_since,
        next_at=next_at,
        last_fired_at=last_fired_at,
        revision=revision,
    )


def _standings(rows: Sequence[Sequence[Any]]) -> list[Standing]:
    return [standing_of(row) for row in rows]
