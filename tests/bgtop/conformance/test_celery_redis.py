"""The Celery backend against a real Redis, filled and consumed by real Celery and kombu."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery_source import CelerySource
from redis_source import PASSWORD, RedisSource, bad_urls

from bgtop.model import Capability


class TestCeleryOnRedis(CelerySource, RedisSource):
    capabilities = frozenset(
        {
            Capability.DEPTH,
            Capability.PRIORITIES,
            Capability.UNACKED,
            Capability.SCHEDULED,
            Capability.OLDEST_AGE,
            Capability.WORKERS,
            Capability.HEARTBEATS,
        }
    )
    priorities = (0, 3, 6, 9)
    bad_urls = (
        *bad_urls("celery"),
        f"celery+redis://:{PASSWORD}@[::1/0",
        f"celery+redis://u:{PASSWORD}/1@h/0",
        f"celery+redis://h/0?visibility_timeout=soon&password={PASSWORD}",
        f"celery+redis://h/0?result_backend=redis://:{PASSWORD}@h:port",
    )

    @pytest.fixture(autouse=True)
    def _source(self, _server: None, make_celery: Callable) -> None:
        self.celery = make_celery(self.redis.url)
