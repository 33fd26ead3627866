"""What a task says of its progress is seen while it runs, and kept when it has ended."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bgworker import JobFailed, Progress, current_job, progress

StartWorker = Callable[..., Any]
Send = Callable[..., Any]
WaitUntil = Callable[..., object]


@pytest.fixture
def send(send_to: Send) -> Send:
    """Store a job of ``apps/talking.py``."""
    return partial(send_to, "talking")


def what(said: Progress | None) -> tuple[float, float | None, str]:
    assert said is not None
    return said.n, said.total, said.text


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_progress_is_seen_while_a_task_runs_and_kept(
    worker: StartWorker, send: Send, tmp_path: Path, wait_until: WaitUntil, url: str
) -> None:
    worker("--concurrency", "1", app="talking")
    gate = tmp_path / "gate"
    before = time.time_ns() // 1_000_000
    handle = send("says", [[1, 4, "first"], [2, 4, "second"]], str(gate))
    silent = send("says", [])
    wait_until(lambda: handle.progress and handle.progress.n == 2, seconds=3, why="it is seen")
    assert not handle.status.is_final
    assert what(handle.progress) == (2, 4, "second")
    assert before <= handle.progress.at <= time.time_ns() // 1_000_000
    assert silent.progress is None
    gate.touch()
    assert handle.result(5) == [handle.id, "talking.says", 1]
    assert what(handle.progress) == (2, 4, "second")
    assert silent.result(5) == [silent.id, "talking.says", 1]
    shown = subprocess.run(
        [sys.executable, "-m", "bgworker.cli", "inspect", handle.id, "--url", url, "--json"],
        capture_output=True,
        check=True,
    )
    found = json.loads(shown.stdout)["progress"]
    assert (found["n"], found["total"], found["text"]) == (2, 4, "second")
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.db")) as db:
        rows = db.execute("SELECT job FROM bgworker_progress").fetchall()
    assert rows == [(int(handle.id),)], "jobs that say nothing cost nothing"


def test_the_last_word_is_never_left_out(standing: StartWorker, send: Send) -> None:
    running = standing(app="talking")
    count = 50_000
    handle = send("says_much", count)
    assert handle.result(30) < 5, "a word costs microseconds"
    assert what(handle.progress) == (count, count, "")
    assert not running.events("task_crash")


@pytest.mark.parametrize("pool", ["process", "thread"])
@pytest.mark.parametrize(("then", "state"), [("raise", "dead"), ("die", "dead")])
def test_progress_of_a_failure_is_kept(
    standing: StartWorker, send: Send, then: str, state: str
) -> None:
    standing(app="talking")
    handle = send("says", [[0.5, None, "é\ud800\n" * 500]], "", then)
    with pytest.raises(JobFailed) as caught:
        handle.result(10)
    assert caught.value.state == state
    assert what(handle.progress) == (0.5, None, ("é\ud800\n" * 100))


def test_progress_in_coroutines_threads_and_copies(standing: StartWorker, send: Send) -> None:
    standing(app="talking")
    coroutine = send("says_later")
    assert coroutine.result(5) == coroutine.id
    assert what(coroutine.progress) == (1, 2, "in a coroutine")
    elsewhere = send("says_elsewhere")
    elsewhere.result(5)
    assert what(elsewhere.progress) == (1, 3, "a thread")


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_words_after_the_end_are_not_heard(
    standing: StartWorker, send: Send, tmp_path: Path, wait_until: WaitUntil
) -> None:
    running = standing("--concurrency", "1", app="talking")
    path = tmp_path / "late"
    handle = send("speaks_too_late", str(path))
    handle.result(5)
    path.touch()
    wait_until(lambda: path.read_text() == "None\n", why="it spoke, outside of any task")
    other = send("says", [])
    other.result(5)
    assert handle.progress is None
    assert other.progress is None
    assert not running.events("task_crash", "child_lost")


@pytest.mark.parametrize(
    ("kind", "error"), [("nan", "ValueError"), ("text", "TypeError"), ("other", "TypeError")]
)
def test_nonsense_is_refused_in_the_task(
    standing: StartWorker, send: Send, kind: str, error: str
) -> None:
    standing(app="talking")
    with pytest.raises(JobFailed, match=error):
        send("says_nonsense", kind).result(5)


def test_outside_a_task_nothing_happens() -> None:
    progress(1, 2, "to nobody")
    assert current_job() is None
    for amount in (float("inf"), float("nan"), 10**400):
        with pytest.raises(ValueError, match="no such amount"):
            progress(amount)
        with pytest.raises(ValueError, match="no such amount"):
            progress(1, amount)


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_progress_survives_a_supervisor_that_dies(
    worker: StartWorker, send: Send, tmp_path: Path, wait_until: WaitUntil
) -> None:
    first = worker("--concurrency", "1", app="talking")
    handle = send("says", [[3, 4, "far"]], str(tmp_path / "gate"))
    wait_until(lambda: handle.progress, seconds=3, why="it is stored")
    os.kill(first.pid, 9)
    first.process.wait()
    assert what(handle.progress) == (3, 4, "far")
    (tmp_path / "gate").touch()
    worker("--concurrency", "1", app="talking")
    assert handle.result(10)[2] == 2
