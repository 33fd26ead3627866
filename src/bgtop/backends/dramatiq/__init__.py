"""Dramatiq: queues and workers read from its Redis broker, without Dramatiq being installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.contracts import BackendPlugin, Mark

if TYPE_CHECKING:
    from bgtop.contracts import Backend, Settings


def _open(url: str, settings: Settings) -> Backend:
    from bgtop.backends.dramatiq.redis_broker import DramatiqOnRedis
    from bgtop.backends.dramatiq.wire import namespace_of
    from bgtop.backends.redis_url import parse_redis_url

    address = parse_redis_url(url.removeprefix("dramatiq+"))
    return DramatiqOnRedis(address, namespace_of(url), settings)


plugin = BackendPlugin(
    name="dramatiq",
    summary="Dramatiq, by its Redis broker",
    schemes=("dramatiq+redis", "dramatiq+rediss", "dramatiq+redis+socket", "dramatiq+sentinel"),
    open=_open,
    marks=(
        Mark("dramatiq:__heartbeats__", type="zset"),
        Mark("dramatiq:*.msgs", type="hash"),
        Mark("*:__heartbeats__", type="zset", option="namespace"),
    ),
)
