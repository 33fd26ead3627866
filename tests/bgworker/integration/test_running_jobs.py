"""What a queue is for: jobs run once, in order, on time, and their results come back."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from bgworker import JobFailed, JobState
from bgworker.engines import sqlite_path
from bgworker.engines.sqlite import SqliteEngine
from bgworker.model import JobSpec

StartWorker = Callable[..., Any]


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_results_come_back(worker: StartWorker, jobs: Any, tmp_path: Path) -> None:
    """From a worker that was there before the file and before the first job."""
    assert not (tmp_path / "jobs.db").exists()
    worker()
    assert (tmp_path / "jobs.db").exists()
    assert jobs.add.delay(1, b=2).result(5) == 3
    assert jobs.later.delay(41).result(5) == 42
    assert jobs.echo.delay({"a": [1, 2.5, None, True, "é\u0000\ud800"]}).result(5) == {
        "a": [1, 2.5, None, True, "é\u0000\ud800"]
    }
    handles = jobs.add.map([(i, i) for i in range(200)])
    assert [handle.result(10) for handle in handles] == [2 * i for i in range(200)]


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_the_record_of_a_job_tells_its_story(standing: StartWorker, jobs: Any) -> None:
    running = standing("--concurrency", "1")
    before = time.time_ns() // 1_000_000
    handle = jobs.nap.delay(0.05)
    handle.result(5)
    record = jobs.bg.dispatcher.fetch(handle.id)
    assert record.state is JobState.SUCCEEDED
    assert before <= record.enqueued_at <= record.started_at
    assert 50 <= record.finished_at - record.started_at < 1000
    assert (record.attempts, record.retries, record.crashes) == (1, 0, 0)
    assert record.worker == running.events("worker_start")[0]["worker"]
    assert record.result == '"rested"'
    assert record.error is None


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_one_child_runs_by_priority_then_in_order(
    worker: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    log = tmp_path / "order"
    chosen = random.Random(7)
    expected = []
    for number in range(80):
        priority = chosen.choice([-3, 0, 5, 5, 5, 9])
        jobs.record.options(priority=priority).delay(str(log), f"{priority} {number}")
        expected.append((priority, number))
    last = jobs.echo.options(priority=100).delay()
    running = worker("--concurrency", "1")
    last.result(10)
    ran = [tuple(map(int, line.split())) for line in log.read_text().splitlines()]
    assert ran == sorted(expected)
    started = [line["job_id"] for line in running.events("task_start")]
    assert len(started) == len(set(started)) == 81


def test_first_in_first_out_across_transactions_and_delays(
    standing: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    """A job that becomes due queues behind those that are available already."""
    log = str(tmp_path / "order")
    running = standing("--concurrency", "1")
    blocker = jobs.nap.delay(0.5)
    running.wait_for_run(blocker.id)
    jobs.record.options(countdown=0.2).delay(log, "delayed")
    jobs.record.map([(log, f"early {i}") for i in range(5)])
    blocker.result(5)
    jobs.echo.delay().result(5)
    found = Path(log).read_text().splitlines()
    assert found == [*(f"early {i}" for i in range(5)), "delayed"]


def test_a_delayed_job_starts_on_time(standing: StartWorker, jobs: Any) -> None:
    standing("--concurrency", "1")
    due = time.time() + 0.5
    zone = timezone(timedelta(hours=5, minutes=30))
    handles = [
        jobs.echo.options(countdown=0.5).delay("x"),
        jobs.echo.options(eta=datetime.fromtimestamp(due, zone)).delay("x"),
    ]
    assert {handle.status for handle in handles} == {JobState.SCHEDULED}
    for handle in handles:
        assert handle.result(5) == "x"
        started = jobs.bg.dispatcher.fetch(handle.id).started_at / 1000
        assert due - 0.002 <= started < due + 0.15


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_task_enqueues_another(standing: StartWorker, jobs: Any, tmp_path: Path) -> None:
    """In the queue of its worker, whatever the app's own is."""
    log = tmp_path / "order"
    running = standing("--concurrency", "1")
    assert jobs.bg.url.endswith("/jobs.db")
    inner = jobs.enqueues.delay(str(log), "from a task").result(5)
    assert jobs.bg.job(inner).result(5) is None
    assert log.read_text() == "from a task\n"
    assert not (running.folder / "bgworker.db").exists()


WANDERER = """
import os
from bgworker import BgWorker
bg = BgWorker("sqlite:///own%20queue.db?durability=process")
bg.dispatcher.policy_of("opened by the import")
os.chdir("elsewhere")

@bg.task(name="outer")
def outer(folder):
    os.chdir(folder)
    return inner.delay().id

@bg.task(name="inner")
def inner():
    return bg.url
"""


@pytest.mark.parametrize("own", [True, False])
def test_the_folder_a_task_is_in_does_not_change_its_queue(
    own: bool, worker: StartWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the app's own relative URL, and with one given to the worker, after a new start too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "wanderer.py").write_text(WANDERER)
    name = "own queue.db" if own else "given.db"
    given = {} if own else {"url": "sqlite:///given.db"}
    running = worker(limits={"url": None, **given}, app="wanderer")
    with closing(SqliteEngine(str(tmp_path / name))) as engine:
        for n in range(2):
            (outer,) = engine.enqueue([JobSpec(task="outer", args=f'[["{tmp_path}"],{{}}]')])
            inner = json.loads(engine.wait(outer, 10).result or "")
            found = json.loads(engine.wait(inner, 10).result or "")
            assert sqlite_path(found) == str(tmp_path / name)
            if n == 0:
                os.kill(running.zygote(), signal.SIGKILL)
    assert sorted(path.name for path in tmp_path.rglob("*.db")) == sorted({name, "own queue.db"})


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_an_unknown_task_stays_with_one_line_in_the_log(
    worker: StartWorker, jobs: Any, tmp_path: Path, wait_until: Callable[..., object]
) -> None:
    """It is left alone for those who know it, keeps its place, and holds up nobody behind it."""
    running = worker()
    nobody = jobs.bg.task(name="nobody.knows\x1b[31m")(lambda: None)
    handles = nobody.map([()] * 50)
    running.wait_for("task_unknown")
    assert [h.result(5) for h in jobs.add.map([(n, n) for n in range(20)])] == [
        2 * n for n in range(20)
    ]
    wait_until(lambda: {h.status for h in handles} == {JobState.QUEUED}, why="all are given back")
    runs = [jobs.bg.dispatcher.fetch(h.id) for h in handles]
    assert {(run.attempts, run.retries, run.crashes) for run in runs} == {(0, 0, 0)}
    claims = sum_of_claims(tmp_path)
    nobody.delay()
    assert jobs.add.delay(1, 1).result(5) == 2
    assert sum_of_claims(tmp_path) == claims, "a job of a task known to be unknown was claimed"
    (line,) = running.events("task_unknown")
    assert line["task"] == "nobody.knows\x1b[31m"
    assert "stay in the queue" in line["detail"]


def sum_of_claims(folder: Path) -> int:
    with closing(sqlite3.connect(f"file:{folder}/jobs.db?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT sum(claim) FROM bgworker_job").fetchone()[0])


def test_a_worker_keeps_to_its_queues(
    worker: StartWorker, jobs: Any, wait_until: Callable[..., object]
) -> None:
    handle = jobs.elsewhere.delay()
    other = jobs.add.options(queue="third").delay(1, 1)
    running = worker("--queues", "default,third")
    assert other.result(5) == 2
    assert jobs.add.delay(2, 2).result(5) == 4
    assert handle.status is JobState.QUEUED
    running.stop()
    worker("--queues", "slow")
    assert handle.result(5) == "elsewhere"


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_two_workers_share_the_work_and_run_each_job_once(
    worker: StartWorker, jobs: Any, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    log = tmp_path / "order"
    first, second = worker(), worker()
    handles = jobs.record_pid.map([(str(log), str(i), 0.005) for i in range(100)])
    handles += jobs.record.map([(str(log), str(i)) for i in range(100, 500)])
    for handle in handles:
        handle.result(20)
    counts = Counter(line.split()[0] for line in log.read_text().splitlines())
    assert counts == {str(i): 1 for i in range(500)}

    def shares() -> list[int]:
        return [len(running.events("task_success")) for running in (first, second)]

    # The log is written after the ending that result() has seen.
    wait_until(lambda: sum(shares()) >= 500, why="each success is in a log")
    assert sum(shares()) == 500
    assert min(shares()) >= 30, shares()


def test_a_slow_job_does_not_hold_up_those_behind_it(
    worker: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    """Short jobs are handed out ahead; one that turns out long must not keep what waits behind."""
    worker("--grace", "0")
    (tmp_path / "open").touch()
    for handle in jobs.waits.map([(str(tmp_path / "open"),)] * 400):
        handle.result(10)
    slow = jobs.waits.delay(str(tmp_path / "closed"))
    for handle in jobs.waits.map([(str(tmp_path / "open"),)] * 300):
        handle.result(10)
    assert slow.status is JobState.RUNNING


def test_what_an_application_prints_is_printed_once(worker: StartWorker, tmp_path: Path) -> None:
    """Although every child inherits what the zygote had not written yet."""
    (tmp_path / "talking.py").write_text(
        "from bgworker import BgWorker\nprint('imported')\nbg = BgWorker()\n"
    )
    running = worker("--concurrency", "3", app="talking")
    running.stop()
    assert running.stdout.read_text() == "imported\n"


def test_waiting_for_a_result(worker: StartWorker, jobs: Any) -> None:
    handle = jobs.raises.delay("kaputt")
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="queued"):
        handle.result(0.3)
    assert 0.28 <= time.monotonic() - began < 0.6
    worker()
    with pytest.raises(JobFailed, match="ValueError: kaputt") as caught:
        handle.result(5)
    assert caught.value.state == "failed"
    assert caught.value.kind == "ValueError"
    assert "raise ValueError(how)" in caught.value.traceback
