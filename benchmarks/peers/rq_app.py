"""The task for RQ, and how to enqueue it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import redis
from rq import Queue
from rq.registry import FinishedJobRegistry
from stamps import stamp

queue = Queue("default", connection=redis.Redis.from_url(os.environ["RQ_REDIS_URL"]))


def noop(number: int) -> int:
    return stamp(number)


def enqueue(number: int) -> None:
    queue.enqueue(noop, number)


def enqueue_all(numbers: Sequence[int]) -> None:
    queue.enqueue_many([Queue.prepare_data(noop, (number,)) for number in numbers])


def stored() -> int:
    """Jobs that are known to have ended well; their results are stored with that."""
    size: int = FinishedJobRegistry(queue=queue).get_job_count(cleanup=False)
    return size
