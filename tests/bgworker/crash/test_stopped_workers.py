"""A worker that is stopped is not dead: nobody runs its jobs, and it goes on where it was."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgworker.engines.sqlite import SqliteEngine
from bgworker.engines.sqlite.holder import holder_of
from bgworker.engines.sqlite.seat import SqliteSeat
from bgworker.inspector import Inspector
from bgworker.model import Ended, JobSpec, Succeeded, TaskPolicy, WorkerProfile
from bgworker.scoreboard import read_board
from bgworker.states import JobState

SECONDS = float(os.environ.get("STOP_SECONDS", "2"))
"""How long it is stopped; ``make chaos`` says 60."""
LOOKS = 4
"""Looks of the other worker for dead owners, at least, in that time."""
TRIALS = 1_000

StartWorker = Callable[..., Any]
WaitUntil = Callable[..., Any]


@pytest.fixture
def stop(tmp_path: Path, wait_until: WaitUntil) -> Iterator[Callable[[list[int]], None]]:
    """Stop processes; at the end of the test they go on, whatever happened.

    None of them in the middle of a write, where all others have to wait for it.
    """
    stopped: list[int] = []

    def stop(pids: list[int]) -> None:
        stopped.extend(pids)
        for pid in pids:
            wait_until(lambda pid=pid: stop_outside_a_write(pid), why=f"{pid} is stopped")

    def stop_outside_a_write(pid: int) -> bool:
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: is_stopped(pid), why="the signal has arrived")
        holder = holder_of(str(tmp_path / "jobs.db.d" / "writer.lock"))
        if holder is None or holder.pid != pid:
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    yield stop
    for pid in stopped:
        if os.path.exists(f"/proc/{pid}"):
            os.kill(pid, signal.SIGCONT)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def beat_of(running: Any) -> int:
    """When this worker showed that it is alive; it looks at the others' locks right after."""
    name = running.wait_for("worker_start")["worker"]
    board = read_board(str(running.folder / "jobs.db.d" / "workers" / f"{name}.lock"))
    return board.heartbeat_at if board else 0


def let_look(running: Any, wait_until: WaitUntil) -> None:
    beats: set[int] = set()
    ends = time.monotonic() + SECONDS

    def enough() -> bool:
        beats.add(beat_of(running))
        return len(beats) > LOOKS and time.monotonic() >= ends

    wait_until(enough, seconds=SECONDS + 30, why=f"{LOOKS} looks in {SECONDS} s")


@pytest.mark.timeout(SECONDS + 90)
@pytest.mark.parametrize("whom", ["supervisor", "all its processes", "child"])
def test_no_second_copy_of_what_a_stopped_worker_holds(
    worker: StartWorker,
    jobs: Any,
    tmp_path: Path,
    wait_until: WaitUntil,
    stop: Callable[[list[int]], None],
    whom: str,
) -> None:
    first = worker("--concurrency", "2")
    assert [handle.result(10) for handle in jobs.echo.map([(0,)] * 20)] == [0] * 20
    notes = [tmp_path / f"note-{n}" for n in range(12)]
    handles = jobs.nap.map([(1.5 if n < 2 else 0.01, str(note)) for n, note in enumerate(notes)])
    wait_until(lambda: notes[0].exists() and notes[1].exists(), why="the first two run")
    children = [int(note.read_text().split()[1]) for note in notes[:2]]
    stop(
        {
            "supervisor": [first.pid],
            "all its processes": [first.pid, first.zygote(), *first.children()],
            "child": children[:1],
        }[whom]
    )

    second = worker("--concurrency", "1", wait=False)
    second.wait_for("worker_start", seconds=30)
    assert jobs.echo.delay("meanwhile").result(10) == "meanwhile"
    let_look(second, wait_until)
    assert handles[0].status is JobState.RUNNING
    assert not second.events("rescued", "stale_write", "task_crash")

    for pid in (first.pid, *first.zygotes(), *first.children()):
        os.kill(pid, signal.SIGCONT)
    assert [handle.result(20) for handle in handles] == ["rested"] * len(handles)
    assert [note.read_text().count("begin") for note in notes] == [1] * len(notes)
    assert {jobs.bg.dispatcher.fetch(handle.id).attempts for handle in handles} == {1}
    for running in (first, second):
        running.stop()
        assert not running.events("rescued", "stale_write", "task_crash")


def test_what_a_zombie_says_is_counted_and_changes_nothing(tmp_path: Path) -> None:
    """Taken for dead, its jobs run by another: then it speaks, before or after the other ends."""
    path = str(tmp_path / "jobs.db")
    engine = SqliteEngine(path, durable=False)
    tasks = [TaskPolicy(name="t", queue="q", priority=5)]
    chance = random.Random(4)

    def join(name: str) -> SqliteSeat:
        seat = engine.join(WorkerProfile(name=name, host="h", pid=1, concurrency=1), tasks)
        assert isinstance(seat, SqliteSeat)
        return seat

    rescuer = join("rescuer")
    ids = engine.enqueue([JobSpec(task="t", queue="q")] * TRIALS)
    for start in range(0, TRIALS, 50):
        zombie = join(f"zombie-{start}")
        held = engine.exchange(zombie, [], 50).claims
        zombie.vanish()
        assert len(engine.rescue(rescuer)) == len(held) == 50
        again = engine.exchange(rescuer, [], 50).claims
        assert [claim.id for claim in again] == [claim.id for claim in held]
        for late, claim in zip(held, again, strict=True):
            said = [
                (zombie, Ended(late, Succeeded('"zombie"'))),
                (rescuer, Ended(claim, Succeeded("1"))),
            ]
            for seat, end in chance.sample(said, 2):
                stale = engine.exchange(seat, [end], 0).stale
                assert bool(stale) is (seat is zombie)

    records = [engine.fetch(id_) for id_ in ids]
    assert {(record.state, record.result) for record in records} == {(JobState.SUCCEEDED, "1")}
    inspector = Inspector(path)
    stats = inspector.stats(0)
    assert stats.stale_writes == TRIALS
    assert sum(queue.succeeded_total for queue in stats.queues) == TRIALS
    inspector.close()
    engine.close()
