"""What goes wrong in pybgworker 1.0.0, and in snappea, goes right here: one test for each defect.

Those that another module proves anyway are named in ``PROVED_ELSEWHERE`` and not run twice.
"""

from __future__ import annotations

import ast
import fcntl
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bgworker.engines.sqlite import SqliteEngine
from bgworker.engines.sqlite.store import WAL_LIMIT
from bgworker.model import Ended, JobSpec, Succeeded
from bgworker.testing.hooks import join

StartWorker = Callable[..., Any]
WaitUntil = Callable[..., Any]

HERE = Path(__file__).parents[1]
PROVED_ELSEWHERE = {
    "a result of 200 kB blocks the child, and the job runs four times": (
        "integration/test_failing_tasks.py::test_large_arguments_and_results_arrive_whole"
    ),
    "cancelling a running task lets its function run to the end": (
        "integration/test_cancelling.py::test_a_running_job_is_stopped_with_all_that_it_started"
    ),
    "N workers run each cron job N times": (
        "integration/test_schedules.py::test_three_workers_run_each_tick_once"
    ),
    "an answer is recorded although its job was given to somebody else": (
        "conformance/test_engines.py::TestSqlite",
        "../../src/bgworker/testing/endings.py::test_the_dead_cannot_settle",
        "../../src/bgworker/testing/endings.py::test_an_old_claim_is_stale",
    ),
    "a job is deleted before it is run": (
        "crash/test_chaos.py::test_thirty_kills_of_all_kinds_over_ten_thousand_jobs",
        "integration/test_accidents.py::test_the_death_of_the_zygote_is_survived",
    ),
    "only one foreman can work": (
        "integration/test_running_jobs.py::test_two_workers_share_the_work_and_run_each_job_once"
    ),
    "a folder of wake-up files is listed at each look": (
        "unit/test_wake.py::test_an_unchanged_folder_is_not_listed_again"
    ),
    "a writer waits for ever while others come between": (
        "integration/test_many_processes.py::test_two_producers_and_a_worker_at_full_speed"
    ),
}


@pytest.mark.parametrize("defect", PROVED_ELSEWHERE)
def test_the_proof_is_where_we_say(defect: str) -> None:
    proofs = PROVED_ELSEWHERE[defect]
    for proof in [proofs] if isinstance(proofs, str) else proofs:
        path, _, name = proof.partition("::")
        found = ast.walk(ast.parse((HERE / path).read_text()))
        assert name in {getattr(node, "name", "") for node in found}, proof


def test_a_timeout_kills_and_the_retry_overlaps_nothing(
    worker: StartWorker, jobs: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """There, the child inherits a handler for SIGTERM and lives on beside the retry."""
    log = tmp_path / "runs"
    worker("--concurrency", "4")
    handles = jobs.outlives_its_time.map([(str(log),)] * 4)
    wait_until(lambda: all(h.status.is_final for h in handles), seconds=30, why="all are judged")
    runs = [line.split() for line in log.read_text().splitlines()]
    assert len(runs) == 4 * 3
    assert [pid for pid, earlier in runs if earlier != "alone"] == []
    assert [pid for pid, _ in runs if Path("/proc", pid).exists()] == []


def test_six_workers_open_a_new_file_together(
    worker: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    """There, one dies with "database is locked" at ``PRAGMA journal_mode=WAL``."""
    workers = [worker("--concurrency", "1", wait=False) for _ in range(6)]
    for running in workers:
        assert running.wait_for("worker_start", seconds=30)
        assert "locked" not in running.words()
    assert jobs.add.delay(1, 1).result(10) == 2
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_workers_without_a_name_are_told_apart(
    worker: StartWorker, jobs: Any, tmp_path: Path
) -> None:
    """There, all are "worker-1": one heartbeat hides the death of the other, and its jobs wait."""
    log = tmp_path / "runs"
    first = worker("--concurrency", "1")
    handle = jobs.record_pid.delay(str(log), "run", 300)
    first.wait_for_run(handle.id)
    second = worker("--concurrency", "1")
    names = {one.wait_for("worker_start")["worker"] for one in (first, second)}
    assert len(names) == 2
    first.signal(signal.SIGKILL)
    first.wait()
    second.wait_for("rescued", job_id=handle.id)
    second.wait_for_run(handle.id)
    assert handle.cancel()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SqliteEngine]:
    found = SqliteEngine(str(tmp_path / "jobs.db"), durable=False)
    yield found
    found.close()


def test_delayed_jobs_cost_an_idle_look_nothing(engine: SqliteEngine) -> None:
    """There, 100,000 of them make it a thousand times slower. Counted in instructions of SQLite."""
    seat = join(engine)
    db = engine._store.connection()
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def look() -> int:
        nonlocal steps
        steps = 0
        db.set_progress_handler(count, 20)
        assert engine.exchange(seat, [], 4).claims == ()
        db.set_progress_handler(None, 0)
        return steps

    empty = look()
    later = engine._clock.now() + 3_600_000
    for _ in range(10):
        engine.enqueue([JobSpec(task="t", run_at=later)] * 10_000)
    assert 0 < look() <= empty + 10
    (ready,) = engine.enqueue([JobSpec(task="t")])
    assert [claim.id for claim in engine.exchange(seat, [], 4).claims] == [ready]
    engine.leave(seat)


COUNTED = """
    import sys
    import jobs
    opened = []
    sys.addaudithook(lambda event, _: event == "sqlite3.connect" and opened.append(event))
    jobs.bg.url = sys.argv[1]
    for n in range(50):
        jobs.bg.job(jobs.add.delay(n, n).id).status
    print(len(opened))
    jobs.bg.close()
"""


def test_a_producer_opens_the_file_once(
    url: str, python: Callable[..., Any], finish: Callable[..., str]
) -> None:
    """There, each call makes a connection and sets it up anew."""
    assert finish(python(COUNTED, url)) == "1\n"


def test_threads_that_enqueue_leave_no_connections(engine: SqliteEngine, tmp_path: Path) -> None:
    """There, those of ended threads keep the log from being written back."""
    barrier = threading.Barrier(8)

    def produce() -> None:
        barrier.wait()
        for _ in range(5):
            engine.enqueue([JobSpec(task="t")])

    for _ in range(4):
        threads = [threading.Thread(target=produce) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    opened = [os.readlink(link) for link in links if os.path.lexists(link)]
    assert opened.count(str(tmp_path / "jobs.db")) == 1
    assert opened.count(str(tmp_path / "jobs.db-wal")) == 1
    assert engine._store.read("SELECT count(*) FROM bgworker_job") == [(8 * 5 * 4,)]


def test_the_log_is_bounded_again_when_a_reader_lets_go(
    engine: SqliteEngine, tmp_path: Path
) -> None:
    """A snapshot pins it, as there; but not a moment longer, and nobody is refused meanwhile."""
    log = tmp_path / "jobs.db-wal"
    large = [JobSpec(task="t", args=f'[["{"x" * 100_000}"],{{}}]')] * 10

    def produce(size: int) -> None:
        for _ in range(size // 1_000_000):
            engine.enqueue(large)

    produce(20_000_000)
    assert log.stat().st_size < 2 * WAL_LIMIT
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM bgworker_job").fetchone()
        produce(30_000_000)
        assert log.stat().st_size > 30_000_000
        reader.execute("COMMIT")
        produce(10_000_000)
        assert log.stat().st_size <= 2 * WAL_LIMIT
        produce(20_000_000)
        assert log.stat().st_size <= 2 * WAL_LIMIT


def test_large_results_do_not_outgrow_the_log(engine: SqliteEngine, tmp_path: Path) -> None:
    """Forty rows of half a megabyte each: rows alone do not tell how full it is."""
    seat = join(engine)
    engine.enqueue([JobSpec(task="t")] * 40)
    for claim in engine.exchange(seat, [], 40).claims:
        engine.exchange(seat, [Ended(claim, Succeeded(f'"{"x" * 500_000}"'))], 0)
        engine.tidy()
    assert (tmp_path / "jobs.db-wal").stat().st_size <= 2 * WAL_LIMIT
    engine.leave(seat)


def test_the_log_is_written_back_by_whoever_may_write(engine: SqliteEngine) -> None:
    """There, a commit tries it while the next writer begins, and loses. Here, all others wait."""
    held: list[bool] = []

    def trace(statement: str) -> None:
        if "wal_checkpoint" in statement:
            held.append(_is_locked(engine.files.mutex))

    db = engine._store.connection()
    assert db.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
    assert not _is_locked(engine.files.mutex)
    db.set_trace_callback(trace)
    for _ in range(12):
        engine.enqueue([JobSpec(task="t", args=f'[["{"x" * 500_000}"],{{}}]')] * 2)
    db.set_trace_callback(None)
    assert len(held) >= 2
    assert all(held)


def _is_locked(path: str) -> bool:
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
