"""The Dramatiq backend against a real RabbitMQ, filled and consumed by real Dramatiq."""

from __future__ import annotations

import pytest
from dramatiq_on_rabbit import DramatiqOnRabbit
from dramatiq_source import DramatiqSource
from rabbit_source import RabbitSource, bad_urls

from bgtop.model import Capability

ALWAYS = frozenset({Capability.DEPTH, Capability.DEAD, Capability.CONSUMERS})


class DramatiqOnRabbitSource(DramatiqSource, RabbitSource):
    bad_urls = bad_urls("dramatiq")

    @pytest.fixture(autouse=True)
    def _source(self, _vhost: None, dramatiq_rabbit: DramatiqOnRabbit) -> None:
        self.dramatiq = dramatiq_rabbit

    def shown_as(self, worker: str) -> str:
        return "dramatiq (inferred)"


class TestWithManagement(DramatiqOnRabbitSource):
    capabilities = ALWAYS | {Capability.UNACKED, Capability.SCHEDULED, Capability.WORKERS}


class TestWithoutManagement(DramatiqOnRabbitSource):
    with_management = False
    capabilities = ALWAYS
