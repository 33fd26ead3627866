"""The RQ backend against a real Redis, filled and worked off by real RQ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from redis_source import RedisSource, bad_urls

from bgtop.backends.rq import plugin
from bgtop.backends.rq.redis_store import CAPABILITIES


class TestRqOnRedis(RedisSource):
    plugin = plugin
    system = "rq"
    capabilities = CAPABILITIES
    bad_urls = bad_urls("rq")

    @pytest.fixture(autouse=True)
    def _source(self, _server: None, make_rq: Callable) -> None:
        self.rq = make_rq(self.redis.url)

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.rq.put(queue, count)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        name = self.rq.start_worker("w1", *queues)
        yield name
        self.rq.stop(name)

    def complete_one(self, queue: str) -> None:
        self.rq.put(queue, 1)
        self.rq.work_off(queue)
