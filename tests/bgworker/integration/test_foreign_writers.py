"""Beside programs that are not ours and hold SQLite's write lock."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgworker import JobState

StartWorker = Callable[..., Any]
StartPython = Callable[..., "subprocess.Popen[str]"]
Finish = Callable[..., str]
WaitUntil = Callable[..., object]
Release = Callable[[], object]

FOREIGNER = """
    import sqlite3, sys
    db = None
    for line in sys.stdin:
        db = db or sqlite3.connect(sys.argv[1], isolation_level=None)  # not before: it makes a file
        db.execute("COMMIT" if db.in_transaction else "BEGIN IMMEDIATE")
        sys.stdout.write("held\\n" if db.in_transaction else "released\\n"); sys.stdout.flush()
    if db:
        db.close()
"""


@pytest.fixture
def hold(tmp_path: Path, python: StartPython, finish: Finish) -> Iterator[Callable[[], Release]]:
    """A foreign program takes the write lock at once; what is returned has it let go."""
    process = python(FOREIGNER, str(tmp_path / "jobs.db"))

    def release() -> None:
        ask(process)
        assert answer(process) == "released"

    def take() -> Release:
        ask(process)
        assert answer(process) == "held"
        return release

    yield take
    finish(process)


ENQUEUER = """
    import signal, sys
    import jobs
    class Interrupted(Exception):
        pass
    def interrupt(*_):
        raise Interrupted
    signal.signal(signal.SIGUSR1, interrupt)
    jobs.bg.url = sys.argv[1]
    for line in sys.stdin:
        try:
            answer = jobs.echo.delay().id
        except Interrupted:
            answer = "interrupted"
        sys.stdout.write(answer + "\\n"); sys.stdout.flush()
    jobs.bg.close()
"""


@pytest.fixture
def enqueuer(url: str, python: StartPython, finish: Finish) -> Iterator[subprocess.Popen[str]]:
    """A producer: a line to it is a job, its answer the job's id. SIGUSR1 interrupts it."""
    process = python(ENQUEUER, url)
    yield process
    finish(process)


def ask(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def holds_the_mutex(process: subprocess.Popen[str]) -> bool:
    """Whether our own writers have to wait for this one."""
    with open("/proc/locks", encoding="ascii") as locks:
        return any(f" {process.pid} " in line and "FLOCK" in line for line in locks)


def waits_for_the_lock(process: subprocess.Popen[str]) -> bool:
    """Whether it has the mutex of our own writers and sleeps: only SQLite's lock is missing."""
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
        sleeps = file.read().rpartition(")")[2].split()[0] == "S"
    return sleeps and holds_the_mutex(process)


def test_enqueue_waits_for_a_foreign_writer(
    jobs: Any,
    enqueuer: subprocess.Popen[str],
    hold: Callable[[], Release],
    wait_until: WaitUntil,
) -> None:
    ask(enqueuer)
    assert answer(enqueuer) == "1"
    release = hold()
    began = time.monotonic()
    ask(enqueuer)
    wait_until(lambda: waits_for_the_lock(enqueuer), why="it waits")
    wait_until(lambda: time.monotonic() - began > 1.5, why="1.5 s have passed")
    release()
    assert answer(enqueuer) == "2"
    assert jobs.bg.job("2").status.value == "queued"


def test_an_exception_while_waiting_for_the_lock_leaves_nothing_locked(
    jobs: Any,
    enqueuer: subprocess.Popen[str],
    hold: Callable[[], Release],
    wait_until: WaitUntil,
) -> None:
    """Ctrl-C, or a soft timeout: when the lock is given at last, and when it is not."""
    ask(enqueuer)
    assert answer(enqueuer) == "1"
    for lock_is_given in (True, False):
        release = hold()
        ask(enqueuer)
        wait_until(lambda: waits_for_the_lock(enqueuer), every=0.001, why="it waits")
        enqueuer.send_signal(signal.SIGUSR1)
        if lock_is_given:
            release()
        assert answer(enqueuer) == "interrupted"
        if not lock_is_given:
            release()
        path = jobs.bg.url.removeprefix("sqlite:///")
        db = sqlite3.connect(path, timeout=1, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")  # raises if the lock is still held
        db.close()
        assert not holds_the_mutex(enqueuer)
    ask(enqueuer)
    assert answer(enqueuer) == "2"


def test_a_worker_beside_a_foreign_writer_still_enforces_its_limits(
    worker: StartWorker,
    jobs: Any,
    tmp_path: Path,
    hold: Callable[[], Release],
    enqueuer: subprocess.Popen[str],
    wait_until: WaitUntil,
) -> None:
    """Even beside a producer that waits too. What ended meanwhile is stored afterwards."""
    running = worker()
    short = jobs.waits.delay(str(tmp_path / "gate"))
    endless = jobs.ignores_everything.delay(str(tmp_path / "pid"))
    running.wait_for_run(short.id)
    wait_until((tmp_path / "pid").exists, why="it runs")
    release = hold()
    (tmp_path / "gate").touch()
    ask(enqueuer)
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not running.is_running(pid), seconds=1.4, why="killed in time")
    with pytest.raises(TimeoutError):
        short.result(0.5)
    release()
    assert answer(enqueuer) == "3"
    assert short.result(2) == "rested"
    wait_until(lambda: endless.status.is_final, seconds=2, why="stored too")
    assert jobs.bg.dispatcher.fetch(short.id).attempts == 1


def test_a_worker_waits_at_rest_for_a_foreign_writer(
    worker: StartWorker, jobs: Any, hold: Callable[[], Release]
) -> None:
    """Also when a delayed job is due, and so there is something to do at once."""
    running = worker()
    due = jobs.echo.options(countdown=0.4).delay("due")
    release = hold()
    assert due.status is JobState.SCHEDULED
    before = running.cpu_seconds()
    with pytest.raises(TimeoutError):
        due.result(0.9)
    assert running.cpu_seconds() - before < 0.15
    release()
    assert due.result(2) == "due"
