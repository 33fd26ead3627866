"""The task for Huey on SQLite, and how to enqueue it."""

from __future__ import annotations

import os

from huey import SqliteHuey
from stamps import stamp

huey = SqliteHuey(
    filename=os.environ["BENCH_DATABASE"], fsync=os.environ["BENCH_DURABILITY"] == "full"
)


@huey.task(name="noop")
def noop(number: int) -> int:
    return stamp(number)


def enqueue(number: int) -> None:
    noop(number)


# TaskWrapper.map() commits once for each job: there is no bulk enqueue to measure.
enqueue_all = None


def stored() -> int:
    """Jobs whose result is in the file."""
    size: int = huey.storage.result_store_size()
    return size
