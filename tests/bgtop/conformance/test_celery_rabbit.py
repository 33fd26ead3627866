"""The Celery backend against a real RabbitMQ, filled and consumed by real Celery and kombu."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import pytest
import redis
from celery_source import CeleryActions, CelerySource
from rabbit_source import RabbitSource, bad_urls
from redis_server import RedisServer

from bgtop.actions import WORKER_VERBS, RetryJob, Verb
from bgtop.backends.celery import plugin
from bgtop.contracts import Backend
from bgtop.model import Capability, JobState

ALWAYS = frozenset(
    {
        Capability.DEPTH,
        Capability.CONSUMERS,
        Capability.WORKERS,
        Capability.HEARTBEATS,
        Capability.EVENTS,
    }
)


class CeleryOnRabbitSource(CelerySource, RabbitSource):
    bad_urls = bad_urls("celery")

    @pytest.fixture(autouse=True)
    def _source(self, _vhost: None, make_celery: Callable) -> None:
        # What is put is there once it is confirmed.
        self.celery = make_celery(self.rabbit.url, confirm_publish=True)


class TestWithManagement(CeleryActions, CeleryOnRabbitSource):
    """And with results on a Redis."""

    capabilities = ALWAYS | {Capability.UNACKED, Capability.JOBS}
    # What waits is neither listed nor taken out: the workers that run are told to discard it.
    job_states = frozenset()
    gone_is_known = False
    test_a_cancelled_job_does_not_run = None
    verbs = frozenset({Verb.RETRY, Verb.CANCEL, Verb.DELETE, Verb.PURGE}) | (
        WORKER_VERBS - {Verb.SUSPEND, Verb.WAKE}
    )
    kills_node = True

    @pytest.fixture(autouse=True)
    def _results(self, _source: None, redis_server: RedisServer) -> None:
        self.celery.results = redis_server.url
        self.results = redis.Redis(port=redis_server.port)

    def _open(self, url: str, management: str) -> Backend:
        more = {"management": management, "result_backend": self.celery.results}
        return plugin.open(f"celery+{url}?{urlencode(more)}", self.settings)

    def open_backend(self) -> Backend:
        return self._open(self.rabbit.monitor_url, self.rabbit.management)

    def open_operator(self) -> Backend:
        """As the user of the application; the node itself goes down in a test of the backend."""
        self.kills_node = False
        return self._open(self.by_doors(self.rabbit.url), self.by_doors(self.rabbit.management))

    def test_a_retried_job_runs_again(self, operator: Backend) -> None:
        """That it waits meanwhile cannot be seen: it is between two attempts."""
        ids = self.jobs_in(JobState.FAILED, "alpha", 2)

        assert operator.perform(RetryJob(id=ids[0])).changed == 1
        assert self._states_of(operator, ids) == [JobState.SCHEDULED, JobState.FAILED]
        self.work_off("alpha")
        assert [self.begun(id_) for id_ in ids] == [2, 1]
        assert self._states_of(operator, ids) == [JobState.FAILED, JobState.FAILED]


class TestWithoutManagement(CeleryOnRabbitSource):
    with_management = False
    capabilities = ALWAYS
