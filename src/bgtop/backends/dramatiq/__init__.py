"""Dramatiq: queues and workers read from its Redis broker, without Dramatiq being installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.contracts import BackendPlugin, Mark
from bgtop.source_url import is_rabbitmq

if TYPE_CHECKING:
    from bgtop.contracts import Backend, Settings


def _open(url: str, settings: Settings) -> Backend:
    given = url.removeprefix("dramatiq+")
    if is_rabbitmq(given):
        from bgtop.backends.dramatiq.rabbit_broker import DramatiqOnRabbit
        from bgtop.backends.rabbit_url import parse_rabbit_url

        return DramatiqOnRabbit(parse_rabbit_url(given), settings)
    from bgtop.backends.dramatiq.redis_broker import DramatiqOnRedis
    from bgtop.backends.dramatiq.wire import namespace_of
    from bgtop.backends.redis_url import parse_redis_url

    return DramatiqOnRedis(parse_redis_url(given), namespace_of(url), settings)


plugin = BackendPlugin(
    name="dramatiq",
    summary="Dramatiq, by its broker: Redis or RabbitMQ",
    schemes=(
        *("dramatiq+redis", "dramatiq+rediss", "dramatiq+redis+socket", "dramatiq+sentinel"),
        *("dramatiq+amqp", "dramatiq+amqps", "dramatiq+pyamqp"),
    ),
    open=_open,
    # Redis needs nothing more; RabbitMQ wants py-amqp.
    requires="pip install 'bgtop[rabbitmq]'",
    marks=(
        Mark("dramatiq:__heartbeats__", type="zset"),
        Mark("dramatiq:*.msgs", type="hash"),
        Mark("*:__heartbeats__", type="zset", option="namespace"),
        Mark("default.XQ", broker="amqp"),
        Mark("*.XQ", broker="amqp"),
    ),
)
