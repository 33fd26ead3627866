"""Tasks that say how far they are, ask what they are, and have callbacks."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

from jobs import bg
from notebook import note, wait_for

from bgworker import JobFailed, JobRun, Retry, current_job, progress

__all__ = ["bg"]


@bg.task(retry=Retry(max=1, delay=0.01))
def says(words: list[list[Any]], gate: str = "", then: str = "") -> list[object]:
    for word in words:
        progress(*word)
    if gate:
        wait_for(gate)
    if then == "raise":
        raise ValueError(then)
    if then == "die":
        os._exit(3)
    job = current_job()
    assert job is not None
    return [job.id, job.task, job.attempt]


@bg.task
def says_much(count: int) -> float:
    began = time.perf_counter()
    for n in range(count):
        progress(n + 1, count)
    return time.perf_counter() - began


@bg.task
async def says_later() -> str:
    await asyncio.sleep(0.001)
    progress(1, 2, "in a coroutine")
    job = current_job()
    assert job is not None
    return job.id


@bg.task
def says_elsewhere() -> None:
    """In a thread it is heard, in another process it is not."""
    thread = threading.Thread(target=progress, args=(1, 3, "a thread"))
    thread.start()
    thread.join()
    if os.fork() == 0:
        progress(2, 3, "a copy")
        os._exit(0)
    os.wait()


@bg.task
def speaks_too_late(path: str) -> None:
    """A thread that goes on after its task."""

    def run() -> None:
        wait_for(path)
        progress(9, 9, "too late")
        note(path, str(current_job()))

    threading.Thread(target=run, daemon=True).start()


@bg.task
def says_nonsense(kind: str) -> None:
    if kind == "nan":
        progress(float("nan"))
    if kind == "text":
        progress(1, 2, 3)  # type: ignore[arg-type]
    progress("1")  # type: ignore[arg-type]


def succeeded(job: JobRun, result: object) -> str:
    how, path = result if isinstance(result, list) else ("", "")
    note(path, f"success {job.id} {job.task} {job.attempt} {how}")
    return misbehave(how)


def failed(job: JobRun, error: JobFailed) -> str:
    how, _, path = error.detail.partition(" ")
    if error.kind != "ValueError":
        how, path = "well", os.environ["CALLBACK_NOTES"]
    note(path, f"failure {job.id} {job.task} {job.attempt} {error.state} {error.kind}")
    return misbehave(how)


def misbehave(how: str) -> str:
    if how == "raise":
        raise RuntimeError("in the callback")
    if how == "die":
        os._exit(7)
    if how == "hang":
        time.sleep(1000)
    return f"callback of {how}"


@bg.task(on_success=succeeded, on_failure=failed, timeout=0.5, hard_timeout=1, queue="calls")
def works(how: str, path: str) -> list[str]:
    return [how, path]


@bg.task(on_success=succeeded, on_failure=failed, retry=Retry(max=2, delay=0.01, jitter=0))
def fails(how: str, path: str, times: int = 99) -> list[str]:
    job = current_job()
    assert job is not None
    if job.attempt <= times:
        raise ValueError(f"{how} {path}")
    return [how, path]


@bg.task(on_failure=failed, hard_timeout=0.4)
def never_ends() -> None:
    while True:
        time.sleep(1)


@bg.task(on_failure=failed, retry=Retry(delay=0.01, jitter=0))
def crashes(path: str = "") -> None:
    if path:
        note(path, str(os.getpid()))
        time.sleep(1000)
    os._exit(3)


@bg.task
def pid_after(seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return os.getpid()


_KEPT: list[bytes] = []


@bg.task
def keeps(megabytes: int) -> int:
    _KEPT.append(os.urandom(megabytes * 1024 * 1024))
    return os.getpid()
