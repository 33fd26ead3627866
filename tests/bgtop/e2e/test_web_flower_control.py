"""Flower's paths that ask workers, change them, and send tasks: real workers, real servers.

All of it on Redis with processes and on RabbitMQ with threads. The texts are those of Flower 2.2.0,
written from its documentation and sources' facts.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flower_desk import (
    HTML,
    PLAIN,
    PREFORK,
    THREADS,
    World,
    credentials,
    said,
    world_of,
)

from bgtop.testing import wait_until

if TYPE_CHECKING:
    from rabbit_server import RabbitNode

METRICS = ("--metrics", "--compat", "flower")


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """On Redis; the worker has processes."""
    with world_of(tmp_path_factory.mktemp("flower"), PREFORK, None, *METRICS) as made:
        yield made


@pytest.fixture(scope="module")
def threads(rabbit_node: RabbitNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """On RabbitMQ; the worker has threads, which cannot be grown, restarted or killed."""
    folder = tmp_path_factory.mktemp("flower")
    with rabbit_node.vhost() as vhost, world_of(folder, THREADS, vhost, *METRICS) as made:
        yield made


@pytest.fixture(scope="module", params=["processes", "threads"], ids=["redis", "rabbit"])
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.getfixturevalue(request.param)
    return made


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
    (
        "/api/worker/pool/grow/W?n=99999999999999999999",
        (400, PLAIN, "Invalid argument '99999999999999999999' of type 'int'"),
    ),
    (
        "/api/worker/pool/autoscale/W?min=3&max=1",
        (400, PLAIN, "Invalid argument '3' of type 'int'"),
    ),
    (
        "/api/worker/pool/autoscale/W?min=1&max=5000",
        (400, PLAIN, "Invalid argument '5000' of type 'int'"),
    ),
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


def told(world: World, path: str, **fields: str) -> str:
    """What a worker's route answers that could do it."""
    answer = world.form(f"/api/worker/{path}/{world.node}", **fields)
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    return str(answer.json["message"])


def test_the_pool(processes: World) -> None:
    node = processes.node
    assert told(processes, "pool/grow", n="3") == f"Growing '{node}' worker's pool by 3"
    wait_until(lambda: processes.processes() == 4, seconds=20, why="it has grown")
    assert told(processes, "pool/shrink", n="2") == f"Shrinking '{node}' worker's pool by 2"
    wait_until(lambda: processes.processes() == 2, seconds=20, why="it has shrunk")
    assert told(processes, "pool/shrink") == f"Shrinking '{node}' worker's pool by 1"
    wait_until(lambda: processes.processes() == 1, seconds=20, why="it has shrunk")
    words = f"worker '{node}' has 1 process: one at least has to be left"
    assert said(processes.form(f"/api/worker/pool/shrink/{node}")) == (
        *(403, HTML),
        f"Failed to shrink '{node}' worker's pool: {words}",
    )


def test_the_queues(world: World) -> None:
    assert told(world, "queue/add-consumer", queue="more") == "add consumer more"

    def queues() -> set[str]:
        return {queue["name"] for queue in world.asked()["active_queues"]}

    wait_until(lambda: queues() == {"celery", "more"}, seconds=20, why="it reads the queue")
    assert told(world, "queue/cancel-consumer", queue="more") == "no longer consuming from more"
    wait_until(lambda: queues() == {"celery"}, seconds=20, why="it has left the queue")


def acted(world: World, **request: Any) -> tuple[int, str]:
    """What our own interface answers to a request for a change that is not done."""
    answer = world.post("/api/v1/actions", request)
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status, answer.json["detail"]


def test_why_a_worker_was_told_nothing_is_in_the_status(world: World) -> None:
    """By our own paths; who is silent, and a broker that is down, are elsewhere."""
    nobody = (404, "there is no worker 'nobody'")
    assert acted(world, verb="shutdown", worker="nobody") == nobody
    assert acted(world, verb="purge", queue="none") == (404, "there is no queue 'none'")
    status, words = acted(world, verb="restart", worker=world.node)
    assert (status, "Pool restarts not enabled" in words) == (409, True)
    assert acted(world, verb="pause", queue="celery")[0] == 422
    too_many = acted(world, verb="grow", worker=world.node, by=1001)
    assert too_many == (400, "by: expected 1 to 1000")


def test_a_pool_that_scales(processes: World) -> None:
    world = processes
    node = world.start_worker("w3", pool=PREFORK, options=("--autoscale=2,1",))
    scaled = world.form(f"/api/worker/pool/autoscale/{node}", min="2", max="3")
    assert scaled.json == {"message": f"Autoscaling '{node}' worker (min=2, max=3)"}
    wait_until(
        lambda: len(world.asked(node)["stats"]["pool"]["processes"]) >= 2,
        seconds=20,
        why="it has scaled",
    )
    world.celery.stop(node)


def test_a_pool_restarts(processes: World) -> None:
    world = processes
    node = world.start_worker("w4", pool=PREFORK, TEST_POOL_RESTARTS="1")
    pid = world.celery.pid(node)
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


def test_threads_are_not_grown_nor_killed(threads: World) -> None:
    world = threads
    for verb in ("grow", "shrink"):
        answer = world.post(f"/api/worker/pool/{verb}/{world.node}")
        words = f"""AttributeError("'TaskPool' object has no attribute '{verb}'")"""
        assert said(answer) == (
            *(403, HTML),
            f"Failed to {verb} '{world.node}' worker's pool: {words}",
        )
    notes = world.folder / "threaded"
    running = world.celery.send("celery", "abortable", str(notes))
    wait_until(lambda: notes.exists() and "begun" in notes.read_text(), seconds=20)
    status, kind, words = said(world.post(f"/api/task/revoke/{running}?terminate=1"))
    assert (status, kind) == (403, HTML)
    assert words.startswith(f"Failed to revoke '{running}': ")
    assert "does not implement kill_job" in words
    world.post(f"/api/task/abort/{running}")
    wait_until(lambda: "asked to end" in notes.read_text(), seconds=20, why="it has heard it")


UNHEARD: list[tuple[str, dict[str, str], str]] = [
    (
        "worker/queue/add-consumer/W",
        {"queue": "more"},
        "Failed to add 'more' consumer to 'W' worker: ",
    ),
    (
        "worker/queue/cancel-consumer/W",
        {"queue": "more"},
        "Failed to cancel 'more' consumer from 'W' worker: ",
    ),
    ("task/timeout/add", {"workername": "W", "soft": "3"}, "Failed to set timeouts: '"),
]


def test_a_worker_that_does_not_answer(processes: World) -> None:
    """What no worker refuses says so when none answers."""
    world = processes
    node = world.start_worker("w5", pool=THREADS)
    world.asked(node)  # it has said which tasks it knows
    pid = world.celery.pid(node)
    os.kill(pid, signal.SIGSTOP)
    try:
        for path, fields, words in UNHEARD:
            named = {key: value.replace("W", node) for key, value in fields.items()}
            answer = said(world.form(f"/api/{path.replace('W', node)}", **named))
            assert answer[:2] == (403, HTML), (path, answer)
            assert answer[2].startswith(words.replace("W", node)), (path, answer)
            assert "answer" in answer[2], (path, answer)
        status, words = acted(world, verb="restart", worker=node)
        assert (status, "did not answer within" in words) == (504, True)
    finally:
        os.kill(pid, signal.SIGCONT)
        world.celery.kill(node)


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
    assert world.web.get("/metrics", **credentials("may")).status == 403


ORDERS: list[tuple[str, bytes, tuple[int, str]]] = [
    ("apply/nothing", b"{}", (404, "Unknown task 'nothing'")),
    ("async-apply/nothing", b"{}", (404, "Unknown task 'nothing'")),
    ("apply/add", b"nope", (400, "Expecting value: line 1 column 1 (char 0)")),
    ("apply/add", b"[]", (400, "invalid options")),
    ("apply/add", b'{"args": 1}', (400, "args must be an array")),
    ("apply/add", b'{"timeout": "x"}', (400, "Invalid timeout")),
    ("apply/add", b'{"timeout": 1%s}' % (b"0" * 400), (400, "Invalid timeout")),
    ("send-task/add", b'{"priority": Infinity}', (400, "Invalid option")),
    ("send-task/add", b'{"expires": 1%s}' % (b"0" * 400), (400, "Invalid option")),
    ("async-apply/add", b'{"eta": "soon"}', (400, "Invalid option")),
    ("send-task/add", b'{"countdown": "x"}', (400, "Invalid option")),
    ("send-task/add", b'{"serializer": "pickle"}', (400, "Invalid option")),
]


@pytest.mark.parametrize(("path", "body", "words"), ORDERS)
def test_what_cannot_be_sent(world: World, path: str, body: bytes, words: tuple[int, str]) -> None:
    answer = world.web.request("POST", f"/api/task/{path}", body, **credentials("ann"))
    assert said(answer) == (words[0], PLAIN, words[1])


def test_a_task_is_revoked(world: World) -> None:
    waiting = world.celery.send("elsewhere", "add", 1, 2, countdown=3600)
    assert world.post(f"/api/task/revoke/{waiting}").json == {"message": f"Revoked '{waiting}'"}


def test_a_running_task_is_killed(processes: World) -> None:
    world = processes
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


def test_a_task_is_aborted(world: World) -> None:
    notes = world.folder / "aborted"
    asked = world.celery.send("celery", "abortable", str(notes))
    wait_until(lambda: notes.exists() and "begun" in notes.read_text(), seconds=20)
    aborted = world.post(f"/api/task/abort/{asked}")
    assert aborted.json == {"message": f"Aborted '{asked}'"}
    wait_until(lambda: "asked to end" in notes.read_text(), seconds=20, why="it has heard it")


ROLES: list[tuple[str, str]] = [
    ("worker/shutdown/W", "shutdown"),
    ("worker/pool/restart/W", "restart"),
    ("worker/pool/grow/W", "grow"),
    ("worker/pool/shrink/W", "shrink"),
    ("worker/pool/autoscale/W?min=1&max=2", "autoscale"),
    ("worker/queue/add-consumer/W?queue=q", "add-queue"),
    ("worker/queue/cancel-consumer/W?queue=q", "drop-queue"),
    ("task/timeout/add?workername=W", "limit-time"),
    ("task/rate-limit/add?workername=W&ratelimit=1", "limit-rate"),
    ("task/revoke/ID", "cancel"),
    ("task/abort/ID", "abort"),
    ("task/apply/add", "send"),
    ("task/async-apply/add", "send"),
    ("task/send-task/add", "send"),
]


def test_each_change_needs_a_role(world: World) -> None:
    for path, verb in ROLES:
        answer = world.post(f"/api/{path.replace('W', world.node)}", who="vic")
        words = f"not permitted: {verb} is not for the role viewer"
        assert said(answer) == (403, PLAIN, words), path
        last = world.web.audited()[-1]
        assert (last["action"]["verb"], last["outcome"]) == (verb, "refused")


def test_who_may(world: World) -> None:
    path = f"/api/worker/queue/cancel-consumer/{world.node}?queue=none"
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
    assert lines[-1] == ("drop-queue", "done")


def test_shut_down_at_the_end(world: World) -> None:
    node = world.start_worker("w2")
    pid = world.celery.pid(node)
    told = world.post(f"/api/worker/shutdown/{node}")
    assert (told.status, told.json) == (200, {"message": "Shutting down!"})
    wait_until(lambda: _ended(pid), seconds=30, why="it has ended")


def _ended(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
