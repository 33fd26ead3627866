"""Jobs that run where they are asked for: ``bg.eager()`` and ``run_until_idle``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from bgworker import (
    BgWorker,
    JobFailed,
    JobRun,
    JobState,
    NotJson,
    Retry,
    chain,
    current_job,
    every,
    group,
    progress,
)
from bgworker.engines.sqlite import SqliteEngine
from bgworker.inline import frozen_clock, run_until_idle
from bgworker.model import WorkerProfile

FOREVER = 1e9


class Refused(Exception):
    """What the tasks of these tests raise."""


class Tasks:
    """An app whose tasks write down what they did."""

    def __init__(self, url: str) -> None:
        self.bg = bg = BgWorker(url)
        self.ran: list[object] = []

        @bg.task(name="note")
        def note(value: object) -> object:
            self.ran.append(value)
            return value

        @bg.task(name="shaky", retry=Retry(max=2, delay=60, on=(Refused,)))
        def shaky(failures: int) -> str:
            self.ran.append("try")
            if self.ran.count("try") <= failures:
                raise Refused(f"try {self.ran.count('try')}")
            return "at last"

        @bg.task(name="stop")
        def stop(code: str) -> None:
            raise {"exit": SystemExit, "interrupt": KeyboardInterrupt}[code]

        @bg.task(name="outer", rate_limit="1/h", concurrency=1)
        def outer(depth: int) -> int:
            return depth and 1 + outer.delay(depth - 1).result(timeout=FOREVER)

        @bg.task(name="later")
        async def later(value: int) -> int:
            await asyncio.sleep(0)
            return value + 1

        @bg.task(name="total")
        def total(values: list[int], bonus: int = 0) -> int:
            return sum(values) + bonus

        self.note, self.shaky, self.stop = note, shaky, stop
        self.outer, self.later, self.total = outer, later, total


@pytest.fixture
def tasks(tmp_path: Path) -> Iterator[Tasks]:
    found = Tasks(f"sqlite:///{tmp_path}/jobs.db")
    yield found
    found.bg.close()


# Eager


def test_an_eager_job_has_run_when_delay_returns_and_nothing_is_on_disk(
    tasks: Tasks, tmp_path: Path
) -> None:
    with tasks.bg.eager():
        job = tasks.note.delay("now")

        assert tasks.ran == ["now"]
        assert job.status is JobState.SUCCEEDED
    assert job.result() == "now", "a handle outlives the block"
    assert list(tmp_path.iterdir()) == []


def test_eager_arguments_and_results_take_their_way_through_json(tasks: Tasks) -> None:
    with tasks.bg.eager():
        assert tasks.note.delay((1, (2,))).result() == [1, [2]]
        assert tasks.ran == [[1, [2]]]
        with pytest.raises(NotJson):
            tasks.note.delay({1, 2})
    assert len(tasks.ran) == 1


def test_eager_jobs_do_not_wait_for_their_time_and_cannot_come_too_late(tasks: Tasks) -> None:
    long_ago = datetime.now(timezone.utc) - timedelta(days=1)
    with tasks.bg.eager():
        tasks.note.options(countdown=3600).delay("delayed")
        tasks.note.options(expires=long_ago).delay("expired")

    assert tasks.ran == ["delayed", "expired"]


def test_eager_retries_follow_at_once(tasks: Tasks) -> None:
    with tasks.bg.eager():
        job = tasks.shaky.delay(2)

        assert tasks.ran == ["try"] * 3
        assert job.result() == "at last"


def test_eager_retries_follow_our_own_exceptions_too_but_not_results_without_json(
    tasks: Tasks,
) -> None:
    often = tasks.bg.task(retry=Retry(max=2))

    def waits() -> None:
        raise JobFailed("failed", "kind", "detail")

    def returns_a_set() -> set[int]:
        return {1}

    with tasks.bg.eager():
        jobs = [often(waits).delay(), often(returns_a_set).delay()]
        retries = [tasks.bg.dispatcher.fetch(job.id).retries for job in jobs]
        assert [job.status for job in jobs] == ["dead", "failed"]
    assert retries == [2, 0]


def test_a_failing_eager_task_raises_where_its_result_is_asked_for(tasks: Tasks) -> None:
    with tasks.bg.eager():
        job = tasks.shaky.delay(9)

    assert tasks.ran == ["try"] * 3
    with pytest.raises(JobFailed, match="try 3") as caught:
        job.result()
    assert caught.value.state == "dead"
    assert caught.value.kind.endswith("Refused")
    assert "in shaky" in caught.value.traceback
    assert "bgworker/inline.py" not in caught.value.traceback


def test_a_failing_eager_task_can_raise_where_it_was_delayed(tasks: Tasks) -> None:
    with tasks.bg.eager(propagate=True):
        assert tasks.shaky.delay(1).result() == "at last", "a retry that helps is no failure"
        tasks.ran.clear()
        with pytest.raises(Refused, match="try 3"):
            tasks.shaky.delay(9)
        assert tasks.note.delay("on").result() == "on"


def test_sys_exit_ends_an_eager_task_and_ctrl_c_ends_the_caller(tasks: Tasks) -> None:
    with tasks.bg.eager():
        assert tasks.stop.delay("exit").status is JobState.FAILED
        with pytest.raises(KeyboardInterrupt):
            tasks.stop.delay("interrupt")
        assert tasks.note.delay("on").result() == "on"


def test_an_eager_task_may_delay_others_and_wait_for_them_whatever_its_limits(
    tasks: Tasks,
) -> None:
    with tasks.bg.eager():
        assert tasks.outer.delay(4).result() == 4


def test_eager_coroutines_run_with_and_without_a_loop_around(tasks: Tasks) -> None:
    async def request() -> int:
        return tasks.later.delay(2).result()

    with tasks.bg.eager():
        assert tasks.later.delay(1).result() == 2
        assert asyncio.run(request()) == 3


def test_eager_chains_and_groups_hand_on_results(tasks: Tasks) -> None:
    with tasks.bg.eager():
        flow = chain(
            group(tasks.later.s(1), tasks.later.s(2)), tasks.total.s(bonus=10), tasks.note.s()
        )
        assert flow.delay().result() == 15

        broken = chain(tasks.shaky.s(9), tasks.note.s()).delay()

    assert broken.statuses == (JobState.DEAD, JobState.CANCELLED)


def test_an_eager_job_of_a_paused_queue_runs_when_it_is_let_go(tasks: Tasks) -> None:
    with tasks.bg.eager():
        tasks.bg.pause("default")
        job = tasks.note.delay("held")
        with pytest.raises(TimeoutError, match="queued and stays so"):
            job.result()
        assert tasks.ran == []

        tasks.bg.resume("default")

        assert job.result() == "held"


def test_closing_the_app_does_not_end_eager_mode_and_its_end_does(tasks: Tasks) -> None:
    with tasks.bg.eager():
        tasks.bg.close()
        with tasks.bg.eager():
            tasks.note.delay("inner")
        tasks.note.delay("still in memory")
        assert run_until_idle(tasks.bg) == 0
    tasks.note.delay("on disk")

    assert tasks.ran == ["inner", "still in memory"]
    assert isinstance(tasks.bg.dispatcher, SqliteEngine)


# The real queue, without a worker


def test_what_is_due_runs_until_nothing_is(tasks: Tasks) -> None:
    jobs = tasks.note.map([(n,) for n in range(5)])
    flow = chain(tasks.later.s(1), tasks.later.s()).delay()
    tasks.note.options(countdown=3600).delay("in an hour")

    assert tasks.ran == []
    assert run_until_idle(tasks.bg) == 7
    assert run_until_idle(tasks.bg) == 0
    assert tasks.ran == list(range(5))
    assert [job.result() for job in jobs] == list(range(5))
    assert flow.result() == 3


def test_a_moved_clock_reaches_delayed_jobs(tasks: Tasks) -> None:
    clock = frozen_clock()
    tasks.note.options(countdown=3600).delay("in an hour")

    assert run_until_idle(tasks.bg, clock=clock) == 0
    clock.advance(3601)
    assert run_until_idle(tasks.bg, clock=clock) == 1
    assert tasks.ran == ["in an hour"]


def test_a_moved_clock_reaches_retries_at_their_declared_delays(tasks: Tasks) -> None:
    clock = frozen_clock()
    job = tasks.shaky.delay(2)
    runs = []
    for seconds in (0, 59, 2, 118, 3):
        clock.advance(seconds)
        runs.append(run_until_idle(tasks.bg, clock=clock))

    assert runs == [1, 0, 1, 0, 1]
    assert job.result() == "at last"


def test_limits_and_pauses_of_the_real_queue_hold(tasks: Tasks) -> None:
    clock = frozen_clock()
    tasks.outer.map([(0,), (0,)])
    tasks.bg.pause("default")
    assert run_until_idle(tasks.bg, clock=clock) == 0
    tasks.bg.resume("default")

    assert run_until_idle(tasks.bg, clock=clock) == 1, "one start an hour"
    clock.advance(3600)
    assert run_until_idle(tasks.bg, clock=clock) == 1


def test_jobs_of_other_apps_stay_where_they_are(tasks: Tasks) -> None:
    other = BgWorker(tasks.bg.url)
    job = other.task(name="elsewhere")(len).delay("abc")
    tasks.note.delay("mine")

    assert run_until_idle(tasks.bg) == 1
    assert job.status is JobState.QUEUED
    assert run_until_idle(other) == 1
    assert job.result() == 3
    other.close()


def test_ctrl_c_leaves_the_job_as_it_was(tasks: Tasks) -> None:
    job = tasks.stop.delay("interrupt")

    with pytest.raises(KeyboardInterrupt):
        run_until_idle(tasks.bg)

    record = tasks.bg.dispatcher.fetch(job.id)
    assert (record.state, record.attempts) == (JobState.QUEUED, 0)


def test_a_job_that_somebody_runs_is_left_to_him(tasks: Tasks) -> None:
    engine = SqliteEngine(tasks.bg.url.removeprefix("sqlite:///"))
    seat = engine.join(WorkerProfile(name="other", host="h", pid=1, concurrency=1), [])
    job = tasks.note.delay("taken")
    assert len(engine.exchange(seat, (), 1).claims) == 1

    assert run_until_idle(tasks.bg) == 0
    engine.close()  # as when its process ends

    assert run_until_idle(tasks.bg) == 1
    assert job.result() == "taken"


# What a task says while it runs, and what follows


@pytest.mark.parametrize("eager", [True, False])
def test_progress_the_running_job_and_callbacks_are_as_in_a_worker(
    tasks: Tasks, *, eager: bool
) -> None:
    bg, told = tasks.bg, tasks.ran

    def finished(job: JobRun, result: object) -> None:
        told.append(("finished", job.id, result))

    def gave_up(job: JobRun, error: JobFailed) -> None:
        told.append(("gave up", job.id, error.state, error.detail))

    @bg.task(name="speak", on_success=finished, on_failure=gave_up)
    def speak(fails: bool) -> int:
        job = current_job()
        assert job is not None
        progress(1, 2, f"attempt {job.attempt} of job {job.id}")
        if fails:
            raise Refused("no")
        return 7

    with bg.eager() if eager else nullcontext():
        good, bad = speak.delay(False), speak.delay(True)
        if not eager:
            assert run_until_idle(bg) == 4
        said = good.progress
        after = bg.job(good.id).status

    assert current_job() is None
    assert after is JobState.SUCCEEDED
    assert said is not None
    assert (said.n, said.total, said.text) == (1, 2, f"attempt 1 of job {good.id}")
    assert told == [("finished", good.id, 7), ("gave up", bad.id, "failed", "no")]


def test_an_eager_job_that_is_retried_by_hand_runs_at_once(tasks: Tasks) -> None:
    with tasks.bg.eager():
        job = tasks.shaky.delay(3)
        assert job.status is JobState.DEAD

        assert job.retry()

        assert job.result() == "at last"


def test_a_moved_clock_reaches_the_ticks_of_schedules(tasks: Tasks) -> None:
    clock = frozen_clock()
    tasks.bg.task(name="tick", schedule=every(hours=1))(lambda: tasks.ran.append("tick"))

    assert run_until_idle(tasks.bg, clock=clock) == 0
    clock.advance(3600)
    assert run_until_idle(tasks.bg, clock=clock) == 1
    assert run_until_idle(tasks.bg, clock=clock) == 0
    assert tasks.ran == ["tick"]
