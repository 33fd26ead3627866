"""Where a schedule stands, and what is to be done about it: pure decisions for every engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from operator import itemgetter

from bgworker.contracts import Tick
from bgworker.model import JobId, JobSpec, Millis, Missed, Schedule, TaskPolicy
from bgworker.ticks import next_tick, start_of_newest
from bgworker.values import dataclass, replace

BATCH = 100
"""Jobs that one transaction stores for schedules: others have their turn at the file in between."""
LATE: Millis = 60_000
"""From this delay on a tick is missed although workers ran, as on a machine that was asleep."""
KEPT_TICKS = 100
"""Ticks remembered for each schedule: that far the clock can be put back over ticks not yet run."""
MOST_MISSED = 10_000
_MADE_UP_FOR = {Missed.SKIP: 0, Missed.LAST: 1, Missed.ALL: MOST_MISSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A declared schedule, and how far it got. A task has one schedule, which bears its name.

    Ticks up to ``cursor`` are decided. Those up to ``awake_since`` came while no worker ran the
    schedule. ``revision`` counts the changes, so that only one of several workers makes the next.
    """

    task: str
    schedule: Schedule
    queue: str
    priority: int
    lane: str | None
    enabled: bool
    cursor: Millis
    awake_since: Millis
    next_at: Millis | None
    last_fired_at: Millis | None = None
    revision: int = 0

    def job(self) -> JobSpec:
        """What a tick becomes."""
        return JobSpec(task=self.task, queue=self.queue, priority=self.priority, lane=self.lane)

    def tick(self, at: Millis, job: JobId) -> Tick:
        """The tick at this instant, which became this job."""
        return Tick(task=self.task, expression=self.schedule.expression, fire_at=at, job=job)

    def is_due(self, now: Millis) -> bool:
        """Whether :func:`plan` has to be asked: at a tick, and when the clock was put back."""
        return _is_due(self.next_at, self.cursor, now)


@dataclass(frozen=True, slots=True)
class Plan:
    """The ticks to run now, and the standing after that."""

    standing: Standing
    ticks: tuple[Millis, ...]


def declare(task: TaskPolicy, old: Standing | None, now: Millis, *, awake: bool) -> Standing | None:
    """The standing once a worker has declared ``task``; ``None`` if the task has no schedule.

    ``awake`` is whether another live worker runs it. A schedule that is new, was disabled or has
    other times begins now: nothing before was missed.
    """
    schedule = task.schedule
    if schedule is None:
        return None
    if old is None or not old.enabled or _times(old.schedule) != _times(schedule):
        return Standing(
            task=task.name,
            schedule=schedule,
            queue=task.queue,
            priority=task.priority,
            lane=task.lane(),
            enabled=True,
            cursor=now,
            awake_since=now,
            next_at=next_tick(schedule, now),
            last_fired_at=None if old is None else old.last_fired_at,
            revision=0 if old is None else old.revision + 1,
        )
    new = replace(
        old,
        schedule=schedule,
        queue=task.queue,
        priority=task.priority,
        lane=task.lane(),
        awake_since=old.awake_since if awake else now,
    )
    return old if new == old else replace(new, revision=old.revision + 1)


def retired(standings: Collection[Standing], declared: Collection[str]) -> list[Standing]:
    """Those of ``standings`` that are disabled now, because nobody declares them."""
    return [
        replace(old, enabled=False, next_at=None, revision=old.revision + 1)
        for old in standings
        if old.enabled and old.task not in declared
    ]


def plan(old: Standing, now: Millis, room: int, oldest_kept: Callable[[], Millis | None]) -> Plan:
    """What to do for a schedule at ``now``; at most ``room`` ticks at once.

    ``oldest_kept`` tells the first tick of which it is still known that it was run.
    """
    if now < old.cursor:
        return Plan(_put_back(old, now, oldest_kept()), ())
    missed_until = min(now, max(old.awake_since, now - LATE))
    cursor, due = old.cursor, old.next_at
    if due is not None and due <= missed_until:
        limit = _MADE_UP_FOR[old.schedule.missed]
        cursor = start_of_newest(old.schedule, cursor, missed_until, limit)
        due = next_tick(old.schedule, cursor)
    ticks: list[Millis] = []
    while due is not None and due <= now and len(ticks) < room:
        ticks.append(due)
        due = next_tick(old.schedule, due)
    new = replace(
        old,
        cursor=ticks[-1] if ticks else cursor,
        next_at=due,
        last_fired_at=ticks[-1] if ticks else old.last_fired_at,
        revision=old.revision + 1,
    )
    return Plan(new, tuple(ticks))


def turn(next_at: Millis | None, now: Millis) -> tuple[bool, Millis]:
    """What is in time goes before what has to be made up for, however much that is."""
    at = next_at or now
    return at < now - LATE, at


def in_turn(
    coming: Iterable[tuple[str, Millis | None, Millis]], now: Millis, worker: int
) -> list[str]:
    """The tasks that are due, of these with their ``next_at`` and ``cursor``; first comes first.

    Of more than a batch that are due at one moment, workers begin at different ones: all that wake
    at a full minute would plan the same batch, and all but one of them for nothing.
    """
    due = [(turn(at, now), task) for task, at, cursor in coming if _is_due(at, cursor, now)]
    due.sort(key=itemgetter(0))
    first = [task for when, task in due if when == due[0][0]]
    begin = worker % (len(first) // BATCH or 1) * BATCH
    return first[begin:] + first[:begin] + [task for _, task in due[len(first) :]]


def plan_all(
    standings: Iterable[Standing], now: Millis, oldest_kept: Callable[[str], Millis | None]
) -> list[Plan]:
    """What to do for these at ``now``: :data:`BATCH` ticks together at most.

    They come in the order of their :func:`turn`, and no more of them are asked for than are
    needed: of thousands that are due at once, every worker would make all each time.
    """
    plans = []
    room = BATCH
    for old in standings:
        if not (old.enabled and old.is_due(now)):
            continue
        new = plan(old, now, room, partial(oldest_kept, old.task))
        if new.standing is not old:
            plans.append(new)
            room -= len(new.ticks)
        if room <= 0:
            break
    return plans


def _put_back(old: Standing, now: Millis, oldest_kept: Millis | None) -> Standing:
    """The clock went back: what was not run is due again, what was run is known from its tick."""
    cursor = now if oldest_kept is None else min(old.cursor, max(now, oldest_kept))
    if cursor == old.cursor:
        return old
    return replace(
        old,
        cursor=cursor,
        awake_since=min(old.awake_since, cursor),
        next_at=next_tick(old.schedule, cursor),
        revision=old.revision + 1,
    )


def _is_due(next_at: Millis | None, cursor: Millis, now: Millis) -> bool:
    return now < cursor or (next_at is not None and next_at <= now)


def _times(schedule: Schedule) -> tuple[object, ...]:
    return (schedule.cron, schedule.tz, schedule.every)
