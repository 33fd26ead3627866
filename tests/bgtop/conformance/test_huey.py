"""The Huey backend against real Redis servers and SQLite files, real producers and consumers."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
import redis

from bgtop.backends.huey import plugin
from bgtop.backends.huey.workers import INFERRED
from bgtop.contracts import Backend, Settings
from bgtop.model import Capability
from bgtop.testing import BackendSuite

PASSWORD = "correct-horse"
READ_ONLY = (
    f"user mon on >{PASSWORD} ~* &* +@read +@connection -@dangerous "
    "+info +time +pubsub +client|list +psubscribe +subscribe"
)


class TestHueyOnRedis(BackendSuite):
    plugin = plugin
    kind: ClassVar[str] = "RedisHuey"
    capabilities = frozenset(
        {Capability.DEPTH, Capability.SCHEDULED, Capability.OLDEST_AGE, Capability.WORKERS}
    )
    secret = PASSWORD
    bad_urls = (
        f"huey+redis://:{PASSWORD}@h:port/0",
        f"huey+redis://:{PASSWORD}@h/zero",
        f"huey+redis://:{PASSWORD}@h/0?queue=",
        f"huey+rediss://:{PASSWORD}@h?ssl_cert_reqs=maybe",
        "huey+redis+socket://relative/path",
    )

    @pytest.fixture(autouse=True)
    def _source(self, make_redis: Callable, make_huey: Callable) -> None:
        self.redis = make_redis("--user", *READ_ONLY.split()[1:])
        self.huey = make_huey(self.kind, self.redis.url)

    def open_backend(self) -> Backend:
        """As the recommended user, who may not write."""
        url = f"huey+redis://mon:{PASSWORD}@127.0.0.1:{self.redis.port}/0"
        return plugin.open(url, Settings(connect_timeout=1, read_timeout=2))

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.huey.put(queue, count, priority=priority)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        (queue,) = queues
        consumer = self.huey.start_consumer(queue)
        yield INFERRED
        self.huey.stop(consumer)

    def stop_source(self) -> None:
        self.redis.stop()

    def start_source(self) -> None:
        self.redis.start()

    @contextmanager
    def writes_seen(self) -> Iterator[list[str]]:
        """The server's own account: commands that write, and commands it refused."""
        with redis.Redis(port=self.redis.port) as admin:
            before = self._written(admin)
            seen: list[str] = []
            yield seen
            after = self._written(admin)
            seen += [name for name in after if after[name] != before.get(name)]

    def _written(self, admin: redis.Redis) -> dict[str, object]:
        stats = admin.info("commandstats")
        writers = {f"cmdstat_{name}" for name in admin.acl_cat("write")} | {
            *("cmdstat_publish", "cmdstat_eval", "cmdstat_evalsha", "cmdstat_keys"),
        }
        found = {name: fields["calls"] for name, fields in stats.items() if name in writers}
        dirty = admin.info("persistence")["rdb_changes_since_last_save"]
        return {**found, "changes": dirty, "refused": len(admin.acl_log())}


class TestHueyWithPriorities(TestHueyOnRedis):
    kind = "PriorityRedisHuey"
    priorities = (0, 5, 100)


class TestHueyWithExpiry(TestHueyOnRedis):
    kind = "RedisExpireHuey"


class TestHueyInSqlite(BackendSuite):
    plugin = plugin
    capabilities = frozenset(
        {Capability.DEPTH, Capability.PRIORITIES, Capability.SCHEDULED, Capability.OLDEST_AGE}
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

    def stop_source(self) -> None:
        self.path.rename(self.path.with_suffix(".away"))

    def start_source(self) -> None:
        self.path.with_suffix(".away").rename(self.path)

    @contextmanager
    def writes_seen(self) -> Iterator[list[str]]:
        witness = sqlite3.connect(self.path, isolation_level=None)
        before = witness.execute("PRAGMA data_version").fetchone()
        files = sorted(os.listdir(self.path.parent))
        writes: list[str] = []
        yield writes
        if witness.execute("PRAGMA data_version").fetchone() != before:
            writes.append("a commit")
        if sorted(os.listdir(self.path.parent)) != files:
            writes.append("a new file")
        witness.close()
