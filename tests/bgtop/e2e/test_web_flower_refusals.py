"""Who may not ask Flower's paths, and what they answer without a broker: every one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flower_desk import DOWN, OPEN, PLAIN, USERS, credentials, flower_web, said, source_of
from redis_server import RedisServer
from web_desk import WebServer

from bgtop.testing import wait_until
from bgtop.web import flower

if TYPE_CHECKING:
    from rabbit_server import RabbitNode

READING = [
    *("/api/workers", "/api/tasks", "/api/queues/length"),
    *("/api/task/types", "/api/task/info/ID", "/api/task/result/ID"),
]
PAGES = [
    *(("GET", path) for path in ("/workers", "/worker/NAME", "/task/NAME", "/broker")),
    *(("GET", "/tasks/datatable"), ("POST", "/tasks/datatable")),
]
TO_WORKERS = [
    *("shutdown", "pool/restart", "pool/grow", "pool/shrink", "pool/autoscale"),
    *("queue/add-consumer", "queue/cancel-consumer"),
]
TO_TASKS = [
    *("timeout", "rate-limit", "revoke", "abort"),
    *("apply", "async-apply", "send-task"),
]
CHANGING = [
    *(f"/api/worker/{path}/W?min=1&max=2&queue=q" for path in TO_WORKERS),
    *(f"/api/task/{path}/N?workername=W&ratelimit=1" for path in TO_TASKS),
]
NOT_OPEN = (
    "FLOWER_UNAUTHENTICATED_API environment variable is required to enable API without "
    "authentication"
)


def test_every_path_is_here() -> None:
    site: Any = None
    paths = {
        (method, route.path.replace("{name:path}", "").rstrip("/"))
        for route in flower.routes(site)
        for method in route.methods or ()
        if method in {"GET", "POST"} and route.path != "/healthcheck"
    }
    expected = {("GET", path.removesuffix("/ID")) for path in READING}
    expected |= {(method, path.removesuffix("/NAME")) for method, path in PAGES}
    expected |= {("POST", path.partition("?")[0].rpartition("/")[0]) for path in CHANGING}
    assert paths == expected


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def web(tmp_path: Path, redis: RedisServer, request: pytest.FixtureRequest) -> Iterator[WebServer]:
    """A server beside an empty broker; ``param`` are its options and environment."""
    options, environment = request.param
    server = flower_web(source_of(redis, redis), tmp_path, *options, **environment)
    wait_until(lambda: server.get("/readyz").status == 200, seconds=30)
    yield server
    server.close()


@pytest.mark.parametrize("web", [((), {})], indirect=True)
def test_nobody_is_let_in_unasked(web: WebServer) -> None:
    for path in READING:
        assert said(web.get(path)) == (401, PLAIN, NOT_OPEN), path
    for path in CHANGING:
        assert said(web.request("POST", path, b"")) == (401, PLAIN, NOT_OPEN), path
    assert web.request("OPTIONS", "/api/tasks").status == 204
    assert (web.get("/healthcheck").status, web.get("/healthcheck").body) == (200, b"OK")


@pytest.mark.parametrize("web", [((), OPEN)], indirect=True)
def test_who_is_let_in_unasked_changes_nothing(web: WebServer) -> None:
    for path in ("/api/workers", "/api/queues/length", "/api/task/types"):
        assert web.get(path).status == 200, path
    listed = web.get("/api/tasks")
    assert (listed.status, listed.json) == (200, {})
    assert listed.headers["x-bgtop-note"].endswith("start bgtop web with --events")
    for path in CHANGING:
        answer = said(web.request("POST", path, b""))
        assert answer == (403, PLAIN, "Read only mode is enabled"), path
    # Workers are sent a message for this one.
    elsewhere = web.get("/api/workers?refresh=1", Sec_Fetch_Site="cross-site")
    assert said(elsewhere) == (403, PLAIN, "this was sent by another site")


@pytest.mark.parametrize("web", [(("--allow-control", *USERS), {})], indirect=True)
def test_credentials_are_needed(web: WebServer) -> None:
    for headers in ({}, credentials("ann", "wrong")):
        said_to_them = web.get("/api/tasks", **headers)
        assert (said_to_them.status, said_to_them.body) == (401, b"")
        assert "www-authenticate" not in said_to_them.headers
    denied = (401, PLAIN, "Access denied")
    for path in READING:
        assert (web.get(path).status, web.get(path).body) == (401, b""), path
    for path in CHANGING:
        answer = web.request("POST", path, b"")
        assert (answer.status, answer.body) == (401, b""), path
    for method, path in PAGES:
        body = b"" if method == "POST" else None
        for headers in ({}, credentials("ann", "wrong")):
            assert said(web.request(method, path, body, **headers)) == denied, path


@pytest.mark.parametrize("web", [(("--allow-control", "--events", *USERS), {})], indirect=True)
def test_the_broker_is_gone(web: WebServer, redis: RedisServer) -> None:
    ann = credentials("ann")
    redis.stop()
    down = (503, PLAIN, DOWN)
    wait_until(lambda: said(web.get("/api/queues/length", **ann)) == down, seconds=30)
    for path in CHANGING:
        assert said(web.request("POST", path, b"", **ann)) == down, path
    for path in ("/api/task/info/ID", "/api/task/result/ID"):
        assert said(web.get(path, **ann)) == down, path
    ours = web.act({"verb": "purge", "queue": "celery"}, **ann)
    assert (ours.status, "connection refused by" in ours.json["detail"]) == (503, True)
    failed = said(web.get("/api/workers?refresh=1", **ann))
    assert failed[:2] == (503, PLAIN)
    assert failed[2].startswith("Failed to update workers: ")
    # What was seen is known without a broker.
    assert (web.get("/api/tasks", **ann).status, web.get("/api/tasks", **ann).json) == (200, {})


def test_no_results_are_kept(tmp_path: Path, rabbit_node: RabbitNode) -> None:
    with rabbit_node.vhost() as vhost:
        options = ("--allow-control", *USERS)
        web = flower_web(f"celery+{vhost.url}", tmp_path, *options)
        try:
            wait_until(lambda: web.get("/readyz").status == 200, seconds=30)
            for method, path in (("GET", "/api/task/result/any"), ("POST", "/api/task/abort/any")):
                answer = web.request(method, path, None, **credentials("ann"))
                assert said(answer) == (503, PLAIN, DOWN), path
        finally:
            web.close()
