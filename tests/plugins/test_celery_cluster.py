"""What is started for a test is gone after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from celery_desk import lives

from bgtop.testing import wait_until

if TYPE_CHECKING:
    from celery_cluster import CeleryCluster
    from redis_server import RedisServer


def test_a_worker_that_is_killed_takes_its_pool_along(
    redis_server: RedisServer, make_celery: Callable[[str], CeleryCluster]
) -> None:
    """Also one so young that its processes do not notice by themselves."""
    celery = make_celery(redis_server.url)
    node = celery.start_worker("w1", "mail", pool=("-P", "prefork", "-c", "4"))
    main = celery.pid(node)
    children = Path(f"/proc/{main}/task/{main}/children")
    wait_until(lambda: len(children.read_text().split()) >= 4, seconds=40, why="the pool is there")
    pool = [int(pid) for pid in children.read_text().split()]
    celery.kill(node)
    wait_until(lambda: not any(map(lives, pool)), why="they have ended")
