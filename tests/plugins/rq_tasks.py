"""The tasks the real RQ workers of the tests run."""

from __future__ import annotations

import time
from pathlib import Path

from run_log import RunLog


def add(a: int, b: int) -> int:
    return a + b


def fail() -> None:
    raise ValueError("as asked for")


def wait(until: str) -> None:
    """Runs until the test makes this file; a minute is the end of any test."""
    deadline = time.monotonic() + 60
    while not Path(until).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def noted(folder: str, kind: str) -> None:
    """Note the run of this job; ``kind`` is ``good``, ``bad`` or ``long``."""
    from rq import get_current_job

    job = get_current_job()
    assert job is not None
    RunLog(folder).run(job.id, kind)
