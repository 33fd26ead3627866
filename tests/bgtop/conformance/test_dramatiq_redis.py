"""The Dramatiq backend against a real Redis, filled and consumed by real Dramatiq."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from dramatiq_source import DramatiqSource
from redis_source import PASSWORD, RedisSource, bad_urls

from bgtop.contracts import Settings
from bgtop.model import Capability


class TestDramatiqOnRedis(DramatiqSource, RedisSource):
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
            Capability.JOBS,
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
        # Without it, each complete reading takes the five seconds in which a worker would beat.
        self.dramatiq.add_agent()
