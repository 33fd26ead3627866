"""Processes of a worker that are stopped, killed, or die by themselves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgworker import JobState

StartWorker = Callable[..., Any]
WaitUntil = Callable[..., object]


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_stopped_child_neither_loses_nor_doubles_its_job(
    worker: StartWorker, jobs: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    log = tmp_path / "pids"
    running = worker("--concurrency", "1")
    other = worker("--concurrency", "1", "--queues", "default")
    handle = jobs.record_pid.delay(str(log), "job", 0.1)
    wait_until(log.exists, why="it runs")
    victim = int(log.read_text().split()[1])
    os.kill(victim, signal.SIGSTOP)
    began = time.monotonic()
    assert [h.result(5) for h in jobs.add.map([(i, 1) for i in range(20)])] == list(range(1, 21))
    wait_until(lambda: time.monotonic() - began > 2, why="2 s have passed")
    assert handle.status is JobState.RUNNING
    os.kill(victim, signal.SIGCONT)
    handle.result(5)
    assert len(log.read_text().splitlines()) == 1
    assert not running.events("rescued", "stale_write", "task_crash", "child_lost")
    assert not other.events("rescued", "stale_write", "task_crash", "child_lost")


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_stopped_supervisor_is_not_robbed(
    worker: StartWorker, jobs: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    first = worker("--concurrency", "1", "--queues", "slow")
    handle = jobs.record_pid.options(queue="slow").delay(str(tmp_path / "pids"), "job", 0.2)
    wait_until((tmp_path / "pids").exists, why="it runs")
    first.signal(signal.SIGSTOP)
    second = worker("--concurrency", "1")
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 0.8, why="the other worker has looked")
    assert handle.status is JobState.RUNNING
    first.signal(signal.SIGCONT)
    handle.result(5)
    assert not second.events("rescued")
    assert len((tmp_path / "pids").read_text().splitlines()) == 1


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_the_death_of_a_supervisor_ends_its_children_and_frees_its_jobs(
    worker: StartWorker, jobs: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    log = tmp_path / "pids"
    first = worker("--concurrency", "2")
    handles = [jobs.record_pid.delay(str(log), str(i), 60) for i in range(2)]
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) == 2, why="both run")
    waiting = jobs.add.delay(1, 1)
    pids = [first.zygote(), *first.children()]
    first.signal(signal.SIGKILL)
    wait_until(lambda: not any(map(first.is_running, pids)), seconds=0.2, every=0.005, why="gone")
    second = worker("--concurrency", "2", "--grace", "0")
    wait_until(lambda: len(second.events("task_start")) == 2, seconds=1, why="they run again")
    for handle in handles:
        record = jobs.bg.dispatcher.fetch(handle.id)
        assert (record.state, record.crashes, record.retries) == (JobState.RUNNING, 1, 0)
    assert waiting.status is JobState.QUEUED
    assert len(second.events("rescued")) == 2
    first.process.wait()
    assert not first.marked.alive()


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_the_death_of_the_zygote_is_survived(
    worker: StartWorker, jobs: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    log = tmp_path / "pids"
    running = worker("--concurrency", "2")
    handle = jobs.record_pid.delay(str(log), "long", 0.3)
    wait_until(log.exists, why="it runs")
    zygote, children = running.zygote(), running.children()
    os.kill(zygote, signal.SIGKILL)
    assert jobs.add.delay(1, 1).result(5) == 2
    handle.result(5)
    assert len(log.read_text().splitlines()) == 2
    assert running.zygote() != zygote
    assert not any(map(running.is_running, children))
    record = jobs.bg.dispatcher.fetch(handle.id)
    assert (record.attempts, record.crashes) == (2, 1)
    running.stop()


APP = """
import os
from bgworker import BgWorker, Retry
bg = BgWorker()

@bg.task(name="first")
def first():
    return 1
"""
MORE = """
@bg.task(name="second", retry=Retry(max=1, delay=0.01))
def second():
    raise ValueError("as declared")
"""


@pytest.fixture
def any_job(jobs: Any) -> Callable[[str], Any]:
    """Enqueue by name, without the application."""

    def enqueue(name: str) -> Any:
        from bgworker.model import JobSpec

        (job,) = jobs.bg.dispatcher.enqueue([JobSpec(task=name)])
        return jobs.bg.job(job)

    return enqueue


def replace_zygote(running: Any, wait_until: WaitUntil) -> None:
    """Kill it, and wait until another has forked a child."""
    old = running.zygote()
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: running.zygotes() not in ([], [old]), why="a new zygote")
    wait_until(running.children, why="a new child")


def test_a_new_zygote_may_bring_a_changed_application(
    worker: StartWorker, any_job: Callable[[str], Any], tmp_path: Path, wait_until: WaitUntil
) -> None:
    app = tmp_path / "changing.py"
    app.write_text(APP)
    running = worker("--concurrency", "1", app="changing")
    assert any_job("first").result(5) == 1
    app.write_text(APP + MORE)
    replace_zygote(running, wait_until)
    handle = any_job("second")
    wait_until(lambda: handle.status.is_final, why="judged by its new policy")
    assert handle.status is JobState.DEAD
    app.write_text(APP.replace('"first"', '"renamed"'))
    replace_zygote(running, wait_until)
    assert any_job("renamed").result(5) == 1
    gone = any_job("first")
    running.wait_for("task_unknown", task="first")
    wait_until(lambda: gone.status is JobState.QUEUED, why="given back")
    running.stop()


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_job_whose_task_is_gone_after_a_crash_is_left_to_others(
    worker: StartWorker, any_job: Callable[[str], Any], tmp_path: Path, wait_until: WaitUntil
) -> None:
    """The new application does not know what the old one was running, or had waiting."""
    app = tmp_path / "shrinking.py"
    nap = "\nimport time\n@bg.task(name='nap')\ndef nap():\n    time.sleep(60)\n"
    app.write_text(APP + nap)
    running = worker("--concurrency", "1", app="shrinking")
    handle = any_job("nap")
    running.wait_for_run(handle.id)
    app.write_text(APP)
    replace_zygote(running, wait_until)
    running.wait_for("task_unknown", task="nap")
    assert any_job("first").result(5) == 1
    assert handle.status is JobState.QUEUED
    app.write_text(APP + nap.replace("60", "0"))
    replace_zygote(running, wait_until)
    assert handle.result(5) is None


def test_a_new_zygote_that_cannot_import_the_application_ends_the_worker(
    worker: StartWorker, any_job: Callable[[str], Any], jobs: Any, tmp_path: Path
) -> None:
    app = tmp_path / "breaking.py"
    app.write_text(APP)
    running = worker("--concurrency", "2", app="breaking")
    assert any_job("first").result(5) == 1
    app.write_text("raise RuntimeError('half an edit')\n")
    os.kill(running.zygote(), signal.SIGKILL)
    assert running.wait(5) == 1
    assert running.words().splitlines()[-1] == "bgworker: --app breaking cannot be imported"
    assert "half an edit" in running.words()
    assert "crew.py" not in running.words()
    assert not running.marked.alive()
    assert list((tmp_path / "jobs.db.d" / "workers").iterdir()) == []


@pytest.mark.parametrize("deaths", [2, 3])
def test_a_zygote_may_die_while_it_imports_the_application_but_not_for_ever(
    worker: StartWorker,
    any_job: Callable[[str], Any],
    tmp_path: Path,
    wait_until: WaitUntil,
    deaths: int,
) -> None:
    app, curse = tmp_path / "cursed.py", tmp_path / "curse"
    dying = f"""
import os, signal
path = {str(curse)!r}
if os.path.exists(path):
    left = int(open(path).read()) - 1
    open(path, "w").write(str(left))
    if left >= 0:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    app.write_text(dying + APP)
    running = worker("--concurrency", "1", app="cursed")
    zygote = running.zygote()
    curse.write_text(str(deaths))
    os.kill(zygote, signal.SIGKILL)
    if deaths == 3:
        assert running.wait(20) == 1
        assert "the process that imports the application died" in running.words()
        assert not running.marked.alive()
        return
    assert any_job("first").result(20) == 1
    assert curse.read_text() == "-1"
    assert running.zygote() != zygote


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_child_that_dies_at_birth_does_not_take_the_worker_along(
    worker: StartWorker, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Supervisor and zygote are stopped in turn: the news of the birth come after the death."""
    app, curse, births = (tmp_path / name for name in ("stillborn.py", "curse", "births"))
    hook = f"""
def at_birth():
    if os.path.exists({str(curse)!r}):
        open({str(births)!r}, "w").write(str(os.getpid()))
        os._exit(7)
os.register_at_fork(after_in_child=at_birth)
"""
    app.write_text(APP + hook)
    running = worker("--concurrency", "1", app="stillborn")
    child, zygote = running.child(), running.zygote()
    curse.touch()
    os.kill(child, signal.SIGKILL)
    running.wait_for("child_lost", pid=child)
    os.kill(zygote, signal.SIGSTOP)
    descriptors = Path(f"/proc/{running.pid}/fd")
    before = len(list(descriptors.iterdir()))
    wait_until(lambda: len(list(descriptors.iterdir())) > before, why="another child is asked for")
    running.signal(signal.SIGSTOP)
    os.kill(zygote, signal.SIGCONT)
    wait_until(lambda: births.exists() and births.read_text(), why="it was born")
    stillborn = int(births.read_text())
    wait_until(lambda: not Path(f"/proc/{stillborn}").exists(), why="it died and was reaped")
    curse.unlink()
    running.signal(signal.SIGCONT)
    running.wait_for("child_lost", pid=stillborn)
    running.stop()


def test_a_job_given_to_a_child_that_then_dies_is_not_forgotten(
    worker: StartWorker, jobs: Any, wait_until: WaitUntil
) -> None:
    """Nobody rings for what goes back unburnt: the worker must remember it by itself.

    The other child is idle while the bell's safety net is spent, and then busy with a job that
    nobody rang for either.
    """
    running = worker("--concurrency", "2", "--grace", "0")
    wait_until(lambda: len(running.children()) == 2, why="both children")
    for handle in jobs.add.map([(1, 1)] * 200):
        handle.result(10)
    victim = min(running.children())
    os.kill(victim, signal.SIGSTOP)
    busy = jobs.nap.options(countdown=0.8).delay(60)
    handle = jobs.add.delay(2, 2)
    running.wait_for("task_start", job_id=handle.id)
    running.wait_for_run(busy.id)
    os.kill(victim, signal.SIGKILL)
    assert handle.result(3) == 4
    assert busy.status is JobState.RUNNING
    record = jobs.bg.dispatcher.fetch(handle.id)
    assert (record.attempts, record.crashes) == (1, 0)


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_a_worker_whose_proof_of_life_is_removed_stops(
    worker: StartWorker, jobs: Any, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Others take its jobs, so it must not go on; what it ran is killed before that."""
    log = tmp_path / "pids"
    running = worker("--concurrency", "1")
    handle = jobs.record_pid.delay(str(log), "job", 60)
    wait_until(log.exists, why="it runs")
    victim = int(log.read_text().split()[1])
    for path in (tmp_path / "jobs.db.d" / "workers").glob("*.lock"):
        path.unlink()
    assert running.wait(5) == 1
    assert running.words().splitlines()[-1].startswith("bgworker: ")
    assert "Traceback" not in running.words()
    assert not running.is_running(victim)
    assert handle.status is JobState.QUEUED
