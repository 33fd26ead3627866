"""Huey 2 and 3: queues read from Redis or from an SQLite file, without Huey being installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.contracts import BackendPlugin, Mark

if TYPE_CHECKING:
    from bgtop.contracts import Backend, Settings

_PREFIX = "huey+"


def _open(url: str, settings: Settings) -> Backend:
    if url.startswith("huey+sqlite:"):
        from bgtop.backends.huey.sqlite_file import HueyInSqlite

        return HueyInSqlite(url.removeprefix(_PREFIX), settings)
    from bgtop.backends.huey.redis_broker import HueyOnRedis
    from bgtop.backends.raw_names import configured_queues
    from bgtop.backends.redis_url import parse_redis_url

    address = parse_redis_url(url.removeprefix(_PREFIX))
    return HueyOnRedis(address, settings, configured_queues(url))


plugin = BackendPlugin(
    name="huey",
    summary="Huey, by its Redis or its SQLite file",
    schemes=("huey+redis", "huey+rediss", "huey+redis+socket", "huey+sentinel", "huey+sqlite"),
    open=_open,
    marks=(
        Mark("huey.redis.*"),
        Mark("huey.schedule.*", type="zset"),
        Mark("huey.results.*", type="hash"),
        Mark("huey.r.*", type="string"),
        Mark("bgtop:huey:*", type="hash"),
    ),
)
