"""The Celery backend against a real RabbitMQ, filled and consumed by real Celery and kombu."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from rabbit_server import SLOW
from rabbit_source import RabbitSource, bad_urls

from bgtop.backends.celery import plugin
from bgtop.model import Capability

pytestmark = SLOW

ALWAYS = frozenset(
    {Capability.DEPTH, Capability.CONSUMERS, Capability.WORKERS, Capability.HEARTBEATS}
)


class CeleryOnRabbitSource(RabbitSource):
    plugin = plugin
    system = "celery"
    bad_urls = bad_urls("celery")

    @pytest.fixture(autouse=True)
    def _source(self, _vhost: None, make_celery: Callable) -> None:
        # What is put is there once it is confirmed.
        self.celery = make_celery(self.rabbit.url, confirm_publish=True)

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.celery.put(queue, count, priority=priority)

    def hold(self, queue: str, count: int) -> AbstractContextManager[None]:
        return self.celery.holding(queue, count)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        node = self.celery.start_worker("w1", *queues)
        yield node
        self.celery.stop(node)


class TestWithManagement(CeleryOnRabbitSource):
    capabilities = ALWAYS | {Capability.UNACKED}


class TestWithoutManagement(CeleryOnRabbitSource):
    with_management = False
    capabilities = ALWAYS
