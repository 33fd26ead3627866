"""Many processes at one file at once, from its first moment on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

ROUNDS = 100
PROCESSES = 32
STORM_PRODUCERS = 16
STORM_JOBS = 25

OPENERS = """
    # Forked before anything is opened: each child opens every file of its own, all at one moment.
    import os, sys, traceback
    from bgworker.engines.sqlite import SqliteEngine
    from bgworker.model import JobSpec
    folder, rounds, processes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    failures = 0
    for n in range(rounds):
        path = f"{folder}/{n}.db"
        gate, opener = os.pipe()
        children = []
        for _ in range(processes):
            pid = os.fork()
            if pid == 0:
                os.close(opener)
                os.read(gate, 1)  # until the last writer of the pipe is gone
                try:
                    engine = SqliteEngine(path, durable=False)
                    engine.enqueue([JobSpec(task="t")])
                    engine.close()
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
            children.append(pid)
        os.close(opener)
        os.close(gate)
        failures += sum(os.waitpid(pid, 0)[1] != 0 for pid in children)
    print(failures)
"""
HOLDER = """
    # A foreign program that holds SQLite's write lock again and again, for seconds.
    import itertools, sqlite3, sys, time
    db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
    print("ready", flush=True)
    sys.stdin.readline()
    for seconds in (2, 3, 2):
        db.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        db.execute("COMMIT")
        time.sleep(0.2)
    db.close()
"""
PRODUCER = """
    import sys
    import jobs
    jobs.bg.url = sys.argv[1]
    for n in range(int(sys.argv[2])):
        print(jobs.add.delay(n, n).id, flush=True)
    jobs.bg.close()
"""


@pytest.mark.timeout(180)
def test_thirty_two_processes_open_a_new_file_a_hundred_times(
    tmp_path: Path, marked: Any, python: Callable[..., Any], finish: Callable[..., str]
) -> None:
    """None fails, and every job of each is there."""
    failures = finish(python(OPENERS, str(tmp_path), str(ROUNDS), str(PROCESSES)), 150)
    assert failures == "0\n"
    for n in range(ROUNDS):
        with closing(sqlite3.connect(tmp_path / f"{n}.db")) as db:
            assert db.execute("SELECT count(*) FROM bgworker_job").fetchone() == (PROCESSES,)
            assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.timeout(180)
def test_a_storm_of_writers_beside_a_foreign_one(
    worker: Callable[..., Any],
    jobs: Any,
    url: str,
    tmp_path: Path,
    python: Callable[..., Any],
    finish: Callable[..., str],
    wait_until: Callable[..., Any],
) -> None:
    """Sixteen producers and two workers; none of them is told about it."""
    workers = [worker("--concurrency", "1") for _ in range(2)]
    holder = python(HOLDER, str(tmp_path / "jobs.db"))
    assert holder.stdout.readline() == "ready\n"
    holder.stdin.write("\n")
    holder.stdin.flush()
    producers = [python(PRODUCER, url, str(STORM_JOBS)) for _ in range(STORM_PRODUCERS)]
    ids = [job for producer in producers for job in finish(producer, 60).split()]
    finish(holder, 60)
    assert len(set(ids)) == len(ids) == STORM_PRODUCERS * STORM_JOBS
    wait_until(lambda: jobs.bg.job(max(ids, key=int)).status.is_final, seconds=30, why="all run")
    wait_until(
        lambda: {jobs.bg.job(job).status.value for job in ids} == {"succeeded"},
        seconds=30,
        why="all succeed",
    )
    for running in workers:
        assert "Traceback" not in running.words()
        assert not running.events("rescued", "stale_write", "task_crash")
