"""Schedules without a file: the same decisions, kept in dictionaries. The engine holds the lock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from bgworker.engines.memory_seat import MemorySeat
from bgworker.model import Millis, TaskPolicy
from bgworker.standing import (
    KEPT_TICKS,
    Standing,
    declare,
    plan_all,
    retired,
    turn,
)


class MemorySchedules:
    """Where the schedules of a :class:`MemoryEngine` stand."""

    def __init__(self) -> None:
        self._standings: dict[str, Standing] = {}
        self._ticks: dict[str, list[Millis]] = {}

    def declare(
        self,
        tasks: Sequence[TaskPolicy],
        seat: MemorySeat,
        seats: Iterable[MemorySeat],
        now: Millis,
    ) -> None:
        """What a joining worker says, if it says anything; it is among ``seats`` already."""
        if not tasks:
            return
        running = set().union(*_declared(seats))
        for task in tasks:
            awake = task.name in running
            new = declare(task, self._standings.get(task.name), now, awake=awake)
            if new is not None:
                self._standings[task.name] = new
        seat.schedules = frozenset(task.name for task in tasks if task.schedule is not None)
        self.retire(seats)

    def retire(self, seats: Iterable[MemorySeat]) -> None:
        """Disable what no live worker declares, if there is one that declares tasks."""
        declared = _declared(seats)
        if declared:
            gone = retired(self._standings.values(), set().union(*declared))
            self._standings.update({old.task: old for old in gone})

    def fire(
        self, mine: Collection[str], now: Millis
    ) -> tuple[list[tuple[Standing, Millis]], Millis | None]:
        """The ticks that become jobs now, and when the next one is due."""
        standings = [one for one in self._standings.values() if one.task in mine]
        standings.sort(key=lambda one: turn(one.next_at, now))
        plans = plan_all(standings, now, self._oldest)
        fired = []
        for plan in plans:
            new = self._standings[plan.standing.task] = plan.standing
            kept = self._ticks.setdefault(new.task, [])
            fresh = [at for at in plan.ticks if at not in kept]
            self._ticks[new.task] = sorted([*kept, *fresh])[-KEPT_TICKS:]
            fired += [(new, at) for at in fresh]
        coming = [self._standings[one.task].next_at for one in standings]
        return fired, min((at for at in coming if at is not None), default=None)

    def _oldest(self, task: str) -> Millis | None:
        return min(self._ticks.get(task, ()), default=None)


def _declared(seats: Iterable[MemorySeat]) -> list[frozenset[str]]:
    """What each live worker that declares tasks declares as schedules."""
    return [seat.schedules for seat in seats if seat.schedules is not None and not seat.dead]
