"""What tasks start does not outlive their job: however it is detached, and however the job ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bgworker import JobFailed

StartWorker = Callable[..., Any]
Send = Callable[..., Any]
WaitUntil = Callable[..., object]
WAYS = ("daemon", "children", "family", "copy")


@pytest.fixture
def send(send_to: Send) -> Send:
    """Store a job of ``apps/hostile.py``."""
    return partial(send_to, "hostile")


@pytest.fixture
def left(tmp_path: Path) -> Callable[[], list[int]]:
    """The processes that tasks wrote down."""

    def left() -> list[int]:
        path = tmp_path / "pids"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    return left


@pytest.fixture
def gone(left: Callable[[], list[int]], wait_until: WaitUntil) -> Callable[[Any, int], None]:
    """They must be gone 2 s after their job at the latest."""

    def gone(running: Any, count: int) -> None:
        assert len(left()) == count
        wait_until(lambda: not any(map(running.is_running, left())), seconds=2, why="gone")

    return gone


@pytest.mark.parametrize("how", WAYS)
def test_a_job_that_succeeds_leaves_nothing(
    hostile: Any,
    send: Send,
    tmp_path: Path,
    gone: Callable[[Any, int], None],
    wait_until: WaitUntil,
    how: str,
) -> None:
    others = tmp_path / "others"
    send("leaves_processes", str(others), "daemon", "stay")
    wait_until(lambda: others.exists() and others.read_text().endswith("\n"), why="a neighbour")
    assert send("leaves_processes", str(tmp_path / "pids"), how).result(20) == "left some"
    gone(hostile, {"daemon": 1, "children": 100, "family": 6, "copy": 1}[how])
    assert not hostile.events("task_crash", "child_lost")
    other = int(others.read_text())
    assert hostile.is_running(other), "it belongs to a job that still runs"
    os.kill(hostile.zygote(), 0)
    hostile.ask_to_stop()
    hostile.stop()  # at once
    assert not hostile.is_running(other)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("then", ["raise", "die"])
def test_a_job_that_fails_or_dies_leaves_nothing(
    hostile: Any,
    send: Send,
    tmp_path: Path,
    left: Callable[[], list[int]],
    wait_until: WaitUntil,
    how: str,
    then: str,
) -> None:
    handle = send("leaves_processes", str(tmp_path / "pids"), how, then)
    with pytest.raises(JobFailed) as caught:
        handle.result(30)
    assert caught.value.state == {"raise": "failed", "die": "dead"}[then]
    assert left()
    wait_until(lambda: not any(map(hostile.is_running, left())), seconds=2, why="gone")


def test_a_job_that_is_killed_leaves_nothing(
    hostile: Any, send: Send, tmp_path: Path, gone: Callable[[Any, int], None]
) -> None:
    handle = send("leaves_processes_and_hangs", str(tmp_path / "pids"))
    with pytest.raises(JobFailed, match="HardTimeout"):
        handle.result(10)
    gone(hostile, 1)


@pytest.mark.parametrize("victim", ["supervisor", "zygote", "child"])
def test_a_killed_worker_leaves_nothing(
    hostile: Any,
    send: Send,
    tmp_path: Path,
    left: Callable[[], list[int]],
    wait_until: WaitUntil,
    victim: str,
) -> None:
    send("leaves_processes", str(tmp_path / "pids"), "family", "stay")
    wait_until(lambda: len(left()) == 6, why="they are there")
    first = left()
    assert all(map(hostile.is_running, first))
    if victim == "child":
        for pid in hostile.children():
            os.kill(pid, signal.SIGKILL)
    else:
        os.kill(hostile.zygote() if victim == "zygote" else hostile.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(hostile.is_running, first)), seconds=2, why="gone")
    if victim == "supervisor":
        hostile.process.wait()
        wait_until(lambda: not hostile.marked.alive(), seconds=2, why="nothing at all is left")
    else:
        assert hostile.process.poll() is None
        hostile.ask_to_stop()  # the job runs again, and would be waited for
        hostile.stop()


def test_a_process_that_python_keeps_for_itself_may_stay(hostile: Any, send: Send) -> None:
    """Between two jobs of one child, the tracker of shared memory is neither killed nor reaped."""
    found = {send("shares_memory").result(10) for _ in range(10)}
    assert 1 <= len(found) <= 2, "one for each child"
    assert "resource_tracker" not in hostile.words()
    hostile.stop()
