"""Tasks seen in events, as Flower lists them: on Redis with processes, on RabbitMQ with threads.

Keys, order, filters and texts are what Flower 2.2.0 was seen to answer for the same tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import pytest
from flower_desk import JSON, PLAIN, PREFORK, THREADS, World, said, world_of

from bgtop.testing import wait_until

if TYPE_CHECKING:
    from rabbit_server import RabbitNode

KEYS = {
    *("uuid", "name", "state", "received", "sent", "started", "rejected", "succeeded", "failed"),
    *("retried", "revoked", "args", "kwargs", "eta", "expires", "retries", "result", "exception"),
    *("timestamp", "runtime", "traceback", "exchange", "routing_key", "clock", "client", "root"),
    *("root_id", "parent", "parent_id", "children", "worker"),
}


class Sent(NamedTuple):
    """The world, and the ids of what was sent there by what became of it."""

    world: World
    ids: dict[str, str]

    def asked(self, **parameters: object) -> list[str]:
        """Which of them are listed, in their order."""
        answer = self.world.get(f"/api/tasks?{urlencode(parameters)}")
        assert answer.status == 200, answer
        names = {id_: name for name, id_ in self.ids.items()}
        return [names[id_] for id_ in answer.json]

    def task(self, name: str) -> dict[str, Any]:
        return dict(self.world.get("/api/tasks").json[self.ids[name]])


@pytest.fixture(scope="module", params=["redis", "rabbit"])
def sent(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sent]:
    folder = tmp_path_factory.mktemp("flower")
    if request.param == "redis":
        with world_of(folder, PREFORK, None, "--events") as world:
            yield _sent(world)
        return
    node: RabbitNode = request.getfixturevalue("rabbit_node")
    with node.vhost() as vhost, world_of(folder, THREADS, vhost, "--events") as world:
        yield _sent(world)


def _sent(world: World) -> Sent:
    celery = world.celery
    celery.app.conf.task_send_sent_event = True
    wait_until(lambda: _counts(world).get("worker-heartbeat"), seconds=40, why="it is heard")
    ids: dict[str, str] = {}

    def send(name: str, state: str, *call: Any, **options: Any) -> None:
        ids[name] = celery.send(*call, **options)
        wait_until(
            lambda: world.get("/api/tasks").json.get(ids[name], {}).get("state") == state,
            seconds=30,
            why=f"{name} is {state}",
        )

    send("waits", "PENDING", "mail", "add", 7, 7)
    send("good", "SUCCESS", "celery", "add", 1, 2)
    notes, kwargs = str(world.folder / "notes"), {"password": "hunter2", "who": "ann b"}
    send("bad", "FAILURE", "celery", "falter", notes, kwargs=kwargs)
    send("again", "SUCCESS", "celery", "again", 2)
    send("late", "RECEIVED", "celery", "add", 8, 8, countdown=3600, expires=7200)
    return Sent(world, ids)


def _counts(world: World) -> dict[str, Any]:
    return dict(world.get("/workers?json=1").json["data"][0])


def test_each_task_is_told_as_flower_tells_it(sent: Sent) -> None:
    good, node = sent.task("good"), sent.world.node
    assert set(good) == KEYS
    assert (good["uuid"], good["name"], good["worker"]) == (sent.ids["good"], "add", node)
    assert (good["args"], good["kwargs"], good["result"]) == ("(1, 2)", "{}", "3")
    # A producer says so after it has sent: then a worker may have received it.
    assert abs(good["received"] - good["sent"]) < 30
    assert good["received"] <= good["started"] <= good["succeeded"]
    assert good["timestamp"] == good["succeeded"]
    assert 0 < good["runtime"] < 30
    assert (good["retries"], good["root_id"], good["root"]) == (0, good["uuid"], good["uuid"])
    assert (good["routing_key"], good["children"], good["parent"]) == ("celery", [], None)
    assert isinstance(good["clock"], int)
    assert good["client"].startswith("gen")

    waits = sent.task("waits")
    assert set(waits) == KEYS - {"worker"}
    assert (waits["state"], waits["received"]) == ("PENDING", None)

    again = sent.task("again")
    assert (again["retries"], again["children"]) == (2, [sent.ids["again"]])
    assert again["state"] == "SUCCESS"
    assert "ValueError('not yet')" in again["exception"]

    late = sent.task("late")
    assert (late["state"], late["started"]) == ("RECEIVED", None)
    assert late["eta"] < late["expires"]


def test_secrets_are_hidden_and_cannot_be_searched_for(sent: Sent) -> None:
    bad = sent.task("bad")
    assert bad["kwargs"] == "{'password': ***, 'who': 'ann b'}"
    assert bad["exception"] == "ValueError('not yet', 7)"
    assert "Traceback" in bad["traceback"]
    assert sent.asked(search="hunter2") == sent.asked(search="kwargs:password=hunter2") == []


def test_order_and_window(sent: Sent) -> None:
    newest = ["late", "again", "bad", "good", "waits"]
    assert sent.asked() == newest
    assert sent.asked(limit=2) == newest[:2]
    assert sent.asked(limit=2, offset=1) == newest[1:3]
    assert sent.asked(limit=0) == []
    assert sent.asked(offset=-3) == newest
    assert sent.asked(sort_by="received") == newest[::-1]
    assert sent.asked(sort_by="-received") == newest
    assert sent.asked(sort_by="started") == ["waits", "late", "good", "bad", "again"]
    assert sent.asked(sort_by="name") == ["waits", "good", "late", "again", "bad"]
    assert sent.asked(sort_by="-state") == ["again", "good", "late", "waits", "bad"]


def test_filters(sent: Sent) -> None:
    node = sent.world.node
    everything = set(sent.ids)
    assert set(sent.asked(taskname="add")) == {"waits", "good", "late"}
    assert set(sent.asked(taskname="All", state="All", workername="All")) == everything
    assert set(sent.asked(state="SUCCESS")) == {"good", "again"}
    assert set(sent.asked(workername=node)) == everything - {"waits"}
    assert sent.asked(workername="nobody") == []
    assert sent.asked(taskname="add", state="RECEIVED") == ["late"]
    # What was not received yet passes both.
    assert sent.asked(received_end="2001-01-01 00:00") == ["waits"]
    assert sent.asked(received_start="2999-01-01 00:00") == ["waits"]
    assert set(sent.asked(received_start="2001-01-01 00:00")) == everything


def test_search(sent: Sent) -> None:
    def found(search: str) -> set[str]:
        return set(sent.asked(search=search))

    assert found("name:again OR state:failure") == {"again", "bad"}
    assert found('kwargs:who="ann b"') == {"bad"}
    assert found("kwargs:who=ann") == set()
    assert found(sent.ids["good"][:13]) == {"good"}
    assert found("(name:add state:SUCCESS) OR args:notes") == {"good", "bad"}


REFUSED: list[tuple[str, tuple[int, str, str]]] = [
    (
        "sort_by=x",
        (400, PLAIN, "Invalid sort_by 'x', expected one of name, received, started, state"),
    ),
    ("limit=x", (400, PLAIN, "Invalid argument 'x' of type 'int'")),
    ("offset=x", (400, PLAIN, "Invalid argument 'x' of type 'int'")),
    *(
        (
            f"received_{end}=today",
            (
                *(400, PLAIN),
                "Invalid received_start or received_end, expected format 'YYYY-MM-DD HH:MM'",
            ),
        )
        for end in ("start", "end")
    ),
    ("search=NOT+add", (400, JSON, '{"error":"NOT is not supported at position 0."}')),
]


@pytest.mark.parametrize(("parameters", "words"), REFUSED)
def test_what_is_refused(sent: Sent, parameters: str, words: tuple[int, str, str]) -> None:
    assert said(sent.world.get(f"/api/tasks?{parameters}")) == words


def test_one_task(sent: Sent) -> None:
    id_ = sent.ids["good"]
    assert sent.world.get(f"/api/task/info/{id_}").json == sent.task("good")
    waits = sent.world.get(f"/api/task/info/{sent.ids['waits']}").json
    assert (waits["state"], waits["args"]) == ("PENDING", "(7, 7)")
    unknown = sent.world.get("/api/task/info/none")
    assert said(unknown) == (404, PLAIN, "Unknown task 'none'")
    assert sent.world.get("/api/task/types").json == {"task-types": ["add", "again", "falter"]}


def window(**more: object) -> dict[str, str]:
    """What DataTables asks for: the second column, runtimes, the longest first."""
    asked = {
        "draw": 4,
        "start": 0,
        "length": 2,
        "search[value]": "",
        "order[0][column]": 1,
        "columns[0][data]": "name",
        "columns[1][data]": "runtime",
        "order[0][dir]": "desc",
    }
    return {name: str(value) for name, value in {**asked, **more}.items()}


def test_windows_of_the_table_on_flowers_page(sent: Sent) -> None:
    def told(**more: object) -> dict[str, Any]:
        answer = sent.world.get(f"/tasks/datatable?{urlencode(window(**more))}")
        assert answer.status == 200, answer
        return dict(answer.json)

    first = told()
    assert (first["draw"], first["recordsTotal"], first["recordsFiltered"]) == (4, 5, 5)
    runtimes = [task["runtime"] for task in first["data"]]
    assert runtimes == sorted(runtimes, reverse=True)
    assert {task["uuid"] for task in first["data"]} == {sent.ids["good"], sent.ids["again"]}
    assert all(set(task) == KEYS for task in first["data"])
    names = {"order[0][column]": 0, "order[0][dir]": "asc", "start": 4}
    assert [task["name"] for task in told(**names)["data"]] == ["falter"]
    found = told(**{"search[value]": "state:PENDING"})
    assert [task["uuid"] for task in found["data"]] == [sent.ids["waits"]]
    assert (found["recordsTotal"], found["recordsFiltered"]) == (5, 1)
    wrong = told(**{"search[value]": "NOT add"})
    assert wrong["searchError"] == "NOT is not supported at position 0."
    assert (wrong["data"], wrong["draw"]) == ([], 4)
    assert (wrong["recordsTotal"], wrong["recordsFiltered"]) == (5, 0)
    assert sent.world.form("/tasks/datatable", **window()).json == first
    refused = sent.world.get(f"/tasks/datatable?{urlencode(window(draw='x'))}")
    assert said(refused) == (400, PLAIN, "Invalid argument 'x' of type 'int'")
    assert sent.world.get("/tasks/datatable", who="nobody").status == 401


def test_windows_that_ask_for_all_columns_or_for_none(sent: Sent) -> None:
    """As Flower's page does with every column shown; and what may be left out there."""
    parts = ("data", "name", "searchable", "orderable", "search[value]", "search[regex]")
    columns = {f"columns[{n}][{part}]": "" for n in range(17) for part in parts}
    every = {**columns, **window(), "search[regex]": "false", "order[0][name]": ""}
    assert sent.world.form("/tasks/datatable", **every).json["recordsTotal"] == 5

    few = {"draw": "1", "start": "0", "length": "9", "order[0][column]": "0"}
    newest = sent.world.get(f"/tasks/datatable?{urlencode(few)}").json["data"]
    moments = [task["timestamp"] for task in newest]
    assert (len(moments), moments) == (5, sorted(moments, reverse=True))


def test_flowers_pages_lead_to_those_that_show_the_same(sent: Sent) -> None:
    node, good = sent.world.node, sent.ids["good"]
    for path, shown in ((f"/worker/{node}", node), (f"/task/{good}", good), ("/broker", "mail")):
        led = sent.world.get(path)
        assert led.status == 303, path
        page = sent.world.get(led.headers["location"])
        assert (page.status, shown in page.body.decode()) == (200, True), path
    unknown = sent.world.get("/worker/none")
    assert said(unknown) == (404, PLAIN, "Unknown worker 'none'")
    assert sent.world.get("/task/x", who="nobody").status == 401


def test_only_tasks_of_queues_that_may_be_seen(sent: Sent) -> None:
    shown = sent.world.get("/api/tasks", who="may")
    assert list(shown.json) == [sent.ids["waits"]]
    table = sent.world.get(f"/tasks/datatable?{urlencode(window())}", who="may").json
    assert [task["uuid"] for task in table["data"]] == [sent.ids["waits"]]
    assert (table["recordsTotal"], table["recordsFiltered"]) == (1, 1)
    hidden = sent.world.get(f"/api/task/info/{sent.ids['good']}", who="may")
    assert hidden.status == 404


def test_workers_with_what_their_events_tell(sent: Sent) -> None:
    row = _counts(sent.world)
    assert (row["hostname"], row["freq"], row["status"]) == (sent.world.node, 2.0, True)
    assert (row["sw_ident"], row["sw_sys"]) == ("py-celery", "Linux")
    counted = {kind: count for kind, count in row.items() if kind.startswith("task-")}
    assert counted == {
        "task-received": 6,
        "task-started": 5,
        "task-succeeded": 2,
        "task-failed": 1,
        "task-retried": 2,
    }
    assert 1 <= len(row["heartbeats"]) <= 4
    clock = row["clock"]
    wait_until(lambda: _counts(sent.world)["clock"] > clock, seconds=20, why="it goes on")
