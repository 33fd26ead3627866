"""What the conformance tests of every system on Redis share: its server, and who watches it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import pytest
import redis

from bgtop.contracts import Backend, Settings
from bgtop.testing import BackendSuite

PASSWORD = "correct-horse"
READ_ONLY = (
    f"user mon on >{PASSWORD} ~* &* +@read +@connection -@dangerous "
    "+info +time +pubsub +client|list +client|setname +psubscribe +subscribe"
)
"""The user docs/reference recommends: it sees everything and may write nothing.

``CLIENT SETNAME`` is named because Redis 6 takes all of CLIENT to be dangerous.
"""

_CHANGE_WITHOUT_WRITING = ("publish", "eval", "evalsha", "keys")


class RedisSource(BackendSuite):
    """A server of its own for each test; the backend logs in as :data:`READ_ONLY`."""

    system: ClassVar[str]
    settings: ClassVar[Settings] = Settings(connect_timeout=1, read_timeout=2)
    secret = PASSWORD

    @pytest.fixture(autouse=True)
    def _server(self, make_redis: Callable) -> None:
        self.redis = make_redis("--user", *READ_ONLY.split()[1:])

    def open_backend(self) -> Backend:
        """As the recommended user, who may not write."""
        assert self.plugin is not None
        url = f"{self.system}+redis://mon:{PASSWORD}@127.0.0.1:{self.redis.port}/0"
        return self.plugin.open(url, self.settings)

    def open_operator(self) -> Backend:
        """As one who may do everything."""
        assert self.plugin is not None
        url = f"{self.system}+redis://127.0.0.1:{self.redis.port}/0"
        return self.plugin.open(url, self.settings)

    def stop_source(self) -> None:
        self.redis.stop()

    def start_source(self) -> None:
        self.redis.start()

    @contextmanager
    def writes_seen(self) -> Iterator[list[str]]:
        """The server's own account: commands that write, and commands it refused."""
        with redis.Redis(port=self.redis.port) as admin:
            before = _written(admin)
            seen: list[str] = []
            yield seen
            after = _written(admin)
            seen += [name for name in after if after[name] != before.get(name)]


def bad_urls(system: str) -> tuple[str, ...]:
    """URLs no plug-in on Redis may accept."""
    return (
        f"{system}+redis://:{PASSWORD}@h:port/0",
        f"{system}+redis://:{PASSWORD}@h/zero",
        f"{system}+rediss://:{PASSWORD}@h?ssl_cert_reqs=maybe",
        f"{system}+redis+socket://relative/path",
    )


def _written(admin: redis.Redis) -> dict[str, object]:
    stats = admin.info("commandstats")
    writers = {f"cmdstat_{name}" for name in (*admin.acl_cat("write"), *_CHANGE_WITHOUT_WRITING)}
    found = {name: fields["calls"] for name, fields in stats.items() if name in writers}
    dirty = admin.info("persistence")["rdb_changes_since_last_save"]
    return {**found, "changes": dirty, "refused": len(admin.acl_log())}
