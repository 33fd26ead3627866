"""Tasks that tell what happens to them, in files that outlive every process; for the chaos tests.

Each run holds a kernel lock on its job's byte of one file: finding it held by another live process
is an overlap. So does each run of a task with a key, on the key's byte.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bgworker import BgWorker, JobRun, Retry, current_job

bg = BgWorker("sqlite:///jobs.db")
KEYS = 8
_lines = os.open("runs.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
_locks = os.open("locks", os.O_RDWR | os.O_CREAT, 0o644)
_chance = random.Random()


def note(*words: object) -> None:
    """One line, whole whoever else writes."""
    os.write(_lines, (" ".join(map(str, words)) + "\n").encode())


@contextmanager
def alone(place: int, what: str) -> Iterator[None]:
    """No other live process may be inside with the same place."""
    try:
        fcntl.lockf(_locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except OSError:
        note("OVERLAP", what, os.getpid(), time.monotonic_ns())
    yield
    fcntl.lockf(_locks, fcntl.LOCK_UN, 1, place)


def run() -> None:
    """A short run of the current job, on the record."""
    job = current_job()
    assert job is not None
    with alone(KEYS + 3 + int(job.id), f"job-{job.id}"):
        note("START", job.id, job.attempt, os.getpid(), time.monotonic_ns())
        time.sleep(_chance.choice((0, 0, 0.001, 0.004)))
        note("END", job.id, job.attempt, os.getpid(), time.monotonic_ns())


@bg.task(name="plain")
def plain() -> None:
    run()


@bg.task(name="flaky", retry=Retry(max=5, delay=0.01))
def flaky() -> None:
    run()
    if _chance.random() < 0.3:
        raise ValueError("as it happens")


@bg.task(name="keyed", concurrency=1)
def keyed(key: int) -> None:
    with alone(key, f"key-{key}"):
        run()


@bg.task(name="trio", concurrency=3)
def trio() -> None:
    for place in range(KEYS, KEYS + 3):
        with suppress(OSError):
            fcntl.lockf(_locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            run()
            fcntl.lockf(_locks, fcntl.LOCK_UN, 1, place)
            return
    note("OVERLAP", "four of three", os.getpid(), time.monotonic_ns())


def followed_by(job: JobRun, result: None) -> None:
    note("FOLLOWED", job.id)


@bg.task(name="followed", on_success=followed_by)
def followed() -> None:
    run()


@bg.task(name="elsewhere", queue="elsewhere")
def elsewhere() -> None:
    run()
