"""Flower's paths that ask workers, change them, and send tasks: one real worker, one real server.

The texts are those of Flower 2.2.0, written from its documentation and sources' facts.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from celery_cluster import CeleryCluster
from redis_server import RedisServer
from web_desk import Answer, WebServer

from bgtop.testing import wait_until

PLAIN, HTML = "text/plain", "text/html"
POOL = ("-P", "prefork", "-c", "1", "-E")


class World(NamedTuple):
    """A server that allows control beside a worker with processes, which reads ``celery``."""

    web: WebServer
    celery: CeleryCluster
    node: str
    folder: Path

    def get(self, path: str) -> Answer:
        return self.web.get(path, **_as("ann"))

    def post(self, path: str, body: Any = None, who: str = "ann", **headers: str) -> Answer:
        if body is not None:
            return self.web.act(body, path, **_as(who), **headers)
        return self.web.request("POST", path, b"", **_as(who), **headers)

    def form(self, path: str, **fields: str) -> Answer:
        kind = "application/x-www-form-urlencoded"
        body = urlencode(fields).encode()
        return self.web.request("POST", path, body, Content_Type=kind, **_as("ann"))

    def asked(self) -> dict[str, Any]:
        said = self.get(f"/api/workers?refresh=1&workername={self.node}")
        assert said.status == 200, said
        return dict(said.json[self.node])

    def processes(self) -> int:
        return len(self.asked()["stats"]["pool"]["processes"])


def _as(name: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:pw'.encode()).decode()}"}


def _server(redis: RedisServer, folder: Path, *options: str) -> WebServer:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FLOWER_")}
    arguments = ["--listen", "127.0.0.1:0", "--interval", "1", "--basic-auth", "ann:pw"]
    return WebServer(
        [
            f"celery+{redis.url}?result_backend={redis.url}",
            *arguments,
            "--grant",
            "ann=admin",
            *options,
        ],
        {**inherited, "HOME": str(folder)},
        folder,
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("flower")
    redis = RedisServer(folder)
    redis.start()
    celery = CeleryCluster(redis.url, folder)
    celery.results = redis.url
    users = ["--allow-control", "--basic-auth", "vic:pw", "--grant", "vic=viewer"]
    users += ["--basic-auth", "may:pw", "--grant", "may=viewer,queue=mail"]
    web = _server(redis, folder, *users, "--metrics", "--compat", "flower")
    try:
        node = celery.start_worker("w1", "celery", pool=POOL)
        made = World(web, celery, node, folder)
        wait_until(lambda: made.get("/api/workers?status=1").json.get(node), seconds=40)
        yield made
    finally:
        web.close()
        celery.close()
        redis.stop()


def said(answer: Answer) -> tuple[int, str, str]:
    """Code, kind and words."""
    kind = answer.headers.get("content-type", "").partition(";")[0]
    return answer.status, kind, answer.body.decode()


REFUSED: list[tuple[str, tuple[int, str, str]]] = [
    *(
        (f"/api/worker/{path}/nobody", (404, PLAIN, "Unknown worker 'nobody'"))
        for path in (
            *("shutdown", "pool/restart", "pool/grow", "pool/shrink", "pool/autoscale"),
            *("queue/add-consumer", "queue/cancel-consumer"),
        )
    ),
    ("/api/worker/pool/grow/W?n=x", (400, PLAIN, "Invalid argument 'x' of type 'int'")),
    ("/api/worker/pool/shrink/W?n=x", (400, PLAIN, "Invalid argument 'x' of type 'int'")),
    ("/api/worker/pool/autoscale/W?min=1", (400, PLAIN, "Missing argument max")),
    ("/api/worker/pool/autoscale/W", (400, PLAIN, "Missing argument min")),
    ("/api/worker/queue/add-consumer/W", (400, PLAIN, "Missing argument queue")),
    ("/api/worker/queue/cancel-consumer/W", (400, PLAIN, "Missing argument queue")),
    ("/api/task/timeout/add", (400, PLAIN, "Missing argument workername")),
    (
        "/api/task/timeout/add?workername=W&soft=x",
        (400, PLAIN, "Invalid argument 'x' of type 'float'"),
    ),
    ("/api/task/timeout/nothing?workername=W&soft=3", (404, PLAIN, "Unknown task 'nothing'")),
    ("/api/task/timeout/add?workername=nobody", (404, PLAIN, "Unknown worker 'nobody'")),
    ("/api/task/rate-limit/add?workername=W", (400, PLAIN, "Missing argument ratelimit")),
    (
        "/api/task/rate-limit/nothing?workername=W&ratelimit=1",
        (404, PLAIN, "Unknown task 'nothing'"),
    ),
    (
        "/api/task/rate-limit/add?workername=nobody&ratelimit=1",
        (404, PLAIN, "Unknown worker 'nobody'"),
    ),
]


@pytest.mark.parametrize(("path", "words"), REFUSED)
def test_what_is_refused(world: World, path: str, words: tuple[int, str, str]) -> None:
    assert said(world.post(path.replace("W", world.node))) == words


def test_a_worker_tells_of_itself(world: World) -> None:
    one = world.asked()
    asked = {"stats", "active_queues", "registered", "conf", "timestamp"}
    assert set(one) == {*asked, "active", "reserved", "scheduled", "revoked"}
    assert one["stats"]["pid"] == world.celery.pid(world.node)
    assert [queue["name"] for queue in one["active_queues"]] == ["celery"]
    assert "add" in one["registered"]
    everybody = world.get("/api/workers?refresh=true").json
    assert asked <= set(everybody[world.node])
    assert world.get("/api/workers").json == everybody
    assert said(world.get("/api/workers?refresh=1&workername=nobody")) == (
        *(404, PLAIN),
        "Unknown worker 'nobody'",
    )


def test_the_pool_and_the_queues(world: World) -> None:
    node = world.node

    def told(path: str, **fields: str) -> str:
        answer = world.form(f"/api/worker/{path}/{node}", **fields)
        assert answer.status == 200, answer
        assert answer.headers["content-type"] == "application/json; charset=UTF-8"
        return str(answer.json["message"])

    assert told("pool/grow", n="3") == f"Growing '{node}' worker's pool by 3"
    wait_until(lambda: world.processes() == 4, seconds=20, why="it has grown")
    assert told("pool/shrink", n="2") == f"Shrinking '{node}' worker's pool by 2"
    wait_until(lambda: world.processes() == 2, seconds=20, why="it has shrunk")
    assert told("pool/shrink") == f"Shrinking '{node}' worker's pool by 1"
    assert told("queue/add-consumer", queue="more") == "add consumer more"

    def queues() -> set[str]:
        return {queue["name"] for queue in world.asked()["active_queues"]}

    wait_until(lambda: queues() == {"celery", "more"}, seconds=20, why="it reads the queue")
    assert told("queue/cancel-consumer", queue="more") == "no longer consuming from more"
    wait_until(lambda: queues() == {"celery"}, seconds=20, why="it has left the queue")


def test_a_pool_that_scales(world: World) -> None:
    node = world.celery.start_worker("w3", "other", pool=POOL, options=("--autoscale=2,1",))
    wait_until(lambda: world.get("/api/workers?status=1").json.get(node), seconds=40)
    scaled = world.form(f"/api/worker/pool/autoscale/{node}", min="2", max="3")
    assert scaled.json == {"message": f"Autoscaling '{node}' worker (min=2, max=3)"}

    def asked() -> dict[str, Any]:
        return dict(world.get(f"/api/workers?refresh=1&workername={node}").json[node]["stats"])

    wait_until(lambda: len(asked()["pool"]["processes"]) >= 2, seconds=20, why="it has scaled")
    world.celery.stop(node)


def test_a_pool_restarts(world: World) -> None:
    node = world.celery.start_worker("w4", "other", pool=POOL, TEST_POOL_RESTARTS="1")
    pid = world.celery.pid(node)
    wait_until(lambda: world.get("/api/workers?status=1").json.get(node), seconds=40)
    before = _children(pid)
    again = world.post(f"/api/worker/pool/restart/{node}")
    assert again.json == {"message": f"Restarting '{node}' worker's pool"}
    wait_until(
        lambda: _children(pid) and not before & _children(pid),
        seconds=30,
        why="its process is another",
    )
    world.celery.stop(node)


def _children(pid: int) -> set[str]:
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_what_the_worker_refuses(world: World) -> None:
    node = world.node
    status, kind, words = said(world.post(f"/api/worker/pool/restart/{node}"))
    assert (status, kind) == (403, HTML)
    assert words.startswith(f"Failed to restart the '{node}' pool: ")
    assert "Pool restarts not enabled" in words
    status, kind, words = said(world.post(f"/api/worker/pool/autoscale/{node}?min=1&max=3"))
    assert (status, kind) == (403, HTML)
    assert words.startswith(f"Failed to autoscale '{node}' worker: ")
    status, kind, words = said(
        world.form("/api/task/rate-limit/add", workername=node, ratelimit="<often>")
    )
    assert (status, kind) == (403, HTML)
    assert words.startswith("Failed to set rate limit: '")
    assert words.endswith("'")
    assert "<often>" not in words


def test_limits_of_tasks(world: World) -> None:
    limited = world.form("/api/task/rate-limit/add", workername=world.node, ratelimit="100/s")
    assert limited.json == {"message": "new rate limit set successfully"}
    timed = world.form("/api/task/timeout/add", workername=world.node, soft="30", hard="60")
    assert timed.json == {"message": "time limits set successfully"}
    wait_until(
        lambda: any(one.startswith("add [rate_limit=") for one in world.asked()["registered"]),
        seconds=10,
        why="the worker tells its new limit",
    )


def test_a_task_is_sent_and_told_of(world: World) -> None:
    done = world.post("/api/task/apply/add", {"args": [1, 2], "timeout": 60})
    assert done.status == 200, done
    id_ = done.json["task-id"]
    assert done.json == {"task-id": id_, "state": "SUCCESS", "result": 3}
    assert world.get(f"/api/task/result/{id_}").json == done.json
    told = world.get(f"/api/task/info/{id_}").json
    assert (told["uuid"], told["name"], told["state"]) == (id_, "add", "SUCCESS")
    assert (told["args"], told["result"], told["worker"]) == ("[1, 2]", "3", world.node)
    assert told["clock"] is None
    assert said(world.get("/api/task/info/none")) == (404, PLAIN, "Unknown task 'none'")
    assert world.get("/api/task/result/none").json == {"task-id": "none", "state": "PENDING"}


def test_a_task_that_fails(world: World) -> None:
    failed = world.post("/api/task/apply/falter", {"args": [str(world.folder / "notes")]})
    assert failed.json["state"] == "FAILURE"
    assert failed.json["result"].startswith("ValueError: not yet")
    assert "Traceback" in failed.json["traceback"]


def test_a_task_that_is_not_waited_for(world: World) -> None:
    for path in ("async-apply", "send-task"):
        sent = world.post(f"/api/task/{path}/add", {"args": [2, 2]})
        assert sent.json == {"task-id": sent.json["task-id"], "state": "PENDING"}
        result = f"/api/task/result/{sent.json['task-id']}?timeout=60"
        assert world.get(result).json["result"] == 4
    nobody = world.post("/api/task/send-task/nobody.knows", {"countdown": 3600})
    assert nobody.status == 200
    late = world.post("/api/task/apply/add", {"args": [1, 1], "countdown": 3600, "timeout": 0.2})
    assert late.json == {"task-id": late.json["task-id"], "state": "PENDING"}
    eta = {"args": [1, 1], "eta": "2999-01-01 00:00:00.000", "expires": "60"}
    assert world.post("/api/task/async-apply/add", eta).status == 200
    types = "/api/task/types"
    assert world.get(types).status == 200
    world.post("/api/task/apply/add", {"args": [1, 2]})
    wait_until(lambda: "add" in world.get(types).json["task-types"], seconds=20)


def test_metrics(world: World) -> None:
    world.post("/api/task/apply/add", {"args": [1, 2]})
    counted = re.compile(r'flower_events_total\{(?=[^}]*task="add")[^}]*type="task-succeeded"')

    def page() -> str:
        answer = world.get("/metrics")
        assert said(answer)[:2] == (200, PLAIN)
        return answer.body.decode()

    wait_until(lambda: counted.search(page()), seconds=20, why="events are counted")
    assert "bgtop_source_up{" in page()
    assert world.web.get("/metrics").status == 401
    assert world.web.get("/metrics", **_as("may")).status == 403


ORDERS: list[tuple[str, bytes, tuple[int, str]]] = [
    ("apply/nothing", b"{}", (404, "Unknown task 'nothing'")),
    ("async-apply/nothing", b"{}", (404, "Unknown task 'nothing'")),
    ("apply/add", b"nope", (400, "Expecting value: line 1 column 1 (char 0)")),
    ("apply/add", b"[]", (400, "invalid options")),
    ("apply/add", b'{"args": 1}', (400, "args must be an array")),
    ("apply/add", b'{"timeout": "x"}', (400, "Invalid timeout")),
    ("async-apply/add", b'{"eta": "soon"}', (400, "Invalid option")),
    ("send-task/add", b'{"countdown": "x"}', (400, "Invalid option")),
    ("send-task/add", b'{"serializer": "pickle"}', (400, "Invalid option")),
]


@pytest.mark.parametrize(("path", "body", "words"), ORDERS)
def test_what_cannot_be_sent(world: World, path: str, body: bytes, words: tuple[int, str]) -> None:
    answer = world.web.request("POST", f"/api/task/{path}", body, **_as("ann"))
    assert said(answer) == (words[0], PLAIN, words[1])


def test_a_task_is_revoked_and_another_aborted(world: World) -> None:
    waiting = world.celery.send("elsewhere", "add", 1, 2)
    wait_until(lambda: world.get(f"/api/task/info/{waiting}").status == 200, seconds=20)
    assert world.post(f"/api/task/revoke/{waiting}").json == {"message": f"Revoked '{waiting}'"}
    where = world.folder / "process"
    running = world.celery.send("celery", "hold", str(where))
    wait_until(where.exists, seconds=20, why="it runs")
    status, kind, words = said(world.post(f"/api/task/revoke/{running}"))
    assert (status, kind) == (404, PLAIN)
    assert words.startswith(f"Failed to revoke '{running}': the task '{running}' runs on ")
    assert world.form(f"/api/task/revoke/{running}", terminate="true", signal="SIGKILL").json == {
        "message": f"Revoked '{running}'"
    }
    pid = int(where.read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), seconds=20, why="it is dead")
    notes = world.folder / "aborted"
    asked = world.celery.send("celery", "abortable", str(notes))
    wait_until(lambda: notes.exists() and "begun" in notes.read_text(), seconds=20)
    aborted = world.post(f"/api/task/abort/{asked}")
    assert aborted.json == {"message": f"Aborted '{asked}'"}
    wait_until(lambda: "asked to end" in notes.read_text(), seconds=20, why="it has heard it")


def test_who_may(world: World) -> None:
    path = f"/api/worker/pool/grow/{world.node}"
    status, kind, words = said(world.post(path, who="vic"))
    assert (status, kind, words) == (
        *(403, PLAIN),
        "not permitted: grow is not for the role viewer",
    )
    nobody = world.web.request("POST", path, b"")
    assert (nobody.status, nobody.body) == (401, b"")
    elsewhere = world.post(path, Origin="http://evil.example")
    assert (elsewhere.status, elsewhere.body) == (403, b"this was sent by another site")
    cookie = world.web.log_in("ann", "pw")
    own = {"Origin": world.web.url, "Cookie": cookie}
    assert world.web.request("POST", path, b"", **own).status == 403
    word = world.web.guard_of(cookie)
    assert world.web.request("POST", path, b"", X_Bgtop_Guard=word, **own).status == 200
    lines = [(one["action"]["verb"], one["outcome"]) for one in world.web.audited()]
    assert lines[-1] == ("grow", "done")
    assert ("grow", "refused") in lines


def test_read_only_and_the_broker_gone(tmp_path: Path, world: World) -> None:
    redis = RedisServer(tmp_path)
    redis.start()
    quiet, gone = tmp_path / "quiet", tmp_path / "gone"
    for folder in (quiet, gone):
        folder.mkdir()
    calm, web = _server(redis, quiet), _server(redis, gone, "--allow-control")
    try:
        shut = calm.request("POST", "/api/worker/shutdown/any", b"", **_as("ann"))
        assert said(shut) == (403, PLAIN, "Read only mode is enabled")
        redis.stop()

        def down() -> bool:
            answer = web.request("POST", "/api/worker/shutdown/any", b"", **_as("ann"))
            return said(answer) == (503, PLAIN, "Broker or result backend unavailable")

        wait_until(down, seconds=30)
        failed = said(web.get("/api/workers?refresh=1", **_as("ann")))
        assert failed[:2] == (503, PLAIN)
        assert failed[2].startswith("Failed to update workers: ")
    finally:
        calm.close()
        web.close()
        redis.stop()


def test_no_results_are_kept(tmp_path: Path, rabbit: Any) -> None:
    web = WebServer(
        [f"celery+{rabbit.url}", "--listen", "127.0.0.1:0", "--interval", "1"],
        {**os.environ, "HOME": str(tmp_path), "FLOWER_UNAUTHENTICATED_API": "1"},
        tmp_path,
    )
    words = (503, PLAIN, "Broker or result backend unavailable")
    try:
        wait_until(lambda: web.get("/readyz").status == 200, seconds=30)
        assert said(web.get("/api/task/result/any")) == words
    finally:
        web.close()


def test_shut_down_at_the_end(world: World) -> None:
    node = world.celery.start_worker("w2", "other")
    pid = world.celery.pid(node)
    wait_until(lambda: world.get("/api/workers?status=1").json.get(node), seconds=40)
    told = world.post(f"/api/worker/shutdown/{node}")
    assert (told.status, told.json) == (200, {"message": "Shutting down!"})
    wait_until(lambda: _ended(pid), seconds=30, why="it has ended")


def _ended(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
