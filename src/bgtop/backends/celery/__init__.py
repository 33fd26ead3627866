"""Celery: queues and workers read from its broker, without Celery being installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.contracts import BackendPlugin, Mark

if TYPE_CHECKING:
    from bgtop.contracts import Backend, Settings


def _open(url: str, settings: Settings) -> Backend:
    from bgtop.backends.celery.options import read_options
    from bgtop.backends.celery.redis_broker import CeleryOnRedis
    from bgtop.backends.redis_url import parse_redis_url

    address = parse_redis_url(url.removeprefix("celery+"))
    return CeleryOnRedis(address, settings, read_options(url))


plugin = BackendPlugin(
    name="celery",
    summary="Celery, by its Redis broker",
    schemes=("celery+redis", "celery+rediss", "celery+redis+socket", "celery+sentinel"),
    open=_open,
    marks=(
        Mark("_kombu.binding.celery", type="set"),
        Mark("_kombu.binding.celery.pidbox", type="set"),
        Mark("unacked_index", type="zset"),
        Mark("*_kombu.binding.*", type="set"),
    ),
)
