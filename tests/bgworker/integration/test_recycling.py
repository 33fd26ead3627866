"""Children are replaced between two jobs: no job is lost, and none is charged for it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from bgworker.codec import dump_args
from bgworker.model import JobSpec

StartWorker = Callable[..., Any]
Send = Callable[..., Any]


@pytest.fixture
def send(jobs: Any) -> Send:
    """Store jobs of ``apps/talking.py``, one for each tuple of arguments."""

    def send(task: str, calls: list[tuple[Any, ...]]) -> list[Any]:
        specs = [JobSpec(task=f"talking.{task}", args=dump_args(args, {})) for args in calls]
        return [jobs.bg.job(job) for job in jobs.bg.dispatcher.enqueue(specs)]

    return send


@pytest.mark.parametrize("pool", ["process", "thread"])
@pytest.mark.parametrize(("jobs_each", "count"), [(1, 50), (7, 140)])
def test_a_child_runs_so_many_jobs_and_no_more(
    worker: StartWorker, send: Send, jobs: Any, jobs_each: int, count: int
) -> None:
    running = worker(app="talking", limits={"max_jobs_per_child": jobs_each})
    handles = send("pid_after", [()] * count)
    runs = Counter(handle.result(30) for handle in handles)
    assert max(runs.values()) <= jobs_each
    assert len(runs) >= count // jobs_each
    records = [jobs.bg.dispatcher.fetch(handle.id) for handle in handles]
    assert {(r.attempts, r.retries, r.crashes) for r in records} == {(1, 0, 0)}
    assert not running.events("child_lost", "task_crash", "stale_write")
    running.stop()


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_child_that_has_grown_is_replaced(worker: StartWorker, send: Send, jobs: Any) -> None:
    running = worker(app="talking", limits={"max_rss": 150, "concurrency": 1})
    (first,) = send("pid_after", [()])
    thin = first.result(10)
    (more,) = send("keeps", [(10,)])
    assert more.result(10) == thin, "below the limit it stays"
    (much,) = send("keeps", [(200,)])
    assert much.result(10) == thin
    after = send("pid_after", [()] * 20)
    pids = {handle.result(10) for handle in after}
    assert len(pids) == 1
    assert pids != {thin}
    assert not running.events("child_lost", "task_crash")
    assert {jobs.bg.dispatcher.fetch(h.id).attempts for h in [*after, much]} == {1}


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_an_idle_child_takes_what_a_leaving_one_held(
    worker: StartWorker, send: Send, jobs: Any
) -> None:
    """Short jobs are handed out ahead; with a child gone they run elsewhere at once."""
    running = worker(app="talking", limits={"max_jobs_per_child": 50})
    assert len({handle.result(30) for handle in send("pid_after", [()] * 1000)}) >= 20
    assert not running.events("child_lost", "task_crash")
    assert os.path.exists(f"/proc/{running.pid}")
