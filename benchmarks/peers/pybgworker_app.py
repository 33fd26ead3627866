"""The task for pybgworker, and how to enqueue it. It takes its file from $PYBGWORKER_DB."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence

from pybgworker.task import task
from stamps import stamp

_RATE = os.environ.get("BENCH_RATE_LIMIT")


@task(name="noop", rate_limit=None if _RATE is None else float(_RATE))
def noop(number: int) -> int:
    return stamp(number)


def enqueue(number: int) -> None:
    noop.delay(number)


def enqueue_all(numbers: Sequence[int]) -> None:
    noop.delay_many([((number,), {}) for number in numbers])


def stored() -> int:
    """Jobs whose result is in the file."""
    db = sqlite3.connect(os.environ["PYBGWORKER_DB"])
    found: int = db.execute("SELECT count(*) FROM tasks WHERE status = 'success'").fetchone()[0]
    db.close()
    return found
