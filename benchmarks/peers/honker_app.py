"""The task for honker, and how to enqueue it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import honker
from stamps import stamp

db = honker.open(os.environ["BENCH_DATABASE"])
queue = db.queue("default")


@queue.task(name="noop")
def noop(number: int) -> int:
    return stamp(number)


def enqueue(number: int) -> None:
    noop(number)


def enqueue_all(numbers: Sequence[int]) -> None:
    """In one transaction, each with the payload that calling the task would give it."""
    with db.transaction() as transaction:
        for number in numbers:
            call = {"task": "noop", "args": [number], "kwargs": {}}
            queue.enqueue({"__honker_task__": call}, tx=transaction)


def stored() -> int:
    """Results that are in the file."""
    found: int = db.query("SELECT count(*) AS n FROM _honker_results")[0]["n"]
    return found
