# ruff: noqa: S101  # assertions are what a conformance suite is made of
"""Schedules: declaring, running each tick once, what was missed, and clocks that jump."""

from __future__ import annotations

import threading

import pytest

from bgworker.clock import ManualClock
from bgworker.contracts import Engine, Membership
from bgworker.model import JobSpec, Millis, Schedule, TaskPolicy
from bgworker.schedule import cron, every
from bgworker.standing import BATCH, LATE, MOST_MISSED
from bgworker.states import JobState
from bgworker.testing.hooks import EngineHooks, profile

MINUTE: Millis = 60_000
HOUR = 60 * MINUTE
NOON: Millis = 1_700_006_400_000  # a full hour, UTC: 2023-11-15 00:00


def task(name: str = "t", schedule: Schedule | None = None) -> TaskPolicy:
    """A task as an application declares it."""
    return TaskPolicy(name=name, queue="q", priority=4, schedule=schedule)


def minutely(missed: str = "last") -> Schedule:
    """``* * * * *``."""
    return cron("* * * * *", missed=missed)


class ScheduleTests(EngineHooks):
    """Every worker schedules; each tick becomes one job."""

    @pytest.fixture(autouse=True)
    def full_hour(self, clock: ManualClock) -> None:
        """Time stands still at a full hour."""
        clock.millis = NOON

    def hire(self, engine: Engine, name: str, *tasks: TaskPolicy) -> Membership:
        """A worker that declares these."""
        return engine.join(profile(name), tasks)

    def run_due(self, engine: Engine, seat: Membership) -> list[Millis]:
        """Fire until nothing is due; the ticks that became jobs, in their order."""
        ticks: list[Millis] = []
        while True:
            fired = engine.fire(seat)
            ticks += [(tick.fire_at - NOON) // MINUTE for tick in fired.ticks]
            if not fired.ticks:
                return ticks

    # Running

    def test_a_tick_becomes_a_job(self, engine: Engine, clock: ManualClock) -> None:
        """Not before its time; without arguments, in the queue of its task."""
        seat = self.hire(engine, "w", task("t", minutely()))
        early = engine.fire(seat)
        clock.millis += MINUTE - 1
        still = engine.fire(seat)
        clock.millis += 1
        fired = engine.fire(seat)
        again = engine.fire(seat)
        (tick,) = fired.ticks
        job = engine.fetch(tick.job)

        assert (early.ticks, early.next_at) == (still.ticks, still.next_at)
        assert (early.ticks, early.next_at) == ((), NOON + MINUTE)
        assert (tick.task, tick.expression) == ("t", "* * * * *")
        assert (tick.fire_at, fired.next_at) == (NOON + MINUTE, NOON + 2 * MINUTE)
        assert (again.ticks, again.next_at) == ((), NOON + 2 * MINUTE)
        assert (job.task, job.queue, job.priority, job.args) == ("t", "q", 4, "[[],{}]")
        assert (job.state, job.enqueued_at) == (JobState.QUEUED, clock.now())
        assert [claim.id for claim in engine.exchange(seat, [], 9).claims] == [tick.job]

    def test_each_tick_is_run_once_over_all_workers(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """Four at once, each in its own thread, over ten minutes."""
        tasks = [task(f"t{n}", minutely()) for n in range(20)]
        seats = [self.hire(engine, f"w{n}", *tasks) for n in range(4)]
        got: list[tuple[str, Millis]] = []

        def work(seat: Membership) -> None:
            for _ in range(3):
                got.extend((tick.task, tick.fire_at) for tick in engine.fire(seat).ticks)

        for _ in range(10):
            clock.millis += MINUTE
            threads = [threading.Thread(target=work, args=(seat,)) for seat in seats]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)

        assert len(got) == len(set(got)) == 200

    def test_periods_keep_their_phase(self, engine: Engine, clock: ManualClock) -> None:
        """Whenever a worker begins: it is that of the clock."""
        clock.millis += 17_345
        seat = self.hire(engine, "w", task("t", every(minutes=5)))
        assert engine.fire(seat).next_at == NOON + 5 * MINUTE
        engine.leave(seat)
        clock.millis += 6 * MINUTE
        seat = self.hire(engine, "w2", task("t", every(minutes=5, missed="skip")))
        assert self.run_due(engine, seat) == []
        assert engine.fire(seat).next_at == NOON + 10 * MINUTE

    def test_who_declares_nothing_runs_nothing(self, engine: Engine, clock: ManualClock) -> None:
        """It would enqueue what it may not know any more."""
        self.hire(engine, "w1", task("t", minutely()))
        other = self.hire(engine, "w2", task("other"))
        clock.millis += MINUTE

        assert engine.fire(other) == type(engine.fire(other))()

    # Missed ticks

    @pytest.mark.parametrize(
        ("missed", "ticks"), [("skip", []), ("last", [180]), ("all", list(range(1, 181)))]
    )
    @pytest.mark.parametrize("how", ["left", "killed"])
    def test_missed_ticks(
        self, engine: Engine, clock: ManualClock, missed: str, ticks: list[int], how: str
    ) -> None:
        """Three hours without a worker; then it goes on as usual."""
        seat = self.hire(engine, "w1", task("t", minutely(missed)))
        engine.fire(seat)
        if how == "left":
            engine.leave(seat)
        else:
            self.kill(engine, seat)
        clock.millis += 3 * HOUR
        seat = self.hire(engine, "w2", task("t", minutely(missed)))

        assert self.run_due(engine, seat) == ticks
        clock.millis += MINUTE
        assert self.run_due(engine, seat) == [181]

    def test_nothing_is_missed_while_another_worker_lives(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """A worker dies at the tick, a new one comes before another one has looked."""
        first = self.hire(engine, "w1", task("t", minutely("skip")))
        self.hire(engine, "w2", task("t", minutely("skip")))
        clock.millis += MINUTE
        self.kill(engine, first)
        third = self.hire(engine, "w3", task("t", minutely("skip")))

        assert self.run_due(engine, third) == [1]

    def test_a_late_tick_is_run_a_very_late_one_is_missed(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """A busy worker is late; on a machine that slept it is as if there had been none."""
        seat = self.hire(engine, "w", task("t", cron("*/10 * * * *", missed="skip")))
        clock.millis += 10 * MINUTE + LATE - 1
        assert self.run_due(engine, seat) == [10]
        clock.millis = NOON + 20 * MINUTE + LATE
        assert self.run_due(engine, seat) == []
        assert engine.fire(seat).next_at == NOON + 30 * MINUTE

    def test_a_year_of_missed_minutes_is_no_flood(self, engine: Engine, clock: ManualClock) -> None:
        """The newest are made up for, in small transactions; what is in time goes first."""
        patient, punctual = task("a", minutely("all")), task("b", minutely("skip"))
        engine.leave(self.hire(engine, "w1", patient, punctual))
        clock.millis += 365 * 24 * HOUR
        seat = self.hire(engine, "w2", patient, punctual)
        first = engine.fire(seat)
        clock.millis += MINUTE
        second = engine.fire(seat)
        newest = 365 * 24 * 60

        assert len(first.ticks) == BATCH
        assert first.ticks[0].fire_at == NOON + (newest - MOST_MISSED + 1) * MINUTE
        assert first.next_at is not None
        assert first.next_at <= clock.now()
        assert [tick.task for tick in second.ticks] == ["b"] + ["a"] * (BATCH - 1)

    # What is declared

    def test_a_schedule_begins_when_it_is_declared(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """Nothing before was missed."""
        clock.millis += 30_000
        seat = self.hire(engine, "w", task("t", minutely("all")))
        assert engine.fire(seat).ticks == ()
        clock.millis += 30_000
        assert self.run_due(engine, seat) == [1]

    def test_a_changed_expression_takes_effect_from_now(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """What either would have run before is not made up for."""
        engine.leave(self.hire(engine, "w1", task("t", minutely("all"))))
        clock.millis += 90 * MINUTE
        seat = self.hire(engine, "w2", task("t", cron("*/20 * * * *", missed="all")))
        assert self.run_due(engine, seat) == []
        clock.millis += 30 * MINUTE
        assert self.run_due(engine, seat) == [100, 120]

    def test_a_removed_schedule_is_run_no_more(self, engine: Engine, clock: ManualClock) -> None:
        """Also when it is declared again later: then it begins anew."""
        engine.leave(self.hire(engine, "w1", task("t", minutely("all"))))
        clock.millis += 10 * MINUTE
        other = self.hire(engine, "w2", task("t"))
        clock.millis += 10 * MINUTE
        assert engine.fire(other).next_at is None
        seat = self.hire(engine, "w3", task("t", minutely("all")))
        assert self.run_due(engine, seat) == []
        clock.millis += 2 * MINUTE
        assert self.run_due(engine, seat) == [21, 22]

    def test_a_worker_without_tasks_disables_nothing(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """It has not said anything about schedules."""
        engine.leave(self.hire(engine, "w1", task("t", minutely("all"))))
        engine.leave(self.hire(engine, "nobody"))
        clock.millis += 3 * MINUTE
        seat = self.hire(engine, "w2", task("t", minutely("all")))

        assert self.run_due(engine, seat) == [1, 2, 3]

    # Two versions of an application at once

    def test_a_schedule_of_the_old_version_is_run_while_one_of_its_workers_lives(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """And is disabled when the last of them has gone, if others are there."""
        old = self.hire(engine, "old", task("t", minutely("all")), task("u", minutely("all")))
        new = self.hire(engine, "new", task("u", minutely("all")))
        clock.millis += MINUTE
        assert sorted(tick.task for tick in engine.fire(old).ticks) == ["t", "u"]
        engine.leave(old)
        clock.millis += MINUTE
        assert [tick.task for tick in engine.fire(new).ticks] == ["u"]
        back = self.hire(engine, "back", task("t", minutely("all")), task("u", minutely("all")))
        assert engine.fire(back).ticks == ()

    def test_a_dead_worker_declares_nothing(self, engine: Engine, clock: ManualClock) -> None:
        """It is the same as if it had left, as soon as its jobs are taken back."""
        old = self.hire(engine, "old", task("t", minutely("all")))
        new = self.hire(engine, "new", task("u"))
        self.kill(engine, old)
        engine.rescue(new)
        clock.millis += 5 * MINUTE
        back = self.hire(engine, "back", task("t", minutely("all")))

        assert engine.fire(back).ticks == ()

    def test_of_two_expressions_that_of_the_last_to_join_holds_for_all(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        """No tick of either is run twice."""
        old = self.hire(engine, "old", task("t", cron("*/2 * * * *")))
        clock.millis += 2 * MINUTE
        assert self.run_due(engine, old) == [2]
        new = self.hire(engine, "new", task("t", cron("*/3 * * * *")))
        ticks = []
        for _ in range(4):
            clock.millis += MINUTE
            ticks += self.run_due(engine, old) + self.run_due(engine, new)
        restarted = self.hire(engine, "old again", task("t", cron("*/2 * * * *")))
        for _ in range(3):
            clock.millis += MINUTE
            ticks += self.run_due(engine, new) + self.run_due(engine, restarted)

        assert ticks == [3, 6, 8]

    # Clocks

    @pytest.mark.parametrize("missed", ["skip", "last", "all"])
    @pytest.mark.parametrize("jump", [-24 * HOUR, -HOUR, -5])
    def test_a_clock_that_goes_back_runs_no_tick_twice(
        self, engine: Engine, clock: ManualClock, jump: Millis, missed: str
    ) -> None:
        """And none is lost: when the time comes again, only what was not run is run."""
        seat = self.hire(engine, "w", task("t", minutely(missed)))
        ran: list[int] = []
        for _ in range(120):
            clock.millis += MINUTE
            ran += self.run_due(engine, seat)
        clock.millis += jump
        while clock.millis < NOON + 150 * MINUTE:
            ran += self.run_due(engine, seat)
            clock.millis += 40_000
        ran += self.run_due(engine, seat)

        assert ran == list(range(1, 151))

    # One jump stays below the ticks of a transaction and those that are remembered, one does not.
    @pytest.mark.parametrize("jump", [HOUR, 3 * HOUR])
    @pytest.mark.parametrize("ahead", [0, 7])
    @pytest.mark.parametrize("missed", ["skip", "last", "all"])
    def test_a_clock_that_was_ahead_for_a_while_loses_nothing(
        self, engine: Engine, clock: ManualClock, jump: Millis, ahead: int, missed: str
    ) -> None:
        """What was skipped meanwhile is run in its time; what was run early is not run again."""
        seat = self.hire(engine, "w", task("t", minutely(missed)))
        ran: list[int] = []
        for step in [MINUTE] * 5 + [jump] + [MINUTE] * ahead:
            clock.millis += step
            ran += self.run_due(engine, seat)
        clock.millis -= jump
        last = (clock.millis + jump + 5 * MINUTE - NOON) // MINUTE
        while clock.millis <= NOON + last * MINUTE:
            ran += self.run_due(engine, seat)
            clock.millis += MINUTE
        now = 5 + ahead
        elsewhere = set(range(6, now + 1)) if missed != "all" else set()

        assert len(ran) == len(set(ran))
        assert set(range(1, last + 1)) - set(ran) == elsewhere

    def test_a_frozen_clock_runs_nothing(self, engine: Engine, clock: ManualClock) -> None:
        """However often one asks."""
        seat = self.hire(engine, "w", task("t", every(seconds=1)))
        clock.millis += 1_000
        assert [len(engine.fire(seat).ticks) for _ in range(5)] == [1, 0, 0, 0, 0]
        assert engine.enqueue([JobSpec(task="x")])
        assert engine.fire(seat).next_at == clock.now() + 1_000
