"""What an idle worker costs, and how soon it is awake again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

StartWorker = Callable[..., Any]
WaitUntil = Callable[..., object]


def reads_of_files(pid: int) -> int:
    """Calls of ``read`` and its like so far; what comes from a mapped file or a socket is none."""
    with open(f"/proc/{pid}/io", encoding="ascii") as file:
        counts = dict(line.split(": ") for line in file.read().splitlines())
    return int(counts["syscr"])


def test_an_idle_worker_reads_no_table_and_hardly_runs(
    worker: StartWorker, jobs: Any, wait_until: WaitUntil
) -> None:
    """Beside a second idle worker, and with history and delayed jobs in the file."""
    running, other = worker(), worker()
    jobs.echo.options(countdown=3600).map([(i,) for i in range(100)])
    for handle in jobs.echo.map([(i,) for i in range(50)]):
        handle.result(5)
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 0.8, why="both have settled")
    processes = [running.pid, running.zygote(), *running.children()]
    before = {pid: (running.cpu_seconds(pid), reads_of_files(pid)) for pid in processes}
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 1.2, every=0.4, why="two looks")
    for pid in processes:
        assert reads_of_files(pid) - before[pid][1] <= 1, pid
    # The supervisor looks at the locks of others twice a second; children sleep in the kernel.
    assert running.cpu_seconds() - before[running.pid][0] < 0.02
    assert all(running.cpu_seconds(pid) == before[pid][0] for pid in processes[1:])
    assert len(other.events("task_start")) + len(running.events("task_start")) == 50


def test_a_sleeping_worker_wakes_up_at_once(worker: StartWorker, jobs: Any) -> None:
    """The bell, not the clock: the median of some tries is far below the half second of that."""
    running = worker("--concurrency", "1")
    jobs.echo.delay().result(5)
    delays = []
    for _ in range(15):
        handle = jobs.echo.delay()
        handle.result(5)
        record = jobs.bg.dispatcher.fetch(handle.id)
        delays.append(record.started_at - record.enqueued_at)
    assert sorted(delays)[len(delays) // 2] < 100, delays
    assert running.process.poll() is None
