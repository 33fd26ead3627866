"""The task for Dramatiq on Redis, and how to enqueue it. As installed it stores no results."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from stamps import stamp

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_REDIS"]))


@dramatiq.actor(actor_name="noop")
def noop(number: int) -> None:
    stamp(number)


def enqueue(number: int) -> None:
    noop.send(number)


# group() sends its messages one by one: there is no bulk enqueue to measure.
enqueue_all = None


def stored() -> None:
    """There is nothing to count."""
