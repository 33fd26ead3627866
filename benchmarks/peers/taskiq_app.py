"""The task for taskiq on Redis, and how to enqueue it; results have a database of their own."""

from __future__ import annotations

import asyncio
import functools
import os

import redis
from stamps import stamp
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

URL = os.environ["BENCH_REDIS"]
RESULTS = URL.removesuffix("/0") + "/1"

broker = ListQueueBroker(URL).with_result_backend(RedisAsyncResultBackend(RESULTS))


@broker.task(task_name="noop")
async def noop(number: int) -> int:
    return stamp(number)


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(broker.startup())
    return loop


def enqueue(number: int) -> None:
    _loop().run_until_complete(noop.kiq(number))


enqueue_all = None


def stored() -> int:
    """Results that are in Redis."""
    size: int = redis.Redis.from_url(RESULTS).dbsize()
    return size
