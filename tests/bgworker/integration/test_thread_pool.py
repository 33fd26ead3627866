"""``--pool thread``: what holds as it does for processes, and what is stated to be lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgworker import JobFailed, JobState
from bgworker.codec import dump_args
from bgworker.model import JobSpec

StartWorker = Callable[..., Any]
Send = Callable[..., Any]
WaitUntil = Callable[..., Any]


@pytest.fixture
def pool() -> str:
    return "thread"


@pytest.fixture
def start(worker: StartWorker) -> StartWorker:
    def start(concurrency: int, *options: str, **more: Any) -> Any:
        return worker("--concurrency", str(concurrency), *options, app="threaded", **more)

    return start


@pytest.fixture
def share(standing: StartWorker) -> StartWorker:
    """As ``start``: a worker that others use too."""
    return lambda concurrency: standing("--concurrency", str(concurrency), app="threaded")


@pytest.fixture
def send(jobs: Any) -> Send:
    """Store a job of ``apps/threaded.py``."""

    def send(task: str, *args: object, **kwargs: object) -> Any:
        spec = JobSpec(task=f"threaded.{task}", args=dump_args(args, kwargs))
        (job,) = jobs.bg.dispatcher.enqueue([spec])
        return jobs.bg.job(job)

    return send


def failure_of(handle: Any, seconds: float = 15) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        handle.result(seconds)
    return caught.value


def lines(path: Path) -> list[str]:
    """The whole lines of a file that may not be there yet."""
    text = path.read_text() if path.exists() else ""
    return text.splitlines() if text.endswith("\n") else []


def charged(jobs: Any, handle: Any) -> tuple[int, int, int]:
    record = jobs.bg.dispatcher.fetch(handle.id)
    return record.attempts, record.retries, record.crashes


def test_fifty_jobs_are_in_one_process_at_once_and_are_not_mixed_up(
    start: StartWorker, send: Send, url: str, tmp_path: Path, wait_until: WaitUntil
) -> None:
    running = start(50)
    gate = tmp_path / "gate"
    handles = [send("meets", str(gate)) for _ in range(50)]
    wait_until(
        lambda: all(h.progress and h.progress.n == 2 for h in handles), seconds=20, why="all meet"
    )
    assert {h.id: h.progress.text for h in handles} == {h.id: h.id for h in handles}
    stats = subprocess.run(
        [sys.executable, "-m", "bgworker.cli", "stats", "--url", url, "--json"],
        capture_output=True,
        check=True,
    )
    (shown,) = json.loads(stats.stdout)["workers"]
    assert (shown["concurrency"], shown["running"], shown["pid"]) == (50, 50, running.pid)
    (process,) = running.children()
    gate.touch()
    assert [h.result(10) for h in handles] == [[h.id, process] for h in handles]


def test_coroutines_run_beside_each_other(start: StartWorker, send: Send) -> None:
    start(10)
    handles = [send("meets_later") for _ in range(30)]
    assert [h.result(10) for h in handles] == [h.id for h in handles]
    assert [h.progress.text for h in handles] == [h.id for h in handles]


def test_what_a_job_sets_in_its_context_is_not_there_for_the_next(
    share: StartWorker, send: Send
) -> None:
    share(1)
    assert [send("keeps", f"{n}").result(5) for n in range(3)] == ["nothing"] * 3


def test_an_idle_thread_takes_what_waits_behind_a_long_job(
    share: StartWorker, send: Send, jobs: Any, tmp_path: Path
) -> None:
    """Short jobs are handed out ahead, and taken back from a thread that does not come to them."""
    share(2)
    for handle in jobs.add.map([(1, 1)] * 300):
        handle.result(10)
    gate = tmp_path / "gate"
    long = send("waits", str(tmp_path / "log"), str(gate))
    assert [h.result(10) for h in jobs.add.map([(i, 1) for i in range(300)])] == [
        i + 1 for i in range(300)
    ]
    assert long.status is JobState.RUNNING
    gate.touch()
    long.result(5)


def test_the_soft_timeout_is_an_exception_in_the_thread(
    share: StartWorker, send: Send, jobs: Any
) -> None:
    """In a loop of Python and in an event loop at once; in a call into C when that returns."""
    running = share(3)
    process = running.child()
    handles = [jobs.loops_for_ever.delay(), jobs.later_for_ever.delay(), send("sleeps_in_c", 1.5)]
    for handle in handles:
        failure = failure_of(handle)
        assert (failure.state, failure.kind) == ("failed", "bgworker.errors.SoftTimeout")
        assert failure.detail == "the task has run longer than its timeout"
        assert running.wait_for("task_timeout", job_id=handle.id)["kind"] == "soft"
    took = [record.finished_at - record.started_at for record in _records(jobs, handles)]
    assert min(took) >= 195
    assert took[0] < 1400
    assert took[1] < 1400
    assert took[2] >= 1500
    assert running.children() == [process]
    assert jobs.add.delay(1, 1).result(5) == 2


def _records(jobs: Any, handles: list[Any]) -> list[Any]:
    return [jobs.bg.dispatcher.fetch(handle.id) for handle in handles]


@pytest.mark.parametrize(("how", "spared"), [("python", True), ("C", False)])
def test_the_hard_timeout_ends_a_run_whatever_it_does(
    share: StartWorker, send: Send, jobs: Any, tmp_path: Path, wait_until: WaitUntil, how: str,
    spared: bool,
) -> None:  # fmt: skip
    """A neighbour is not touched, or runs once more; in neither case is it charged.

    Also where a thread was idle all the time, so that the worker looks for no more jobs.
    """
    running = share(3)
    log, gate = tmp_path / "log", tmp_path / "gate"
    neighbour = send("waits", str(log), str(gate))
    wait_until(lambda: lines(log), why="it runs")
    handle = send("catches", how)
    failure = failure_of(handle)
    assert (failure.state, failure.kind) == ("failed", "HardTimeout")
    record = jobs.bg.dispatcher.fetch(handle.id)
    assert 390 <= record.finished_at - record.started_at < 1900
    _check_neighbour(running, neighbour, log, gate, wait_until, spared=spared)
    assert charged(jobs, neighbour) == (1, 0, 0)
    assert not running.events("task_crash", "child_lost", "stale_write")


def test_who_waits_for_a_place_gets_that_of_a_killed_job(share: StartWorker, jobs: Any) -> None:
    """Also where no thread was there in the moment it became free, and some were idle before."""
    share(3)
    task = "threaded.one_at_a_time"
    stored = jobs.bg.dispatcher.enqueue(
        [JobSpec(task=task, args=dump_args([seconds], {}), lane=task) for seconds in (600, 0)]
    )
    first, second = (jobs.bg.job(job) for job in stored)
    assert failure_of(first).kind == "HardTimeout"
    assert second.result(5) == "done"


def _check_neighbour(
    running: Any, neighbour: Any, log: Path, gate: Path, wait_until: WaitUntil, *, spared: bool
) -> None:
    if not spared:
        wait_until(lambda: len(lines(log)) == 2, why="it runs again, in another process")
        assert len(running.events("task_released", job_id=neighbour.id)) == 1
    gate.touch()
    assert str(neighbour.result(5)) == lines(log)[-1]
    assert len(set(lines(log))) == len(lines(log)) == (1 if spared else 2)


@pytest.mark.parametrize(
    ("task", "how", "spared"),
    [
        ("hangs", ["python"], True),
        ("hangs", ["a coroutine"], False),
        ("hangs", ["C"], False),
        ("hangs_in_a_loop", [], True),
    ],
)
def test_a_running_job_is_cancelled_whatever_it_does(
    share: StartWorker, send: Send, jobs: Any, tmp_path: Path, wait_until: WaitUntil, task: str,
    how: list[str], spared: bool,
) -> None:  # fmt: skip
    running = share(2)
    log, gate, own = tmp_path / "log", tmp_path / "gate", tmp_path / "own"
    neighbour = send("waits", str(log), str(gate))
    handle = send(task, str(own), *how)
    wait_until(lambda: lines(log) and lines(own), why="both run")
    assert handle.cancel() is True
    failure = failure_of(handle, 3)
    assert (failure.state, failure.kind) == ("cancelled", "Cancelled")
    _check_neighbour(running, neighbour, log, gate, wait_until, spared=spared)
    assert len(lines(own)) == 1
    assert charged(jobs, neighbour) == (1, 0, 0)
    assert running.wait_for("task_cancelled", job_id=handle.id)["duration"] > 0
    assert not running.events("task_crash", "child_lost", "stale_write")


def test_a_crash_is_charged_to_all_that_had_started_and_to_no_other(
    share: StartWorker, send: Send, jobs: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    running = share(3)
    log, gate, go = (tmp_path / name for name in ("log", "gate", "go"))
    started = [send("waits", str(log), str(gate)) for _ in range(2)]
    culprit = send("dies_when", str(go))
    running.wait_for_run(culprit.id)
    wait_until(lambda: len(lines(log)) == 2, why="all run")
    waiting = jobs.add.map([(i, i) for i in range(20)])
    go.touch()
    assert failure_of(culprit).kind == "Crashed"
    gate.touch()
    for handle in started:
        handle.result(10)
    assert [h.result(10) for h in waiting] == [2 * i for i in range(20)]
    assert charged(jobs, culprit) == (3, 0, 3)
    for handle in started:
        attempts, retries, crashes = charged(jobs, handle)
        assert (attempts, retries) == (crashes + 1, 0)
        assert 1 <= crashes <= 2
        assert len(running.events("task_crash", job_id=handle.id)) == crashes
    assert not running.events("child_lost")
    assert running.process.poll() is None


@pytest.mark.parametrize("how", ["segfault", "kill"])
def test_no_way_to_die_takes_the_worker_along(share: StartWorker, jobs: Any, how: str) -> None:
    running = share(2)
    failure = failure_of(jobs.dies.delay(how))
    assert (failure.state, failure.kind) == ("dead", "Crashed")
    assert jobs.add.delay(1, 1).result(5) == 2
    assert len(running.children()) == 1


def test_garbage_in_every_descriptor_is_a_crash(
    worker: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    """Also in those by which threads and supervisor speak to each other."""
    running = worker("--concurrency", "2", app="hostile")
    args = dump_args(("6c656674203939", "hang"), {})
    spec = JobSpec(task="hostile.writes_into_every_descriptor", args=args)
    (job,) = jobs.bg.dispatcher.enqueue([spec])
    failure = failure_of(jobs.bg.job(job))
    assert (failure.state, failure.kind) == ("dead", "Crashed")
    assert jobs.add.delay(1, 1).result(5) == 2
    assert running.process.poll() is None


def test_a_fresh_process_does_not_cut_off_what_runs(
    start: StartWorker, send: Send, jobs: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Its idle threads move on at once, so the long job holds up nobody."""
    running = start(3, limits={"max_jobs_per_child": 4, "concurrency": 3, "app": "threaded"})
    log, gate = tmp_path / "log", tmp_path / "gate"
    long = send("waits", str(log), str(gate))
    wait_until(lambda: lines(log), why="it runs")
    other = tmp_path / "other"
    gate_of_others = tmp_path / "open"
    gate_of_others.touch()
    handles = [send("waits", str(other), str(gate_of_others)) for _ in range(40)]
    pids = {handle.result(10) for handle in handles}
    assert len(pids) >= 10
    assert len(lines(other)) == 40
    assert long.status is JobState.RUNNING
    gate.touch()
    first = long.result(5)
    assert lines(log) == [str(first)]
    wait_until(lambda: not running.is_running(first), why="the first process has left")
    assert {charged(jobs, handle) for handle in [long, *handles]} == {(1, 0, 0)}
    assert not running.events("child_lost", "task_crash", "task_released")


def test_what_a_job_started_ends_with_it_and_what_its_neighbour_started_does_not(
    share: StartWorker, send: Send, tmp_path: Path, wait_until: WaitUntil
) -> None:
    running = share(2)
    log, own, detached, gate = (tmp_path / name for name in ("log", "own", "detached", "gate"))
    neighbour = send("starts_a_program", str(log), str(gate))
    wait_until(lambda: lines(log), why="it runs")
    send("starts_a_program", str(own)).result(5)
    send("starts_a_program", str(detached), detached=True).result(5)
    (kept,), (ended,), (stray,) = (map(int, lines(path)) for path in (log, own, detached))
    assert not running.is_running(ended)
    assert running.is_running(kept)
    assert running.is_running(stray), "whose it is cannot be told while another job runs"
    gate.touch()
    assert neighbour.result(5) is None, "its program was left alone"
    assert not running.is_running(kept)
    assert not running.is_running(stray)


def test_running_jobs_finish_when_the_worker_is_told_to_stop(
    start: StartWorker, send: Send, jobs: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    running = start(3)
    log, gate = tmp_path / "log", tmp_path / "gate"
    handles = [send("waits", str(log), str(gate)) for _ in range(3)]
    wait_until(lambda: len(lines(log)) == 3, why="all run")
    running.signal(signal.SIGTERM)
    gate.touch()
    assert running.wait() == 0
    assert [h.status for h in handles] == [JobState.SUCCEEDED] * 3
    assert [charged(jobs, h) for h in handles] == [(1, 0, 0)] * 3


def test_kills_while_jobs_run_lose_nothing_and_double_no_ending(
    start: StartWorker, jobs: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """First of the process that runs the jobs, then of the supervisor."""
    log = tmp_path / "log"
    running = start(20)
    handles = jobs.record_pid.map([(str(log), str(i), 0.02) for i in range(400)])
    for n in (20, 120):
        wait_until(lambda n=n: len(lines(log)) >= n, why="they run")
        os.kill(running.child(), signal.SIGKILL)
    wait_until(lambda: len(lines(log)) >= 250, why="they go on")
    running.signal(signal.SIGKILL)
    running.process.wait()
    second = start(20)
    for handle in handles:
        handle.result(20)
    assert {int(line.split()[0]) for line in lines(log)} == set(range(400))
    second.stop()
    told = [line["job_id"] for line in [*running.lines(), *second.lines()]
            if line["event"] == "task_success"]  # fmt: skip
    doubled = len(told) - len(set(told))
    assert doubled <= len(second.events("rescued")), "told once more only by who took it over"
    assert len(running.events("task_crash")) >= 2


def test_another_pool_is_refused(cli: Callable[..., Any]) -> None:
    said = cli("run", "--app", "jobs", "--pool", "fibre")
    assert said.code == 2
    assert "--pool: invalid choice: 'fibre'" in said.err
