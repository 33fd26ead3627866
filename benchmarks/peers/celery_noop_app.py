"""The task for Celery on Redis, and how to enqueue it; results have a database of their own."""

from __future__ import annotations

import os

import redis
from celery import Celery
from stamps import stamp

BROKER = os.environ["BENCH_REDIS"]
RESULTS = BROKER.removesuffix("/0") + "/1"

app = Celery("celery_noop_app", broker=BROKER, backend=RESULTS)
app.conf.broker_connection_retry_on_startup = True


@app.task(name="noop")
def noop(number: int) -> int:
    return stamp(number)


def enqueue(number: int) -> None:
    noop.delay(number)


# group() sends its tasks one by one: there is no bulk enqueue to measure.
enqueue_all = None


def stored() -> int:
    """Results that are in Redis."""
    size: int = redis.Redis.from_url(RESULTS).dbsize()
    return size
