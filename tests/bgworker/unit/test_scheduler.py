"""When a worker asks for what is due: at the tick, when the clock goes back, and never else."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from bgworker import every
from bgworker.clock import ManualClock
from bgworker.contracts import Fired, Membership
from bgworker.engines.memory import MemoryEngine
from bgworker.log import Log
from bgworker.model import TaskPolicy, WorkerProfile
from bgworker.worker.scheduler import Scheduler


class Counting(MemoryEngine):
    """Counts how often it is asked."""

    asked = 0

    def fire(self, member: Membership, /) -> Fired:
        self.asked += 1
        return super().fire(member)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_700_000_000_000)


@pytest.fixture
def engine(clock: ManualClock) -> Iterator[Counting]:
    engine = Counting(clock=clock)
    yield engine
    engine.close()


def scheduler(engine: Counting, clock: ManualClock, *tasks: TaskPolicy) -> Scheduler:
    seat = engine.join(WorkerProfile(name="w", host="h", pid=1, concurrency=1), tasks)
    found = Scheduler(engine, seat, Log("w", fd=os.open(os.devnull, os.O_WRONLY)), clock)
    assert found.is_due()
    assert not found.run()
    return found


MINUTELY = TaskPolicy(name="t", queue="q", priority=5, schedule=every(minutes=1))


def pass_time(found: Scheduler, clock: ManualClock, seconds: float) -> bool:
    clock.advance(seconds)
    return found.is_due() and found.run()


def test_it_asks_at_the_tick_and_not_before(engine: Counting, clock: ManualClock) -> None:
    found = scheduler(engine, clock, MINUTELY)
    patience = found.patience()
    assert patience is not None
    assert 0 < patience <= 60
    assert not pass_time(found, clock, patience - 0.001)
    assert engine.asked == 1
    assert pass_time(found, clock, 0.001)
    assert found.patience() == 60
    assert engine.asked == 2


def test_it_asks_once_when_the_clock_was_put_back(engine: Counting, clock: ManualClock) -> None:
    found = scheduler(engine, clock, MINUTELY)
    assert pass_time(found, clock, 60)
    for jump in (-3_600, -86_400):
        before = engine.asked
        assert not pass_time(found, clock, jump)
        assert engine.asked == before + 1
        assert not pass_time(found, clock, 0)
        assert engine.asked == before + 1


def test_it_asks_again_when_somebody_else_wrote(engine: Counting, clock: ManualClock) -> None:
    found = scheduler(engine, clock, MINUTELY)
    found.look_again()
    assert found.is_due()
    found.run()
    assert engine.asked == 2


def test_without_schedules_there_is_no_timer(engine: Counting, clock: ManualClock) -> None:
    found = scheduler(engine, clock, TaskPolicy(name="t", queue="q", priority=5))
    assert found.patience() is None
    assert not pass_time(found, clock, 1e6)
    assert engine.asked == 1
