"""The Dramatiq backend against a real RabbitMQ, filled and consumed by real Dramatiq."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from dramatiq_on_rabbit import DramatiqOnRabbit
from rabbit_server import SLOW
from rabbit_source import RabbitSource, bad_urls

from bgtop.backends.dramatiq import plugin
from bgtop.model import Capability

pytestmark = SLOW

ALWAYS = frozenset({Capability.DEPTH, Capability.DEAD, Capability.CONSUMERS})


class DramatiqOnRabbitSource(RabbitSource):
    plugin = plugin
    system = "dramatiq"
    bad_urls = bad_urls("dramatiq")

    @pytest.fixture(autouse=True)
    def _source(self, _vhost: None, dramatiq_rabbit: DramatiqOnRabbit) -> None:
        self.dramatiq = dramatiq_rabbit

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.dramatiq.put(queue, count)

    def hold(self, queue: str, count: int) -> AbstractContextManager[None]:
        return self.dramatiq.holding(queue, count)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        name = self.dramatiq.start_worker(*queues)
        yield "dramatiq (inferred)"
        self.dramatiq.stop(name)


class TestWithManagement(DramatiqOnRabbitSource):
    capabilities = ALWAYS | {Capability.UNACKED, Capability.SCHEDULED, Capability.WORKERS}


class TestWithoutManagement(DramatiqOnRabbitSource):
    with_management = False
    capabilities = ALWAYS
