"""Callbacks run once for each ending, whatever it was, and cannot change it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bgworker import JobFailed, JobState

StartWorker = Callable[..., Any]
Send = Callable[..., Any]
WaitUntil = Callable[..., object]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("callbacks") / "notes"


@pytest.fixture
def notes(notebook: Path) -> Path:
    """Where callbacks write; it is not there yet."""
    notebook.unlink(missing_ok=True)
    return notebook


@pytest.fixture
def running(standing: StartWorker, notes: Path) -> Any:
    return standing(app="talking", env={"CALLBACK_NOTES": str(notes)})


@pytest.fixture
def send(send_to: Send) -> Send:
    """Store a job of ``apps/talking.py``."""
    return partial(send_to, "talking")


@pytest.fixture
def told(notes: Path, wait_until: WaitUntil) -> Callable[[], str]:
    """What the only callback wrote."""

    def told() -> str:
        wait_until(lambda: notes.exists() and notes.read_text().endswith("\n"), why="it ran")
        return notes.read_text().rstrip("\n")

    return told


def callback_of(running: Any, kind: str, wait_until: WaitUntil) -> str:
    """The id of the only callback job, once it has ended."""

    def ended() -> str | None:
        ends = running.events("task_success", "task_failed", "task_dead")
        found = [line["job_id"] for line in ends if line["task"].endswith(kind)]
        return found[0] if found else None

    found = wait_until(ended, why="the callback's end")
    assert isinstance(found, str)
    return found


def test_success_is_told_once(
    running: Any, send: Send, jobs: Any, notes: Path, told: Any, wait_until: WaitUntil
) -> None:
    handle = send("works", "well", str(notes))
    assert handle.result(5) == ["well", str(notes)]
    assert told() == f"success {handle.id} talking.works 1 well"
    callback = jobs.bg.job(callback_of(running, "on_success", wait_until))
    assert callback.result(5) == "callback of well"
    record = jobs.bg.dispatcher.fetch(callback.id)
    assert (record.task, record.queue) == ("talking.works.on_success", "default")
    running.stop()
    assert len(running.events("task_start")) == 2


def test_only_the_final_failure_is_told(running: Any, send: Send, notes: Path, told: Any) -> None:
    lucky = send("fails", "well", str(notes), 1)
    lucky.result(5)
    assert told() == f"success {lucky.id} talking.fails 2 well"
    notes.unlink()
    hopeless = send("fails", "at last", str(notes))
    with pytest.raises(JobFailed):
        hopeless.result(5)
    running.wait_for("task_dead", job_id=hopeless.id)


def test_a_final_failure_is_told_once_with_its_error(
    running: Any, send: Send, notes: Path, told: Any
) -> None:
    handle = send("fails", "well", str(notes))
    with pytest.raises(JobFailed):
        handle.result(5)
    assert told() == f"failure {handle.id} talking.fails 3 dead ValueError"
    running.stop()
    assert told() == f"failure {handle.id} talking.fails 3 dead ValueError"


@pytest.mark.parametrize(
    ("task", "attempt", "state", "kind"),
    [("never_ends", 1, "failed", "HardTimeout"), ("crashes", 3, "dead", "Crashed")],
)
def test_endings_no_task_code_can_see_are_told(
    running: Any, send: Send, told: Any, task: str, attempt: int, state: str, kind: str
) -> None:
    handle = send(task)
    with pytest.raises(JobFailed):
        handle.result(10)
    assert told() == f"failure {handle.id} talking.{task} {attempt} {state} {kind}"


def test_the_death_of_workers_is_told(
    worker: StartWorker, send: Send, notes: Path, told: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    pids = tmp_path / "pids"
    handle = send("crashes", str(pids))
    for n in range(1, 4):
        victim = worker(app="talking", env={"CALLBACK_NOTES": str(notes)})
        wait_until(lambda n=n: pids.exists() and len(pids.read_text().split()) == n, why="it runs")
        os.kill(victim.pid, signal.SIGKILL)
        victim.process.wait()
    worker(app="talking", env={"CALLBACK_NOTES": str(notes)})
    assert told() == f"failure {handle.id} talking.crashes 3 dead WorkerLost"


@pytest.mark.parametrize(
    ("how", "state"), [("raise", "failed"), ("hang", "failed"), ("die", "dead")]
)
def test_a_callback_cannot_change_what_is_recorded(
    running: Any,
    send: Send,
    jobs: Any,
    notes: Path,
    wait_until: WaitUntil,
    how: str,
    state: str,
) -> None:
    handle = send("works", how, str(notes))
    before = handle.result(5)
    record = jobs.bg.dispatcher.fetch(handle.id)
    callback = jobs.bg.job(callback_of(running, "on_success", wait_until))
    assert callback.status is JobState(state)
    assert jobs.bg.dispatcher.fetch(handle.id) == record
    assert handle.result(5) == before
    assert jobs.add.delay(1, 2).result(5) == 3


def test_many_callbacks_none_lost(
    worker: StartWorker, send: Send, jobs: Any, notes: Path, wait_until: WaitUntil
) -> None:
    """Successes are settled in groups; a worker with no appetite still runs what follows."""
    worker("--concurrency", "1", app="talking")
    handles = [send("works", "well", str(notes)) for _ in range(200)]
    jobs.nap.map([(0.05,)] * 4)
    wait_until(
        lambda: notes.exists() and len(notes.read_text().splitlines()) == 200,
        seconds=20,
        why="all are told",
    )
    assert sorted(line.split()[1] for line in notes.read_text().splitlines()) == sorted(
        handle.id for handle in handles
    )
