"""The task for bgworker, and how to enqueue it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import quote

from stamps import stamp

from bgworker import BgWorker

_FILE = quote(os.environ["BENCH_DATABASE"])
URL = f"sqlite:///{_FILE}?durability={os.environ['BENCH_DURABILITY']}"
bg = BgWorker(URL)


@bg.task(name="noop")
def noop(number: int) -> int:
    return stamp(number)


def enqueue(number: int) -> None:
    noop.delay(number)


def enqueue_all(numbers: Sequence[int]) -> None:
    noop.map([(number,) for number in numbers])


def stored() -> int:
    """Jobs whose result is in the file."""
    from bgworker.report import look
    from bgworker.states import JobState

    return sum(queue.states[JobState.SUCCEEDED] for queue in look(URL).queues)
