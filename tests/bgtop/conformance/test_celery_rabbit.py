"""The Celery backend against a real RabbitMQ, filled and consumed by real Celery and kombu."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery_source import CelerySource
from rabbit_server import SLOW
from rabbit_source import RabbitSource, bad_urls

from bgtop.model import Capability

pytestmark = SLOW

ALWAYS = frozenset(
    {Capability.DEPTH, Capability.CONSUMERS, Capability.WORKERS, Capability.HEARTBEATS}
)


class CeleryOnRabbitSource(CelerySource, RabbitSource):
    bad_urls = bad_urls("celery")

    @pytest.fixture(autouse=True)
    def _source(self, _vhost: None, make_celery: Callable) -> None:
        # What is put is there once it is confirmed.
        self.celery = make_celery(self.rabbit.url, confirm_publish=True)


class TestWithManagement(CeleryOnRabbitSource):
    capabilities = ALWAYS | {Capability.UNACKED}


class TestWithoutManagement(CeleryOnRabbitSource):
    with_management = False
    capabilities = ALWAYS
