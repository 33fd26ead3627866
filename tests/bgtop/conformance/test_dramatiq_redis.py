"""The Dramatiq backend against a real Redis, filled and consumed by real Dramatiq."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from redis_source import PASSWORD, RedisSource, bad_urls

from bgtop.backends.dramatiq import plugin
from bgtop.contracts import Settings
from bgtop.model import Capability


class TestDramatiqOnRedis(RedisSource):
    plugin = plugin
    system = "dramatiq"
    settings = Settings(connect_timeout=1, read_timeout=2, dead_after=6)
    capabilities = frozenset(
        {
            Capability.DEPTH,
            Capability.UNACKED,
            Capability.SCHEDULED,
            Capability.DEAD,
            Capability.OLDEST_AGE,
            Capability.WORKERS,
            Capability.HEARTBEATS,
        }
    )
    patience = 30.0
    bad_urls = (
        *bad_urls("dramatiq"),
        f"dramatiq+redis://u:{PASSWORD}@h/0?namespace=",
        f"dramatiq+redis://u:{PASSWORD}@h/0?namespace=a%0Ab",
    )

    @pytest.fixture(autouse=True)
    def _source(self, _server: None, make_dramatiq: Callable) -> None:
        self.dramatiq = make_dramatiq(self.redis.url)

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.dramatiq.put(queue, count)

    def hold(self, queue: str, count: int) -> AbstractContextManager[None]:
        return self.dramatiq.holding(queue, count)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        name = self.dramatiq.start_worker(*queues)
        yield name
        self.dramatiq.stop(name)
