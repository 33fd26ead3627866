"""What asks Flower gets the same answers from bgtop web: a real Celery worker on a real Redis."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery_cluster import CeleryCluster
from web_desk import WebServer

from bgtop.testing import wait_until

OPEN = {"FLOWER_UNAUTHENTICATED_API": "1"}


@pytest.fixture
def web(tmp_path: Path, celery: CeleryCluster, request: Any) -> Iterator[WebServer]:
    """A server beside a worker that reads ``busy``; ``param`` are more options and environment."""
    options, around = getattr(request, "param", ([], OPEN))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FLOWER_")}
    server = WebServer(
        [f"celery+{celery.url}", "--listen", "127.0.0.1:0", "--interval", "1", *options],
        {**inherited, "HOME": str(tmp_path), **around},
        tmp_path,
    )
    yield server
    server.close()


def test_workers_and_queues(web: WebServer, celery: CeleryCluster) -> None:
    celery.put("waiting", 3)
    celery.start_worker("w1", "busy")

    def alive() -> dict[str, bool] | None:
        said: dict[str, bool] = web.get("/api/workers?status=1").json
        return said if any(said.values()) else None

    name = next(iter(wait_until(alive, seconds=40)))
    assert web.get(f"/api/workers?status=true&workername={name}").json == {name: True}
    missing = web.get("/api/workers?workername=nobody")
    assert (missing.status, missing.body) == (404, b"Unknown worker 'nobody'")
    assert missing.headers["content-type"] == "text/plain; charset=UTF-8"
    [row] = web.get("/workers?json=1").json["data"]
    assert (row["hostname"], row["status"]) == (name, True)
    waiting = {"name": "waiting", "messages": 3}
    wait_until(lambda: waiting in web.get("/api/queues/length").json["active_queues"])
    said = web.get("/api/queues/length")
    assert said.headers["content-type"] == "application/json; charset=UTF-8"
    assert said.headers["etag"]
    assert web.get("/api/task/types").json == {"task-types": []}
    nowhere = web.get("/api/nope")
    assert (nowhere.status, nowhere.headers["content-type"].partition(";")[0]) == (404, "text/html")


@pytest.mark.parametrize("web", [([], {})], indirect=True)
def test_without_credentials_it_has_to_be_asked_for(web: WebServer) -> None:
    said = web.get("/api/workers")
    assert said.status == 401
    assert said.body == (
        b"FLOWER_UNAUTHENTICATED_API environment variable is required to enable API "
        b"without authentication"
    )
    health = web.get("/healthcheck")
    assert (health.status, health.body) == (200, b"OK")
    assert health.headers["content-type"].partition(";")[0] == "text/html"


@pytest.mark.parametrize("web", [(["--basic-auth", "ann:right"], OPEN)], indirect=True)
def test_wrong_credentials(web: WebServer) -> None:
    wrong = {"Authorization": f"Basic {base64.b64encode(b'ann:wrong').decode()}"}
    right = {"Authorization": f"Basic {base64.b64encode(b'ann:right').decode()}"}

    said = web.get("/api/workers", **wrong)
    assert (said.status, said.body, "www-authenticate" in said.headers) == (401, b"", False)
    page = web.get("/workers?json=1", **wrong)
    assert (page.status, page.body) == (401, b"Access denied")
    assert page.headers["www-authenticate"] == 'Basic realm="flower"'
    assert web.get("/api/workers", **right).json == {}
