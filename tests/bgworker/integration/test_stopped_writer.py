"""Workers while a stopped process keeps the writers' lock: they say so, look around, and can go."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgworker.states import JobState

HOLDER = """
    import fcntl, os, sys
    fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
    print("ready", flush=True)
    sys.stdin.readline()
    fcntl.flock(fd, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.readline()
"""


def let_go(holder: Any) -> None:
    if holder.poll() is None:
        holder.send_signal(signal.SIGCONT)
        holder.communicate("\n", timeout=20)


@pytest.fixture
def hold(tmp_path: Path, python: Callable[..., Any]) -> Iterator[Callable[[], Any]]:
    """A process that was stopped while it wrote; it goes on at the end of the test."""
    (tmp_path / "jobs.db.d").mkdir()
    holder = python(HOLDER, str(tmp_path / "jobs.db.d" / "writer.lock"))
    assert holder.stdout.readline() == "ready\n"

    def hold() -> Any:
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGSTOP)
        return holder

    yield hold
    holder.send_signal(signal.SIGCONT)
    let_go(holder)


def test_a_worker_names_who_is_in_its_way_and_goes_on_afterwards(
    worker: Callable[..., Any], jobs: Any, hold: Callable[[], Any], tmp_path: Path, wait_until: Any
) -> None:
    running = worker()
    short = jobs.nap.delay(2)
    hanging = jobs.ignores_everything.delay(str(tmp_path / "pid"))  # killed after 0.4 s
    running.wait_for_run(short.id)
    wait_until((tmp_path / "pid").exists, why="it runs")
    holder = hold()
    line = running.wait_for("heartbeat_error", seconds=20)
    assert f"process {holder.pid} is stopped" in line["detail"]
    assert f"kill -CONT {holder.pid}" in line["detail"]
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not running.is_running(pid), seconds=20, why="time limits hold all the same")
    assert short.status is JobState.RUNNING, "its result cannot be stored"

    let_go(holder)
    assert short.result(20) == "rested"
    wait_until(lambda: hanging.status.is_final, seconds=20, why="that is stored too")
    assert {jobs.bg.dispatcher.fetch(job.id).attempts for job in (short, hanging)} == {1}
    running.stop()
    assert not running.events("stale_write", "rescued")


def test_a_worker_that_waits_obeys_a_signal(
    worker: Callable[..., Any], jobs: Any, hold: Callable[[], Any], tmp_path: Path
) -> None:
    """What it could not give back is taken back by the next."""
    running = worker("--grace", "0.5")
    job = jobs.record_pid.delay(str(tmp_path / "ran"), "x", 2)
    running.wait_for_run(job.id)
    holder = hold()
    running.wait_for("heartbeat_error", seconds=20)

    running.signal(signal.SIGTERM)

    assert running.wait(30) == 1
    assert f"process {holder.pid} is stopped" in running.words()
    assert "Traceback" not in running.words()
    assert not running.marked.alive()
    let_go(holder)
    worker()
    assert job.result(20) is None
