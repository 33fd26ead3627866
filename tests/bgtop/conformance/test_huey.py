"""The Huey backend against real Redis servers and SQLite files, real producers and consumers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from huey_jobs import HueyJobs
from redis_source import PASSWORD, RedisSource, bad_urls
from sqlite_source import SqliteSource

from bgtop.backends.huey import plugin
from bgtop.backends.huey.workers import INFERRED
from bgtop.contracts import Backend, Settings
from bgtop.model import Capability


class TestHueyOnRedis(RedisSource, HueyJobs):
    plugin = plugin
    system = "huey"
    kind: ClassVar[str] = "RedisHuey"
    capabilities = frozenset(
        {
            *(Capability.DEPTH, Capability.PRIORITIES, Capability.SCHEDULED),
            *(Capability.OLDEST_AGE, Capability.WORKERS, Capability.JOBS, Capability.EVENTS),
        }
    )
    bad_urls = (*bad_urls("huey"), f"huey+redis://:{PASSWORD}@h/0?queue=")

    @pytest.fixture(autouse=True)
    def _source(self, _server: None, make_huey: Callable) -> None:
        self.huey = make_huey(self.kind, self.redis.url)
        if not self.huey.keeps_names:
            self.hostile_names = ("x" * 300,)

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.huey.put(queue, count, priority=priority)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        (queue,) = queues
        consumer = self.huey.start_consumer(queue)
        yield INFERRED
        self.huey.stop(consumer)

    @contextmanager
    def telling_worker(self, *queues: str) -> Iterator[str]:
        (queue,) = queues
        consumer = self.huey.start_consumer(queue, agent=True)
        yield queue
        self.huey.stop(consumer)


class TestHueyWithPriorities(TestHueyOnRedis):
    kind = "PriorityRedisHuey"
    priorities = (0, 5, 100)
    # The agent is the same; once is enough.
    test_what_is_done_is_counted_once_it_is_asked_for = None


class TestHueyWithExpiry(TestHueyOnRedis):
    kind = "RedisExpireHuey"
    test_what_is_done_is_counted_once_it_is_asked_for = None


class TestHueyInSqlite(SqliteSource, HueyJobs):
    with_agent = False
    # The file does not say what runs, and the agent speaks through Redis.
    test_running_jobs_are_shown_with_their_worker = None
    plugin = plugin
    capabilities = frozenset(
        {
            *(Capability.DEPTH, Capability.PRIORITIES, Capability.SCHEDULED),
            *(Capability.OLDEST_AGE, Capability.JOBS),
        }
    )
    priorities = (0, 5, 100)
    bad_urls = (
        "huey+sqlite://",
        "huey+sqlite:///",
        "huey+sqlite:///:memory:",
        "huey+sqlite:///huey.db%00",
        "huey+sqlite://host/huey.db",
        "huey+sqlite:///huey.db?queue=",
    )

    @pytest.fixture(autouse=True)
    def _source(self, tmp_path: Path, make_huey: Callable) -> None:
        self.path = tmp_path / "huey.db"
        self.huey = make_huey("sqlite", str(self.path))
        self.huey.app("alpha")

    def open_backend(self) -> Backend:
        return plugin.open(f"huey+sqlite:///{self.path}", Settings(read_timeout=2))

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.huey.put(queue, count, priority=priority)
