"""The Celery backend against a real Redis, filled and consumed by real Celery and kombu."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis
from celery_source import CeleryActions
from redis_source import PASSWORD, RedisSource, bad_urls

from bgtop.actions import WORKER_VERBS, Verb
from bgtop.backends.celery import plugin
from bgtop.contracts import Backend
from bgtop.model import Capability, JobState
from bgtop.testing import JobSuite


class TestCeleryOnRedis(CeleryActions, RedisSource, JobSuite):
    capabilities = frozenset(
        {
            Capability.DEPTH,
            Capability.PRIORITIES,
            Capability.UNACKED,
            Capability.SCHEDULED,
            Capability.OLDEST_AGE,
            Capability.WORKERS,
            Capability.HEARTBEATS,
            Capability.JOBS,
            Capability.EVENTS,
        }
    )
    job_states = frozenset({JobState.WAITING, JobState.SCHEDULED})
    verbs = frozenset({Verb.RETRY, Verb.CANCEL, Verb.DELETE, Verb.PURGE}) | (
        WORKER_VERBS - {Verb.SUSPEND, Verb.WAKE}
    )
    # Which task runs is known to its worker only.
    test_running_jobs_are_shown_with_their_worker = None
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
        self.celery.results = self.redis.url
        self.results = redis.Redis(port=self.redis.port)

    def open_operator(self) -> Backend:
        """As the user of the application."""
        return plugin.open("celery+" + self.redis.url, self.settings)
