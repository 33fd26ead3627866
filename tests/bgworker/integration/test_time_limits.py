"""Soft and hard timeouts against tasks that sleep, compute, ignore signals or hold the lock."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgworker import JobFailed
from bgworker.codec import dump_args
from bgworker.model import JobSpec

StartWorker = Callable[..., Any]
WaitUntil = Callable[..., object]


def failure_of(handle: Any, seconds: float = 5) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        handle.result(seconds)
    return caught.value


def test_the_soft_timeout_is_an_exception_in_the_task(standing: StartWorker, jobs: Any) -> None:
    """Whether it sleeps, computes or awaits; its process goes on with the next."""
    running = standing("--concurrency", "1")
    child = running.child()
    for task in (jobs.naps_too_long, jobs.loops_for_ever, jobs.later_for_ever):
        handle = task.delay()
        failure = failure_of(handle)
        assert (failure.state, failure.kind) == ("failed", "bgworker.errors.SoftTimeout")
        record = jobs.bg.dispatcher.fetch(handle.id)
        # Long before it would have ended by itself, also where the processor is wanted by many.
        assert 195 <= record.finished_at - record.started_at < 5_000
        running.wait_for("task_failed", job_id=handle.id)
        events = [line["event"] for line in running.events(job_id=handle.id)]
        assert events == ["task_start", "task_timeout", "task_failed"]
    assert {line["kind"] for line in running.events("task_timeout")} == {"soft"}
    assert running.children() == [child]


def test_a_task_may_clean_up_or_answer_when_its_time_is_over(
    standing: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    standing()
    cleaner = jobs.naps_too_long.delay(str(tmp_path / "note"))
    assert jobs.saves_itself.delay().result(5) == "in time"
    failure_of(cleaner)
    assert (tmp_path / "note").read_text() == "cleaned up\n"


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_coroutine_may_do_so_wherever_it_waits_or_computes(
    standing: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    """It sees the same exception as a function, and what it has begun is cancelled."""
    standing("--concurrency", "8", app="coroutines")
    log = tmp_path / "note"
    ways = ["a nap", "many", "nested", "turns", "computing", "another that computes"]
    handles = [_coroutine(jobs, "saves_itself_in", how, str(log)) for how in ways]
    stubborn, cancelled = _coroutine(jobs, "holds_out"), _coroutine(jobs, "cancels_itself")

    assert [handle.result(10) for handle in handles] == ["in time"] * len(ways)
    assert log.read_text() == "cancelled\n"
    assert failure_of(stubborn).kind == "HardTimeout"
    assert failure_of(cancelled).kind == "asyncio.exceptions.CancelledError"


def _coroutine(jobs: Any, name: str, *args: str) -> Any:
    spec = JobSpec(task=f"coroutines.{name}", args=dump_args(args, {}))
    (job,) = jobs.bg.dispatcher.enqueue([spec])
    return jobs.bg.job(job)


def test_a_task_that_ignores_everything_is_killed(
    standing: StartWorker, jobs: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    running = standing("--concurrency", "1")
    handle = jobs.ignores_everything.delay(str(tmp_path / "pid"))
    failure = failure_of(handle)
    assert (failure.state, failure.kind) == ("failed", "HardTimeout")
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not running.is_running(pid), seconds=1, why="killed")
    record = jobs.bg.dispatcher.fetch(handle.id)
    assert record.finished_at - record.enqueued_at < 1400
    assert 390 <= record.finished_at - record.started_at < 1400
    assert running.wait_for("task_timeout")["kind"] == "hard"
    assert not running.events("task_crash")
    assert jobs.add.delay(1, 1).result(5) == 2


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_task_that_holds_the_interpreter_lock_is_killed(
    standing: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    standing("--concurrency", "1")
    began = time.monotonic()
    assert (
        failure_of(jobs.holds_the_lock_of_python.delay(str(tmp_path / "pid"))).kind == "HardTimeout"
    )
    assert time.monotonic() - began < 1.5


def test_what_a_task_started_is_killed_with_it(
    standing: StartWorker, jobs: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Also after a crash: the job will run again, and must not meet its own leftovers."""
    running = standing()
    path = tmp_path / "pids"
    for handle in (jobs.spawns_and_hangs.delay(str(path)), jobs.spawns_and_dies.delay(str(path))):
        failure_of(handle)
    pids = [int(line) for line in path.read_text().splitlines()]
    assert len(pids) == 4
    wait_until(lambda: not any(map(running.is_running, pids)), seconds=2, why=f"{pids} are gone")


def test_one_task_cannot_disarm_or_set_the_alarm_of_the_next(
    standing: StartWorker, jobs: Any
) -> None:
    running = standing("--concurrency", "1")
    jobs.takes_over_the_alarm.delay().result(5)
    began = time.monotonic()
    assert failure_of(jobs.naps_too_long.delay()).kind == "bgworker.errors.SoftTimeout"
    assert time.monotonic() - began < 1
    jobs.leaves_an_alarm.delay(0.15).result(5)
    assert jobs.nap.delay(0.3).result(5) == "rested"
    assert not running.events("child_lost", "task_crash")


def test_the_clock_of_a_job_starts_when_the_job_does(standing: StartWorker, jobs: Any) -> None:
    """Jobs that wait behind others for a child do not use up their time."""
    standing("--concurrency", "1")
    quick = jobs.bg.tasks["jobs.saves_itself"]
    handles = jobs.nap.map([(0.15,)] * 2) + quick.map([()])
    assert [h.result(10) for h in handles] == ["rested", "rested", "in time"]


def test_the_supervisor_rests_while_a_long_job_runs(
    standing: StartWorker, jobs: Any, wait_until: WaitUntil
) -> None:
    """Also with short jobs waiting behind it that no other child can take."""
    running = standing("--concurrency", "1")
    for handle in jobs.nap.map([(0,)] * 300):
        handle.result(10)
    slow = jobs.nap.delay(0.8)
    jobs.nap.map([(0,)] * 100)
    wait_until(lambda: slow.status.value == "running", why="it runs")
    before = running.cpu_seconds()
    slow.result(5)
    assert running.cpu_seconds() - before < 0.2
