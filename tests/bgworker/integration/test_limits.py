"""Limits with real workers: they hold over all of them, also when workers are killed."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bgworker import JobState

StartWorker = Callable[..., Any]
WaitUntil = Callable[..., Any]


def runs(path: Path) -> list[tuple[str, int, str, float]]:
    """What the tasks noted so far: name, pid, begin or end, when."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [(name, int(pid), what, float(at)) for name, pid, what, at in map(str.split, lines)]


def test_a_rate_holds_over_four_workers_and_holds_up_nobody(
    limited: Any, worker: StartWorker, tmp_path: Path, wait_until: WaitUntil
) -> None:
    for turn in range(3):
        notes = tmp_path / f"notes-{turn}"
        limited.slow.map([(str(notes),)] * 40)
        limited.free.map([(str(notes),)] * 500)
        if turn == 0:
            for _ in range(4):
                worker("--concurrency", "2", app="limited")
        wait_until(lambda notes=notes: len(runs(notes)) == 2 * 540, seconds=30, why="all have run")

        begins, free = begins_of("slow", notes), begins_of("free", notes)
        # No start can come before its job was handed out, which is what is limited.
        assert all(nth <= 20 + 3 + 20 * (at - begins[0]) for nth, at in enumerate(begins))
        assert sum(at < begins[-1] for at in free) >= 490, "they waited for the limited ones"
        # Nor may two seconds' worth come together, as windows counted apart would let it. A start
        # may slip into a second that was not its own where the processor is busy: by half of one.
        if all(sum(at <= other < at + 1.0 for other in begins) <= 20 + 1 + 10 for at in begins):
            return
    raise AssertionError("in three turns more than 31 began within a second")


def begins_of(task: str, notes: Path) -> list[float]:
    """When its runs began, in order."""
    return sorted(at for name, _, what, at in runs(notes) if (name, what) == (task, "begin"))


def test_one_key_never_runs_twice_at_once_although_workers_die(
    limited: Any, worker: StartWorker, tmp_path: Path, wait_until: WaitUntil
) -> None:
    notes = tmp_path / "notes"
    keys = [f"k{n}" for n in range(6)]
    jobs = [
        limited.alone.options(concurrency_key=key).delay(str(notes), key)
        for key in keys
        for _ in range(50)
    ]
    crew = [worker("--concurrency", "3", app="limited") for _ in range(3)]
    chance = random.Random(7)
    for n in range(8):
        wait_until(lambda n=n: len(runs(notes)) >= 60 * (n + 1), seconds=30, why="work goes on")
        victim = chance.choice(crew)
        if n % 2:
            children = wait_until(victim.children, why="it has just started")
            os.kill(chance.choice(children), signal.SIGKILL)
        else:
            crew.remove(victim)
            victim.signal(signal.SIGKILL)
            victim.wait()
            crew.append(worker("--concurrency", "3", app="limited"))
    wait_until(lambda: all(job.status.is_final for job in jobs), seconds=30, why="all have ended")

    assert {job.status for job in jobs} == {JobState.SUCCEEDED}
    for key in keys:
        held: int | None = None
        for name, pid, what, _ in sorted(runs(notes), key=lambda run: run[3]):
            if name != key:
                continue
            if what == "begin":
                # A run that has no end was killed in the middle.
                assert held is None or not crew[0].is_running(held) or held == pid
                held = pid
            else:
                assert held == pid, f"{key}: two at once"
                held = None


def test_a_paused_queue_waits_and_goes_on(
    limited: Any, worker: StartWorker, tmp_path: Path, wait_until: WaitUntil
) -> None:
    notes = tmp_path / "notes"
    running = worker("--concurrency", "1", app="limited")
    limited.free.delay(str(notes)).result(10)
    limited.bg.pause("default")
    waiting = limited.free.delay(str(notes))
    other = limited.free.options(queue="other").delay(str(notes))
    other.result(10)

    assert waiting.status is JobState.QUEUED
    limited.bg.resume("default")
    assert waiting.result(10) is None
    assert running.process.poll() is None


def test_a_unique_job_is_added_once_by_many_processes(
    limited: Any, url: str, tmp_path: Path
) -> None:
    """Eight processes ask 5,000 times each for 50 keys; the losers get the winner's handle."""
    limited.bg.url += "?durability=process"
    pids = []
    for n in range(8):
        pid = os.fork()
        if pid == 0:
            chance = random.Random(n)
            with (tmp_path / f"ids-{n}").open("w") as file:
                for turn in range(200):
                    key = f"k{chance.randrange(50)}"
                    asked = limited.free.options(unique=key)
                    # Many in one transaction, and one: both meet all the others.
                    jobs = [asked.delay("")] if turn % 2 else asked.map([("",)] * 49)
                    file.writelines(f"{key} {job.id}\n" for job in jobs)
            os._exit(0)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 8

    found: dict[str, set[str]] = {}
    asked = 0
    for n in range(8):
        for line in (tmp_path / f"ids-{n}").read_text().splitlines():
            key, id_ = line.split()
            found.setdefault(key, set()).add(id_)
            asked += 1
    assert asked == 8 * 5_000
    assert {key: len(ids) for key, ids in found.items()} == {f"k{n}": 1 for n in range(50)}
