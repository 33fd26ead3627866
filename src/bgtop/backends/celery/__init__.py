"""Celery: queues and workers read from its broker, without Celery being installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.contracts import BackendPlugin, Mark
from bgtop.source_url import is_rabbitmq

if TYPE_CHECKING:
    from bgtop.contracts import Backend, Inspector, Settings


def _open(url: str, settings: Settings) -> Backend:
    from bgtop.backends.celery.options import read_options

    address = url.removeprefix("celery+")
    if is_rabbitmq(address):
        from bgtop.backends.celery.rabbit_broker import CeleryOnRabbit
        from bgtop.backends.rabbit_url import parse_rabbit_url

        return CeleryOnRabbit(parse_rabbit_url(address), settings, read_options(url))
    from bgtop.backends.celery.redis_broker import CeleryOnRedis
    from bgtop.backends.redis_url import parse_redis_url

    return CeleryOnRedis(parse_redis_url(address), settings, read_options(url))


def _inspector(url: str, settings: Settings) -> Inspector:
    from bgtop.backends.celery import inspecting
    from bgtop.backends.celery.options import read_options

    address = url.removeprefix("celery+")
    if is_rabbitmq(address):
        from bgtop.backends.rabbit_url import parse_rabbit_url

        return inspecting.on_rabbit(parse_rabbit_url(address), settings)
    from bgtop.backends.redis_url import parse_redis_url

    return inspecting.on_redis(parse_redis_url(address), settings, read_options(url))


plugin = BackendPlugin(
    name="celery",
    summary="Celery, by its broker: Redis or RabbitMQ",
    schemes=(
        *("celery+redis", "celery+rediss", "celery+redis+socket", "celery+sentinel"),
        *("celery+amqp", "celery+amqps", "celery+pyamqp"),
    ),
    open=_open,
    inspector=_inspector,
    # Redis needs nothing more; RabbitMQ wants py-amqp.
    requires="pip install 'bgtop[rabbitmq]'",
    marks=(
        Mark("_kombu.binding.celery", type="set"),
        Mark("_kombu.binding.celery.pidbox", type="set"),
        Mark("unacked_index", type="zset"),
        Mark("*_kombu.binding.*", type="set"),
        Mark("celeryev", type="exchange", broker="amqp"),
        Mark("celery", broker="amqp"),
        Mark("*.celery.pidbox", broker="amqp"),
    ),
)
