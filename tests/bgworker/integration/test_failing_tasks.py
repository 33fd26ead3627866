"""Tasks that raise, die, or return what cannot be stored: each leaves one clear record."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bgworker import JobFailed
from bgworker.model import PAYLOAD_CAP

StartWorker = Callable[..., Any]


def failure_of(handle: Any, seconds: float = 5) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        handle.result(seconds)
    return caught.value


def names(running: Any, handle: Any, last: str) -> list[str]:
    """The job's events up to its last: a line is written after what it tells is stored."""
    running.wait_for(last, job_id=handle.id)
    return [line["event"] for line in running.events(job_id=handle.id)]


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_retries_back_off_until_one_succeeds_or_all_are_used_up(
    standing: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    running = standing()
    times = tmp_path / "times"
    lucky = jobs.fails_until.delay(str(times), 2)
    hopeless = jobs.fails_until.delay(str(tmp_path / "more"), 99)
    assert lucky.result(5) == "try 3"
    failure = failure_of(hopeless)
    assert (failure.state, failure.kind, failure.detail) == ("dead", "ValueError", "try 3")

    first, second = (
        b - a for a, b in pairwise(float(line) for line in times.read_text().splitlines())
    )
    assert 0.099 <= first < 0.5
    assert 0.199 <= second < 0.6
    for handle in (lucky, hopeless):
        record = jobs.bg.dispatcher.fetch(handle.id)
        assert (record.attempts, record.retries, record.crashes) == (3, 2, 0)
    tries = ["task_start", "task_retry", "task_start", "task_retry", "task_start"]
    assert names(running, lucky, "task_success") == [*tries, "task_success"]
    assert names(running, hopeless, "task_dead") == [*tries, "task_dead"]


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_only_the_named_exceptions_are_worth_a_retry(standing: StartWorker, jobs: Any) -> None:
    running = standing()
    refused, tried = jobs.picky.delay("ValueError"), jobs.picky.delay("OSError")
    assert failure_of(refused).state == "failed"
    assert names(running, refused, "task_failed") == ["task_start", "task_failed"]
    assert failure_of(tried).state == "dead"
    assert names(running, tried, "task_dead").count("task_retry") == 3


def test_our_own_exceptions_are_worth_a_retry_like_any_other(
    standing: StartWorker, jobs: Any
) -> None:
    """As when a task cannot enqueue, or the job it waits for has failed."""
    standing()
    for handle in (jobs.relies_on_another.delay("full"), jobs.relies_on_another.delay("failed")):
        assert failure_of(handle).state == "dead"
        assert jobs.bg.dispatcher.fetch(handle.id).retries == 1


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_whatever_a_task_raises_is_recorded_at_once(standing: StartWorker, jobs: Any) -> None:
    running = standing("--concurrency", "1")
    child = running.child()
    for how, kind in (
        ("sys.exit", "SystemExit"),
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        ("GeneratorExit", "GeneratorExit"),
        ("surrogate", "ValueError"),
        ("deep", "RecursionError"),
        ("hostile", "jobs.Hostile"),
    ):
        began = time.monotonic()
        failure = failure_of(jobs.raises.delay(how))
        assert time.monotonic() - began < 3, how
        assert (failure.state, failure.kind) == ("failed", kind)
        assert jobs.add.delay(1, 1).result(5) == 2
        assert running.children() == [child], f"the process survives {how}"
        if how == "surrogate":
            assert failure.detail == "\ud800\x1b[31m\x00"


def test_a_job_that_kills_its_process_is_dead_after_three(standing: StartWorker, jobs: Any) -> None:
    running = standing()
    ways = (
        ("exit", "exited with status 3", None),
        ("segfault", "killed by SIGSEGV", "SIGSEGV"),
        ("kill", "killed by SIGKILL", "SIGKILL"),
    )
    handles = [jobs.dies.delay(how) for how, _, _ in ways]
    neighbours = jobs.add.map([(i, i) for i in range(50)])
    crash = ["task_start", "task_crash"]
    expected = [*crash, "task_retry", *crash, "task_retry", *crash, "task_dead"]
    for handle, (_, words, signal) in zip(handles, ways, strict=True):
        failure = failure_of(handle)
        assert (failure.state, failure.kind) == ("dead", "Crashed")
        assert words in failure.detail
        record = jobs.bg.dispatcher.fetch(handle.id)
        assert (record.attempts, record.retries, record.crashes) == (3, 0, 3)
        assert names(running, handle, "task_dead") == expected
        crashes = running.events("task_crash", job_id=handle.id)
        assert [line.get("signal") for line in crashes] == [signal] * 3
    assert [n.result(5) for n in neighbours] == [2 * i for i in range(50)]
    assert jobs.add.delay(2, 2).result(5) == 4


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_crash_is_charged_to_the_job_that_ran(standing: StartWorker, jobs: Any) -> None:
    """What was handed out ahead goes back unburnt."""
    standing("--concurrency", "1")
    for handle in jobs.add.map([(1, 1)] * 300):
        handle.result(10)
    dying = jobs.dies.delay("kill")
    behind = jobs.add.map([(i, i) for i in range(100)])
    assert [handle.result(5) for handle in behind] == [2 * i for i in range(100)]
    assert failure_of(dying).state == "dead"
    records = [jobs.bg.dispatcher.fetch(handle.id) for handle in behind]
    assert {(r.attempts, r.retries, r.crashes) for r in records} == {(1, 0, 0)}


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_large_arguments_and_results_arrive_whole(standing: StartWorker, jobs: Any) -> None:
    running = standing("--concurrency", "1")
    child = running.child()
    descriptors = Path(f"/proc/{child}/fd")
    jobs.echo.delay("warm").result(5)
    before = len(list(descriptors.iterdir()))
    sizes = [64 * 1024 - 8, 64 * 1024, 500_000, PAYLOAD_CAP - 10]
    for size in sizes:
        assert jobs.echo.delay("y" * size).result(10) == "y" * size
    assert len(list(descriptors.iterdir())) == before
    handles = jobs.echo.map([("z" * 200_000,)] * 10)
    assert all(handle.result(10) == "z" * 200_000 for handle in handles)
    for size in (70_000, 200_000, 900_000, PAYLOAD_CAP - 2):
        assert jobs.big.delay(size).result(10) == "x" * size


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_result_that_cannot_be_stored_fails_without_a_retry(
    standing: StartWorker, jobs: Any
) -> None:
    running = standing()
    for handle, kind in (
        (jobs.not_json.delay(), "NotJson"),
        (jobs.not_json_with_retries.delay(), "NotJson"),
        (jobs.big.delay(PAYLOAD_CAP), "ResultTooLarge"),
    ):
        failure = failure_of(handle)
        assert (failure.state, failure.kind) == ("failed", f"bgworker.errors.{kind}")
        assert names(running, handle, "task_failed") == ["task_start", "task_failed"]


def test_garbage_on_the_standard_streams_does_no_harm(worker: StartWorker, jobs: Any) -> None:
    running = worker()
    size = 10 * 1024 * 1024 // 65_536 * 65_536
    noisy = [jobs.garbage.delay(stream, size) for stream in (1, 2)]
    assert [h.result(10) for h in jobs.add.map([(i, 0) for i in range(50)])] == list(range(50))
    assert [handle.result(10) for handle in noisy] == [size, size]
    running.stop()
    assert running.stdout.stat().st_size == size
    assert running.stderr.stat().st_size > size


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_task_that_closes_all_descriptors_still_reports(
    worker: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    victim = tmp_path / "of-the-task"
    running = worker("--concurrency", "1")
    assert jobs.closes_descriptors.delay(3, 1024, str(victim)).result(5) == "closed"
    assert victim.read_bytes() == b"", "a report went into a file of the task"
    assert jobs.add.delay(1, 1).result(5) == 2
    assert not running.events("task_crash")
    assert jobs.closes_descriptors.delay(0, 1024).result(5) == "closed"
    assert jobs.add.delay(2, 2).result(5) == 4


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_task_that_forks_and_comes_back_twice_ends_once(
    worker: StartWorker, jobs: Any, tmp_path: Path, wait_until: Callable[..., object]
) -> None:
    running = worker("--concurrency", "1")
    path = tmp_path / "copies"
    for how in ("return", "raise"):
        assert jobs.forks_and_forgets.delay(str(path), how).result(5) == "original"
        added = jobs.add.map([(i, 1) for i in range(100)])
        assert [h.result(5) for h in added] == list(range(1, 101))
    copies = [int(line) for line in path.read_text().splitlines()]
    wait_until(lambda: not any(map(running.is_running, copies)), why="copies end with their task")
    running.stop()
    assert len(running.events("task_success")) == 202
