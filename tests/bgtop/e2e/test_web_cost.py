"""Many browsers cost the watched broker what one costs, and leave nothing behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from celery_cluster import CeleryCluster
from web_desk import WebServer

from bgtop.testing import wait_until


@pytest.fixture
def web(tmp_path: Path, celery: CeleryCluster) -> Iterator[WebServer]:
    around = {**os.environ, "HOME": str(tmp_path)}
    options = ["--listen", "127.0.0.1:0", "--interval", "1"]
    server = WebServer([f"celery+{celery.url}", *options], around, tmp_path)
    wait_until(lambda: server.get("/readyz").status == 200)
    yield server
    server.close()


def commands(admin: redis.Redis) -> int:
    """How many Redis ran, without our own counting."""
    told: Any = admin.info("commandstats")
    return sum(one["calls"] for name, one in told.items() if name != "cmdstat_info")


def cost(admin: redis.Redis, web: WebServer) -> float:
    """Commands a reading, over five readings."""
    taken = set[str]()
    before = 0

    def read_so_often() -> bool:
        nonlocal before
        at = web.get("/api/v1/sources").json["sources"][0]["taken_at"]
        if not taken:
            before = commands(admin)
        taken.add(at)
        return len(taken) > 5

    wait_until(read_so_often, seconds=40, every=0.02)
    return (commands(admin) - before) / 5


def steady_cost(admin: redis.Redis, web: WebServer) -> float:
    """The cost once it no longer changes: the first readings still find out what is there."""
    last = cost(admin, web)

    def same() -> float | None:
        nonlocal last
        before, last = last, cost(admin, web)
        return last if abs(last - before) < 0.5 else None

    return wait_until(same, seconds=40, why="a cost that stays")


def listening(stack: ExitStack, web: WebServer, path: str) -> socket.socket:
    """A browser that shows a page, and has heard it once."""
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", web.port), timeout=20))
    connection.sendall(f"GET /events?{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    heard = b""
    while b"event: page" not in heard:
        heard += connection.recv(65536)
    return connection


def test_many_who_watch_cost_what_one_costs(
    web: WebServer, celery: CeleryCluster, admin: redis.Redis
) -> None:
    celery.put("mail", 3)
    jobs = "/api/v1/tasks?queue=mail&state=waiting"
    wait_until(lambda: len(web.get(jobs).json["tasks"]) == 3, why="the queue to be found")
    page = "page=queue&source=" + web.get("/api/v1/sources").json["sources"][0]["name"]
    page = f"{page.replace(' ', '+')}&name=mail"
    with ExitStack() as stack:
        listening(stack, web, page)
        one = steady_cost(admin, web)
        for _ in range(59):
            listening(stack, web, page)
        for _ in range(20):
            assert web.get("/api/v1/queues").status == 200
        many = cost(admin, web)
        assert many < 1.4 * one

    wait_until(lambda: cost(admin, web) < one - 1, seconds=40, why="nobody to look inside any more")
