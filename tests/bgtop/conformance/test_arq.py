"""The arq backend against a real Redis, filled and worked off by real arq."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from redis_source import PASSWORD, RedisSource, bad_urls

from bgtop.backends.arq import plugin
from bgtop.backends.arq.redis_broker import CAPABILITIES


class TestArqOnRedis(RedisSource):
    plugin = plugin
    system = "arq"
    capabilities = CAPABILITIES
    bad_urls = (*bad_urls("arq"), f"arq+redis://:{PASSWORD}@h/0?queue=")

    @pytest.fixture(autouse=True)
    def _source(self, _server: None, make_arq: Callable) -> None:
        self.arq = make_arq(self.redis.url)

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.arq.put(queue, count)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        (queue,) = queues
        self.arq.start_worker(queue)
        yield f"{queue} (last report)"
        self.arq.stop(queue)

    def stop_source(self) -> None:
        self.arq.close_desk()
        super().stop_source()
