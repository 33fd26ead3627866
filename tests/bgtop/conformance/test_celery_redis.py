"""The Celery backend against a real Redis, filled and consumed by real Celery and kombu."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from redis_source import PASSWORD, RedisSource, bad_urls

from bgtop.backends.celery import plugin
from bgtop.model import Capability


class TestCeleryOnRedis(RedisSource):
    plugin = plugin
    system = "celery"
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

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.celery.put(queue, count, priority=priority)

    def hold(self, queue: str, count: int) -> AbstractContextManager[None]:
        return self.celery.holding(queue, count)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        node = self.celery.start_worker("w1", *queues)
        yield node
        self.celery.stop(node)
