"""RQ and rq-scheduler: queues and workers read from Redis, without RQ being installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.contracts import BackendPlugin, Mark

if TYPE_CHECKING:
    from bgtop.contracts import Backend, Settings


def _open(url: str, settings: Settings) -> Backend:
    from bgtop.backends.redis_url import parse_redis_url
    from bgtop.backends.rq.redis_store import RqOnRedis

    return RqOnRedis(parse_redis_url(url.removeprefix("rq+")), settings)


plugin = BackendPlugin(
    name="rq",
    summary="RQ and rq-scheduler, by their Redis",
    schemes=("rq+redis", "rq+rediss", "rq+redis+socket", "rq+sentinel"),
    open=_open,
    marks=(
        Mark("rq:queues", type="set"),
        Mark("rq:workers", type="set"),
        Mark("rq:scheduler:scheduled_jobs", type="zset"),
        Mark("rq:cron_schedulers", type="zset"),
        Mark("rq:scheduler_instance:*", type="hash"),
    ),
)
