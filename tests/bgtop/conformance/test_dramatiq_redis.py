"""The Dramatiq backend against a real Redis, filled and consumed by real Dramatiq."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import redis

from bgtop.backends.dramatiq import plugin
from bgtop.contracts import Backend, Settings
from bgtop.model import Capability
from bgtop.testing import BackendSuite

PASSWORD = "correct-horse"
READ_ONLY = (
    f"user mon on >{PASSWORD} ~* &* +@read +@connection -@dangerous "
    "+info +time +pubsub +client|list +psubscribe +subscribe"
)


class TestDramatiqOnRedis(BackendSuite):
    plugin = plugin
    capabilities = frozenset(
        {
            Capability.DEPTH,
            Capability.UNACKED,
            Capability.SCHEDULED,
            Capability.DEAD,
            Capability.OLDEST_AGE,
            Capability.WORKERS,
            Capability.HEARTBEATS,
        }
    )
    secret = PASSWORD
    patience = 30.0
    bad_urls = (
        f"dramatiq+redis://:{PASSWORD}@h:port/0",
        f"dramatiq+redis://:{PASSWORD}@h/zero",
        f"dramatiq+redis://u:{PASSWORD}@h/0?namespace=",
        f"dramatiq+redis://u:{PASSWORD}@h/0?namespace=a%0Ab",
        f"dramatiq+rediss://:{PASSWORD}@h?ssl_cert_reqs=maybe",
        "dramatiq+redis+socket://relative/path",
    )

    @pytest.fixture(autouse=True)
    def _source(self, make_redis: Callable, make_dramatiq: Callable) -> None:
        self.redis = make_redis("--user", *READ_ONLY.split()[1:])
        self.dramatiq = make_dramatiq(self.redis.url)

    def open_backend(self) -> Backend:
        """As the recommended user, who may not write."""
        url = f"dramatiq+redis://mon:{PASSWORD}@127.0.0.1:{self.redis.port}/0"
        return plugin.open(url, Settings(connect_timeout=1, read_timeout=2, dead_after=6))

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.dramatiq.put(queue, count)

    def hold(self, queue: str, count: int) -> AbstractContextManager[None]:
        return self.dramatiq.holding(queue, count)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        name = self.dramatiq.start_worker(*queues)
        yield name
        self.dramatiq.stop(name)

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
