"""A running ``bgtop web`` beside real Celery workers, and who asks it as they would ask Flower."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from redis_server import RedisServer
from web_desk import Answer, WebServer
from worlds import open_cluster

from bgtop.testing import wait_until

if TYPE_CHECKING:
    # Not imported: it may be in another Python, which has the Celery to test with.
    from celery_cluster import CeleryCluster
    from rabbit_server import RabbitVhost

PLAIN, HTML, JSON = "text/plain", "text/html", "application/json"
DOWN = "Broker or result backend unavailable"
PREFORK = ("-P", "prefork", "-c", "1", "-E")
THREADS = ("-P", "threads", "-c", "1", "-E")
OPEN = {"FLOWER_UNAUTHENTICATED_API": "1"}
USERS = (
    *("--basic-auth", "ann:pw", "--grant", "ann=admin"),
    *("--basic-auth", "vic:pw", "--grant", "vic=viewer"),
    *("--basic-auth", "may:pw", "--grant", "may=viewer,queue=mail"),
)
"""An administrator, a viewer, and one who may see a single queue."""


def credentials(name: str, password: str = "pw") -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def said(answer: Answer) -> tuple[int, str, str]:
    """Code, kind and words."""
    kind = answer.headers.get("content-type", "").partition(";")[0]
    return answer.status, kind, answer.body.decode()


class World(NamedTuple):
    """A server that allows control beside a worker, which reads ``celery``."""

    web: WebServer
    celery: CeleryCluster
    node: str
    folder: Path
    pool: tuple[str, ...]

    def get(self, path: str, who: str = "ann") -> Answer:
        return self.web.get(path, **credentials(who))

    def post(self, path: str, body: Any = None, who: str = "ann", **headers: str) -> Answer:
        if body is not None:
            return self.web.act(body, path, **credentials(who), **headers)
        return self.web.request("POST", path, b"", **credentials(who), **headers)

    def form(self, path: str, **fields: str) -> Answer:
        kind = "application/x-www-form-urlencoded"
        body = urlencode(fields).encode()
        return self.web.request("POST", path, body, Content_Type=kind, **credentials("ann"))

    def asked(self, node: str = "") -> dict[str, Any]:
        """What a worker says of itself now."""
        node = node or self.node
        answer = self.get(f"/api/workers?refresh=1&workername={node}")
        assert answer.status == 200, answer
        return dict(answer.json[node])

    def processes(self) -> int:
        return len(self.asked()["stats"]["pool"]["processes"])

    def start_worker(self, name: str, queue: str = "other", **more: Any) -> str:
        """One more, once the server has heard it."""
        node = self.celery.start_worker(name, queue, **more)
        wait_until(lambda: self.get("/api/workers?status=1").json.get(node), seconds=40)
        return node


def flower_web(source: str, folder: Path, *options: str, **environment: str) -> WebServer:
    """The command; nothing of Flower is in its environment but what is given."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FLOWER_")}
    return WebServer(
        [source, "--listen", "127.0.0.1:0", "--interval", "1", *options],
        {**inherited, "HOME": str(folder), **environment},
        folder,
    )


def source_of(broker: RedisServer | RabbitVhost, results: RedisServer) -> str:
    """The address of a source that keeps its results in this Redis."""
    place = getattr(broker, "management", None)
    more = f"&management={quote(place, safe='')}" if place else ""
    return f"celery+{broker.url}?result_backend={quote(results.url, safe='')}{more}"


@contextmanager
def world_of(
    folder: Path, pool: tuple[str, ...], vhost: RabbitVhost | None, *options: str
) -> Iterator[World]:
    """On a Redis of its own, or in a vhost of RabbitMQ; results are in Redis."""
    with ExitStack() as open_:
        redis = RedisServer(folder)
        open_.callback(redis.stop)
        redis.start()
        broker = vhost or redis
        celery = open_cluster("celery", "CeleryCluster", broker.url, folder)
        open_.callback(celery.close)
        celery.results = redis.url
        control = ("--allow-control", *USERS, *options)
        web = flower_web(source_of(broker, redis), folder, *control)
        open_.callback(web.close)
        node = celery.start_worker("w1", "celery", pool=pool)
        made = World(web, celery, node, folder, pool)
        wait_until(lambda: made.get("/api/workers?status=1").json.get(node), seconds=40)
        yield made
