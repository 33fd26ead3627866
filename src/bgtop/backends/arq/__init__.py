"""arq: queues and what its workers report, read from Redis without arq being installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.contracts import BackendPlugin, Mark

if TYPE_CHECKING:
    from bgtop.contracts import Backend, Settings


def _open(url: str, settings: Settings) -> Backend:
    from bgtop.backends.arq.redis_broker import ArqOnRedis
    from bgtop.backends.raw_names import configured_queues
    from bgtop.backends.redis_url import parse_redis_url

    address = parse_redis_url(url.removeprefix("arq+"))
    return ArqOnRedis(address, settings, configured_queues(url))


plugin = BackendPlugin(
    name="arq",
    summary="arq, by its Redis",
    schemes=("arq+redis", "arq+rediss", "arq+redis+socket", "arq+sentinel"),
    open=_open,
    marks=(
        Mark("arq:queue", type="zset"),
        Mark("arq:queue:health-check", type="string"),
        Mark("arq:job:*", type="string"),
        Mark("arq:in-progress:*", type="string"),
        Mark("arq:result:*", type="string"),
    ),
)
