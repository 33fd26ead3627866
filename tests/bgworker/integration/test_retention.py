"""Old jobs are deleted by a worker, beside everything else it does."""

from __future__ import annotations

import sqlite3
import threading
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bgworker.cli.arguments import interval_hours, retention_days
from bgworker.clock import ManualClock
from bgworker.engines.memory import MemoryEngine
from bgworker.engines.sqlite import SqliteEngine
from bgworker.errors import QueueUnavailable, UnknownJob
from bgworker.inspector import Inspector
from bgworker.log import Log
from bgworker.model import Ended, Failed, JobSpec, Succeeded
from bgworker.states import JobState
from bgworker.testing.hooks import join
from bgworker.worker.upkeep import Upkeep

DAY = 86_400_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def end_jobs(engine: Any, n: int, *, failed: int = 0, result: str = "1") -> list[Any]:
    jobs = engine.enqueue([JobSpec(task="t", queue=f"q{i % 2}") for i in range(n)])
    seat = join(engine, f"w{jobs[0]}")
    claims = engine.exchange(seat, [], n).claims
    endings = [Failed("{}")] * failed + [Succeeded(result)] * (n - failed)
    engine.exchange(
        seat, [Ended(c, e, engine._clock.now()) for c, e in zip(claims, endings, strict=True)], 0
    )
    return list(jobs)


def test_tallies_follow_and_totals_only_grow(tmp_path: Path, clock: ManualClock) -> None:
    with closing(SqliteEngine(str(tmp_path / "jobs.db"), clock=clock)) as engine:
        end_jobs(engine, 200, failed=10)
        clock.advance(100)
        kept = end_jobs(engine, 5)
        while engine.expire(clock.now()):
            continue
        with closing(Inspector(str(tmp_path / "jobs.db"))) as inspector:
            queues = inspector.stats(clock.now()).queues
        assert sum(q.states[JobState.SUCCEEDED] for q in queues) == 5
        assert sum(q.states[JobState.FAILED] for q in queues) == 0
        assert sum(q.succeeded_total for q in queues) == 195
        assert sum(q.failed_total for q in queues) == 10
        assert all(engine.fetch(job).state is JobState.SUCCEEDED for job in kept)


def test_one_worker_at_a_time_deletes(tmp_path: Path, clock: ManualClock) -> None:
    engines = [SqliteEngine(str(tmp_path / "jobs.db"), clock=clock) for _ in range(2)]
    end_jobs(engines[0], 1, result=f'"{"x" * 1000}"')
    end_jobs(engines[0], 3000)
    clock.advance(1)
    assert engines[0].expire(clock.now()) > 0
    assert engines[1].expire(clock.now()) == 0
    engines[0].close()  # as if it had died
    while engines[1].expire(clock.now()):
        continue
    assert engines[1]._store.read("SELECT count(*) FROM bgworker_history") == [(0,)]
    engines[1].close()


def test_an_enqueue_comes_between_two_steps(tmp_path: Path, clock: ManualClock) -> None:
    """While one thread deletes ten thousand jobs, another stores its own one by one."""
    engine = SqliteEngine(str(tmp_path / "jobs.db"), clock=clock, durable=False)
    end_jobs(engine, 10_000)
    clock.advance(1)
    cleaner = SqliteEngine(str(tmp_path / "jobs.db"), clock=clock, durable=False)
    steps: list[int] = []

    def clean() -> None:
        while step := cleaner.expire(clock.now()):
            steps.append(step)

    thread = threading.Thread(target=clean)
    thread.start()
    stored_between = set()
    while thread.is_alive():
        engine.enqueue([JobSpec(task="t")])
        stored_between.add(len(steps))
    thread.join()
    assert sum(steps) == 10_000
    assert len(steps) > 3
    assert len(stored_between) > 3
    engine.close()
    cleaner.close()


@pytest.mark.parametrize(("said", "age"), [("", 31), ("20", 21)])
def test_a_worker_deletes_what_is_too_old(
    worker: Callable[..., Any], jobs: Any, tmp_path: Path, said: str, age: int
) -> None:
    """One job ended a moment ago; the others a day too long."""
    first = worker()
    old = jobs.add.map([(n, n) for n in range(500)])
    for handle in old:
        handle.result(10)
    recent = jobs.add.delay(1, 1)
    recent.result(10)
    first.stop()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as db:
        db.execute(
            f"UPDATE bgworker_history SET finished_at = finished_at - {age * DAY} WHERE id < ?",
            (int(recent.id),),
        )
        db.commit()
    second = worker(env={"BGWORKER_RETENTION_DAYS": said})
    told = second.wait_for("cleanup")
    assert told["deleted"] == 500
    assert told["duration"] >= 0
    with pytest.raises(UnknownJob):
        _ = old[0].status
    assert recent.status is JobState.SUCCEEDED
    assert jobs.add.delay(2, 2).result(5) == 4


def test_cleaning_keeps_its_hours(clock: ManualClock, tmp_path: Path) -> None:
    """At the start, then once in an interval; only a cleaning that found something is told."""
    engine = MemoryEngine(clock=clock)
    with (tmp_path / "log").open("wb") as file:
        log = Log("w", style="json", fd=file.fileno(), clock=clock)
        upkeep = Upkeep(engine, log, clock, retention_days=2, interval_hours=3)
        upkeep.step()
        (job,) = end_jobs(engine, 1)
        clock.advance(2.9 * 3600)
        upkeep.step()
        clock.advance(2 * 86_400)
        upkeep.step()
        assert upkeep.due < clock.monotonic() + 1
        clock.advance(1)
        upkeep.step()
        assert upkeep.due == clock.monotonic() + 3 * 3600
        log.flush()
    with pytest.raises(UnknownJob):
        engine.fetch(job)
    engine.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 1
    assert '"event":"cleanup"' in lines[0]
    assert '"deleted":1' in lines[0]


def test_a_queue_that_cannot_be_written_is_cleaned_later(clock: ManualClock) -> None:
    class Locked(MemoryEngine):
        def expire(self, before: int, /) -> int:
            raise QueueUnavailable("locked")

    upkeep = Upkeep(Locked(clock=clock), Log("w", style="json"), clock)
    upkeep.step()
    assert upkeep.due == clock.monotonic() + 60


def test_for_ever_is_never_due(clock: ManualClock) -> None:
    engine = MemoryEngine(clock=clock)
    (job,) = end_jobs(engine, 1)
    clock.advance(1e9)
    upkeep = Upkeep(engine, Log("w", style="json"), clock, retention_days=None)
    upkeep.step()
    assert upkeep.due == float("inf")
    assert engine.fetch(job).state is JobState.SUCCEEDED
    engine.close()


@pytest.mark.parametrize(("text", "days"), [("30", 30.0), ("0.5", 0.5), ("forever", None)])
def test_retention_is_read(text: str, days: float | None) -> None:
    assert retention_days(text) == days


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "1e99", "a week", "for ever"])
def test_what_is_no_retention_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="days above 0"):
        retention_days(text)
    with pytest.raises(ArgumentTypeError, match="hours above 0"):
        interval_hours(text)
