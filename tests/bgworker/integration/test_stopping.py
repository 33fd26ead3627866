"""Signals to a worker: what runs may finish, what cannot goes back, nothing is charged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgworker import JobState

StartWorker = Callable[..., Any]
WaitUntil = Callable[..., object]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The file for which the task ``waits`` runs."""
    return tmp_path / "gate"


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_short_job_finishes_before_the_worker_stops(
    worker: StartWorker, jobs: Any, gate: Path
) -> None:
    running = worker("--grace", "50")
    handle = jobs.waits.delay(str(gate))
    running.wait_for_run(handle.id)
    running.ask_to_stop()
    gate.touch()
    assert running.wait() == 0
    assert handle.result(0) == "rested"
    events = [line["event"] for line in running.lines()]
    assert events == ["worker_start", "task_start", "task_success", "worker_stop"]


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_long_job_goes_back_unburnt_after_the_grace(
    worker: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    running = worker("--concurrency", "1", "--grace", "0.5")
    path = tmp_path / "times"
    handle = jobs.nap.delay(60, str(path))
    waiting = jobs.add.map([(1, 1)] * 3)
    running.wait_for_run(handle.id)
    began = time.monotonic()
    running.stop()
    assert 0.45 < time.monotonic() - began < 1.5
    record = jobs.bg.dispatcher.fetch(handle.id)
    assert (record.state, record.attempts, record.worker) == (JobState.QUEUED, 0, None)
    assert (record.retries, record.crashes, record.error) == (0, 0, None)
    assert {w.status for w in waiting} == {JobState.QUEUED}
    assert running.events("task_released", job_id=handle.id)
    assert not running.events("task_crash", "task_failed", "task_dead", "task_retry")
    assert b"end" not in path.read_bytes()


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_the_second_signal_is_immediate(worker: StartWorker, jobs: Any) -> None:
    running = worker("--grace", "50")
    handle = jobs.nap.delay(60)
    running.wait_for_run(handle.id)
    running.ask_to_stop()
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(0.15)
    running.stop(5)
    assert handle.status is JobState.QUEUED
    assert jobs.bg.dispatcher.fetch(handle.id).attempts == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_everybody_lets_the_job_finish(
    worker: StartWorker, jobs: Any, gate: Path, wait_until: WaitUntil, number: int
) -> None:
    """Ctrl-C reaches the whole process group, a service manager may signal every process."""
    running = worker("--grace", "50")
    handle = jobs.waits.delay(str(gate))
    running.wait_for_run(handle.id)
    if number == signal.SIGTERM:
        for pid in running.marked.alive():
            os.kill(pid, number)
    else:
        os.killpg(running.pid, number)
    for pid in running.marked.alive():
        wait_until(lambda pid=pid: running.rests(pid), why=f"{pid} has noticed")
    gate.touch()
    assert running.wait() == 0
    assert handle.result(0) == "rested"
    assert "Traceback" not in running.words()


def test_jobs_are_not_taken_while_stopping(worker: StartWorker, jobs: Any, gate: Path) -> None:
    running = worker("--grace", "50")
    handle = jobs.waits.delay(str(gate))
    running.wait_for_run(handle.id)
    running.ask_to_stop()
    late = jobs.add.map([(1, 1)] * 5)
    gate.touch()
    assert running.wait() == 0
    assert handle.result(0) == "rested"
    assert {h.status for h in late} == {JobState.QUEUED}


def test_a_worker_waits_at_rest_for_those_it_has_killed(
    worker: StartWorker, jobs: Any, wait_until: WaitUntil
) -> None:
    """The zygote, which does the killing, is held up for a while."""
    running = worker("--concurrency", "1", "--grace", "0")
    handle = jobs.nap.delay(60)
    running.wait_for_run(handle.id)
    zygote = running.zygote()
    os.kill(zygote, signal.SIGSTOP)
    before = running.cpu_seconds()
    running.signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(0.4)
    assert running.cpu_seconds() - before < 0.1
    os.kill(zygote, signal.SIGCONT)
    assert running.wait() == 0
    assert handle.status is JobState.QUEUED


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_what_the_next_worker_finds_is_all_there(
    worker: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    """Stop a busy worker again and again: each job still runs exactly once."""
    log = tmp_path / "order"
    handles = jobs.record.map([(str(log), str(i)) for i in range(1200)])
    for _ in range(3):
        running = worker()
        running.wait_for("task_success")
        running.stop()
    worker()
    for handle in handles:
        handle.result(20)
    assert sorted(map(int, log.read_text().split())) == list(range(1200))


def test_a_hangup_that_was_ignored_stays_ignored(
    tmp_path: Path, url: str, marked: Any, jobs: Any, wait_until: WaitUntil
) -> None:
    """``nohup bgworker run`` outlives its terminal."""
    with (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(
            ["nohup", sys.executable, "-m", "bgworker.cli", "run", "--app", "jobs", "--url", url],
            env=marked.environment(),
            stdin=subprocess.DEVNULL,
            stdout=err,
            stderr=err,
        )
    wait_until(lambda: b"worker_start" in (tmp_path / "err").read_bytes(), why="started")
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.25)
    assert jobs.add.delay(1, 1).result(5) == 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0


def test_a_worker_that_is_told_to_stop_at_once_does(
    worker: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    """Whenever the signal comes during the start: no hang, no leftover, no traceback."""
    for delay in (0.03, 0.1, 0.15):
        running = worker(wait=False)
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(delay)
        running.signal(signal.SIGTERM)
        assert running.wait(5) in {0, -signal.SIGTERM}
        assert "Traceback" not in running.words()
    final = worker()
    assert jobs.add.delay(1, 1).result(5) == 2
    final.stop()
    assert list((tmp_path / "jobs.db.d" / "workers").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_seconds_before_the_start_can_be_interrupted(
    tmp_path: Path, url: str, marked: Any, wait_until: WaitUntil, number: int
) -> None:
    """While the application is being imported: it ends, and takes the importing process along."""
    (tmp_path / "slow_app.py").write_text(
        "import time\nopen('importing', 'w').close()\ntime.sleep(60)\n"
    )
    with (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "bgworker.cli", "run", "--app", "slow_app", "--url", url],
            cwd=tmp_path,
            env=marked.environment(),
            stderr=err,
        )
    wait_until((tmp_path / "importing").exists, why="the import runs")
    process.send_signal(number)
    assert process.wait(3) in {130, 128 + number, -number}
    wait_until(lambda: not marked.alive(), seconds=2, why="nothing is left")
    assert "Traceback" not in (tmp_path / "err").read_text()
