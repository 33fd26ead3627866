"""The RQ backend against a real Redis, filled and worked off by real RQ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

from bgtop.backends.rq import plugin
from bgtop.backends.rq.redis_store import CAPABILITIES
from bgtop.contracts import Backend, Settings
from bgtop.testing import BackendSuite

PASSWORD = "correct-horse"
READ_ONLY = (
    f"user mon on >{PASSWORD} ~* &* +@read +@connection -@dangerous "
    "+info +time +pubsub +client|list +psubscribe +subscribe"
)


class TestRqOnRedis(BackendSuite):
    plugin = plugin
    capabilities = CAPABILITIES
    secret = PASSWORD
    bad_urls = (
        f"rq+redis://:{PASSWORD}@h:port/0",
        f"rq+redis://:{PASSWORD}@h/zero",
        f"rq+rediss://:{PASSWORD}@h?ssl_cert_reqs=maybe",
        "rq+redis+socket://relative/path",
    )

    @pytest.fixture(autouse=True)
    def _source(self, make_redis: Callable, make_rq: Callable) -> None:
        self.redis = make_redis("--user", *READ_ONLY.split()[1:])
        self.rq = make_rq(self.redis.url)

    def open_backend(self) -> Backend:
        """As the recommended user, who may not write."""
        url = f"rq+redis://mon:{PASSWORD}@127.0.0.1:{self.redis.port}/0"
        return plugin.open(url, Settings(connect_timeout=1, read_timeout=2))

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.rq.put(queue, count)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        name = self.rq.start_worker("w1", *queues)
        yield name
        self.rq.stop(name)

    def complete_one(self, queue: str) -> None:
        self.rq.put(queue, 1)
        self.rq.work_off(queue)

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
            "cmdstat_publish",
            "cmdstat_eval",
            "cmdstat_keys",
        }
        found = {name: fields["calls"] for name, fields in stats.items() if name in writers}
        dirty = admin.info("persistence")["rdb_changes_since_last_save"]
        return {**found, "changes": dirty, "refused": len(admin.acl_log())}
