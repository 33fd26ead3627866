"""Cancelling, retrying and purging beside real workers that are at work."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgworker import JobFailed
from bgworker.inspector import Inspector
from bgworker.states import JobState

StartWorker = Callable[..., Any]
WaitUntil = Callable[..., Any]
PRODUCERS, PAIRS = 3, 150
VICTIMS = PRODUCERS * PAIRS
"""Runs that are cancelled about when they end."""


@pytest.fixture
def tasks(cancellable: Any) -> Any:
    """What is enqueued here; the workers run the same module."""
    return cancellable


@pytest.fixture
def start(worker: StartWorker) -> StartWorker:
    def start(concurrency: int = 2) -> Any:
        return worker("--concurrency", str(concurrency), app="cancellable")

    return start


@pytest.fixture
def share(standing: StartWorker) -> StartWorker:
    """As ``start``: a worker with one child, which others use too."""
    return lambda: standing("--concurrency", "1", app="cancellable")


def pids_in(path: Path) -> list[int]:
    """What a task wrote down, once its line is whole."""
    text = path.read_text() if path.exists() else ""
    return [int(pid) for pid in text.split()] if text.endswith("\n") else []


def rows(folder: Path) -> Counter[str]:
    """How many jobs are stored in each state: counted, not remembered."""
    db = sqlite3.connect(folder / "jobs.db")
    try:
        both = "SELECT state FROM bgworker_job UNION ALL SELECT state FROM bgworker_history"
        return Counter(state for (state,) in db.execute(both))
    finally:
        db.close()


def tallies(folder: Path) -> Counter[str]:
    inspector = Inspector(str(folder / "jobs.db"))
    try:
        queues = inspector.stats(time.time_ns() // 10**6).queues
        found = Counter[str]()
        for queue in queues:
            found.update({state.value: n for state, n in queue.states.items() if n})
        return found
    finally:
        inspector.close()


@pytest.mark.parametrize(
    ("name", "pool"),
    [("spawns", "process"), ("ignores_signals", "process"), ("spawns", "thread")],
)
def test_a_running_job_is_stopped_with_all_that_it_started(
    share: StartWorker, tasks: Any, tmp_path: Path, wait_until: WaitUntil, name: str
) -> None:
    running = share()
    path = tmp_path / "pids"
    handle = getattr(tasks, name).delay(str(path))
    pids = wait_until(lambda: pids_in(path), why="the task has begun")
    assert all(running.is_running(pid) for pid in pids)

    assert handle.cancel() is True

    wait_until(
        lambda: not any(running.is_running(pid) for pid in pids), seconds=1, why="process group"
    )
    with pytest.raises(JobFailed, match="job cancelled: Cancelled: by process"):
        handle.result(1)
    line = running.wait_for("task_cancelled", job_id=handle.id)
    assert line["task"] == f"cancellable.{name}"
    assert line["duration"] > 0
    assert handle.cancel() is True, "it is cancelled, whoever asks"
    record = tasks.bg.dispatcher.fetch(handle.id)
    assert (record.state, record.attempts, record.crashes) == (JobState.CANCELLED, 1, 0)
    assert record.started_at is not None
    assert record.finished_at - record.started_at < 5_000
    assert not running.events("task_crash", "stale_write", "child_lost")
    assert tasks.nap.delay(0).result(5) == "rested", "its child is replaced"


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_job_that_waits_behind_a_run_is_withdrawn_and_the_run_goes_on(
    start: StartWorker, tasks: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Claimed already, perhaps read into the child: its end is not the end of who runs there."""
    running = start(concurrency=1)
    assert [h.result(5) for h in tasks.nap.map([(0.0,)] * 50)] == ["rested"] * 50  # they are short
    path = tmp_path / "ran"
    first, *others = tasks.nap.map(
        [(1.0, str(path), "first"), *((0.0, str(path), f"{n}") for n in range(20))]
    )
    wait_until(path.exists, why="the first runs")
    assert [handle.cancel() for handle in others[::2]] == [True] * 10

    assert first.result(10) == "rested"
    assert [h.result(10) for h in others[1::2]] == ["rested"] * 10
    assert all(h.status is JobState.CANCELLED for h in others[::2])
    assert path.read_text().split() == ["first", *(str(n) for n in range(1, 20, 2))]
    running.stop()  # whose last lines may come after what they tell of
    assert len(running.events("task_success")) == 50 + 11
    assert not running.events("task_crash", "stale_write")


@pytest.mark.parametrize("pool", ["process", "thread"])
@pytest.mark.timeout(180)
def test_cancelling_races_with_the_end_of_the_runs(
    start: StartWorker, tasks: Any, tmp_path: Path
) -> None:
    """Who was told yes is cancelled, who was told no has ended: never both, never neither."""
    running = start(concurrency=3)
    path = tmp_path / "ran"
    said: dict[str, bool] = {}
    let_be: list[str] = []

    def produce_and_cancel(seed: int) -> None:
        chance = random.Random(seed)
        pause = (
            0.008  # longer after a yes, shorter after a no: on any machine about half are caught
        )
        for n in range(PAIRS):
            victim, innocent = tasks.nap.map(
                [(chance.random() * 0.01, str(path), f"{seed}-{n}-{part}") for part in (0, 1)]
            )
            let_be.append(innocent.id)
            threading.Event().wait(chance.random() * 2 * pause)
            said[victim.id] = victim.cancel()
            pause = min(0.1, pause * 1.15) if said[victim.id] else pause / 1.15

    threads = [
        threading.Thread(target=produce_and_cancel, args=(seed,)) for seed in range(PRODUCERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    states = {id_: tasks.bg.dispatcher.wait(id_, 20).state for id_ in (*said, *let_be)}
    running.stop()
    told_yes = {id_ for id_, yes in said.items() if yes}
    assert (len(said), len(let_be), len(states)) == (VICTIMS, VICTIMS, 2 * VICTIMS)
    assert {id_ for id_, state in states.items() if state is JobState.CANCELLED} == told_yes
    assert {state for id_, state in states.items() if id_ not in told_yes} == {JobState.SUCCEEDED}
    stopped = [line for line in running.events("task_cancelled") if "duration" in line]
    assert len(stopped) > 5, "some were caught in their runs"
    assert len(told_yes) < 0.98 * VICTIMS, "many were not caught"
    assert max(Counter(path.read_text().split()).values()) == 1, "nothing ran twice"
    assert rows(tmp_path) == tallies(tmp_path)
    assert sum(rows(tmp_path).values()) == 2 * VICTIMS
    assert not running.events("task_crash", "stale_write", "rescued")


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_job_whose_worker_is_killed_before_it_can_act_is_cancelled_all_the_same(
    start: StartWorker, tasks: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    first = start(concurrency=1)
    path = tmp_path / "ran"
    handle = tasks.nap.delay(300, str(path))
    pids = wait_until(lambda: pids_in(path), why="it runs")
    first.signal(signal.SIGSTOP)
    assert handle.cancel() is True
    assert handle.status is JobState.RUNNING, "nobody could act yet"
    first.signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL

    second = start(concurrency=1)
    with pytest.raises(JobFailed, match="cancelled"):
        handle.result(10)
    assert second.wait_for("task_cancelled", job_id=handle.id)
    assert second.events("rescued")[0]["state"] == "cancelled"
    assert tasks.nap.delay(0).result(5) == "rested"
    assert pids_in(path) == pids, "it began once"
    assert not second.is_running(pids[0])
    assert rows(tmp_path) == tallies(tmp_path)


def test_what_waits_is_cancelled_at_once(start: StartWorker, tasks: Any, tmp_path: Path) -> None:
    running = start(concurrency=1)
    path = str(tmp_path / "ran")
    retrying = tasks.fails.delay(path)
    running.wait_for("task_retry", job_id=retrying.id)
    running.stop()
    for handle, state in (
        (retrying, JobState.RETRYING),
        (tasks.nap.options(countdown=3600).delay(0, path), JobState.SCHEDULED),
        (tasks.nap.delay(0, path), JobState.QUEUED),
    ):
        assert handle.status is state
        assert handle.cancel() is True
        assert handle.status is JobState.CANCELLED
        assert handle.cancel() is True
    start(concurrency=1)
    assert tasks.nap.delay(0).result(5) == "rested"
    assert Path(path).read_text() == "tried\n"


def test_a_dead_job_is_retried_and_gives_its_result(
    start: StartWorker, tasks: Any, tmp_path: Path
) -> None:
    running = start()
    path = tmp_path / "wanted"
    handle = tasks.needs.delay(str(path))
    with pytest.raises(JobFailed, match="dead"):
        handle.result(10)
    path.touch()

    assert handle.retry() is True

    assert handle.result(10) == "found"
    record = tasks.bg.dispatcher.fetch(handle.id)
    assert (record.attempts, record.retries, record.error) == (3, 0, None)
    assert handle.retry() is False, "it has succeeded"
    assert handle.cancel() is False
    running.stop()
    assert len(running.events("task_success", job_id=handle.id)) == 1


def test_a_job_that_waits_for_its_time_is_hurried(share: StartWorker, tasks: Any) -> None:
    share()
    handle = tasks.nap.options(countdown=3600).delay(0)
    assert handle.retry() is True
    assert handle.result(10) == "rested"


def test_purging_while_others_produce_and_work(
    start: StartWorker,
    tasks: Any,
    tmp_path: Path,
    python: Callable[..., subprocess.Popen[str]],
    finish: Callable[..., str],
    wait_until: WaitUntil,
) -> None:
    running = start()
    produce = """
        import sys
        from cancellable import bg, nap
        bg.url = sys.argv[1]
        for _ in range(40):
            nap.map([(0.001,)] * 20)
        nap.options(countdown=3600).delay(0)
        bg.close()
    """
    producers = [python(produce, tasks.bg.url) for _ in range(2)]
    gone = []
    while any(producer.poll() is None for producer in producers):
        gone.append(tasks.bg.dispatcher.purge(None, "by a test"))
    for producer in producers:
        finish(producer)
    gone.append(tasks.bg.dispatcher.purge(None, "by a test"))
    wait_until(lambda: set(rows(tmp_path)) <= {"succeeded", "cancelled"}, why="all ended")
    running.stop()

    assert rows(tmp_path)["cancelled"] == sum(gone) > 2
    assert rows(tmp_path) == tallies(tmp_path)
    assert sum(rows(tmp_path).values()) == 2 * (40 * 20 + 1)
    assert not running.events("task_crash", "stale_write", "rescued", "heartbeat_error")
