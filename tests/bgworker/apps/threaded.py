"""Tasks that meet each other in one process."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import threading
import time

from jobs import bg
from notebook import note, wait_for

from bgworker import Retry, current_job, progress

__all__ = ["bg"]
_KEPT: contextvars.ContextVar[str] = contextvars.ContextVar("kept", default="nothing")
_meeting = threading.Barrier(50, timeout=20)


def own_id() -> str:
    job = current_job()
    assert job is not None
    return job.id


@bg.task
def meets(gate: str) -> list[object]:
    """Ends only when fifty are here, in this process."""
    for n in range(3):
        progress(n, 3, own_id())
        _meeting.wait()
    wait_for(gate)
    return [own_id(), os.getpid()]


@bg.task
async def meets_later() -> str:
    for _ in range(5):
        await asyncio.sleep(0.01)
    progress(1, 1, own_id())
    return own_id()


@bg.task
def keeps(text: str) -> str:
    before = _KEPT.get()
    _KEPT.set(text)
    return before


@bg.task
def waits(log: str, gate: str) -> int:
    note(log, str(os.getpid()))
    wait_for(gate)
    return os.getpid()


@bg.task(retry=Retry(delay=0.01, jitter=0))
def dies_when(gate: str) -> None:
    wait_for(gate)
    os._exit(3)


@bg.task(timeout=0.2)
def sleeps_in_c(seconds: float) -> None:
    time.sleep(seconds)


@bg.task(concurrency=1, hard_timeout=0.4)
def one_at_a_time(seconds: float) -> str:
    time.sleep(seconds)
    return "done"


@bg.task(timeout=0.1, hard_timeout=0.4)
def catches(how: str) -> str:
    """The soft timeout; the hard one ends it if it comes back from where it is, or has to be."""
    while True:
        try:
            time.sleep(0.01 if how == "python" else 600)
        except Exception:  # noqa: BLE001 - it is what the test is about
            continue


@bg.task
def hangs(log: str, how: str) -> None:
    note(log, str(os.getpid()))
    while how == "python":
        time.sleep(0.01)
    if how == "a coroutine":
        asyncio.run(asyncio.sleep(600))
    time.sleep(600)


@bg.task
async def hangs_in_a_loop(log: str) -> None:
    note(log, str(os.getpid()))
    await asyncio.sleep(600)


@bg.task
def starts_a_program(log: str, gate: str = "", *, detached: bool = False) -> int | None:
    program = ["sh", "-c", "sleep 1000 & echo $!"] if detached else ["sleep", "1000"]
    process = subprocess.Popen(program, stdout=subprocess.PIPE)
    assert process.stdout is not None
    note(log, process.stdout.readline().decode().strip() if detached else str(process.pid))
    if gate:
        wait_for(gate)
    return process.poll()
