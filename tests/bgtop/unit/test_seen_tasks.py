"""Single tasks by their events: what each is, in which order, and how much is remembered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends.celery.told_events import ToldEvents
from bgtop.state.seen_tasks import SeenBounds, SeenQuery, SeenTask, SeenTasks, matching
from bgtop.state.seen_workers import SeenWorkers
from bgtop.task_events import ToldEvent

KINDS = ("sent", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected")


def told(kind: str, at: float, id_: str = "a", **facts: Any) -> ToldEvent:
    teller = "gen1@h" if kind == "sent" else "w1@h"
    return ToldEvent(f"task-{kind}", teller, at, int(at), {"uuid": id_, **facts})


def task_of(*events: ToldEvent) -> SeenTask:
    tasks = SeenTasks()
    for event in events:
        tasks.take("s", event, event.at)
    found = tasks.get("s", "a")
    assert found is not None
    return found


def test_a_task_goes_its_way() -> None:
    task = task_of(
        told("sent", 1, name="add", queue="mail", args="(1,)"),
        told("received", 2, name="add", retries=0),
        told("started", 3),
        told("succeeded", 4, result="2", runtime=0.5),
    )
    assert (task.state, task.timestamp, task.name, task.queue) == ("SUCCESS", 4, "add", "mail")
    assert (task.client, task.worker, task.result) == ("gen1@h", "w1@h", "2")


def test_what_comes_late_is_learned_and_turns_nothing_back() -> None:
    task = task_of(
        told("succeeded", 4, result="2"),
        told("received", 2, name="add", args="(1,)"),
        told("started", 3),
        told("sent", 1, name="add", queue="mail"),
    )
    assert (task.state, task.timestamp) == ("SUCCESS", 4)
    assert (task.name, task.args, task.queue, task.received) == ("add", "(1,)", "mail", 2)


def test_who_tries_again_begins_anew() -> None:
    events = [told("received", 1, eta="x"), told("started", 2), told("retried", 3)]
    assert task_of(*events).state == "RETRY"
    again = task_of(*events, told("received", 4, retries=1))
    assert (again.state, again.retries, again.eta, again.retried) == ("RECEIVED", 1, None, 3)


def test_children_are_known_by_their_parent() -> None:
    task = task_of(
        told("received", 1),
        told("sent", 2, "b", parent_id="a"),
        told("received", 3, "b", parent_id="a"),
    )
    assert task.children == ["b"]


def test_those_that_ended_are_forgotten_first() -> None:
    tasks = SeenTasks(SeenBounds(bytes=20_000))
    tasks.take("s", told("received", 0, "open"), 0)
    for number in range(100):
        tasks.take("s", told("succeeded", number, f"ended-{number}"), number)
        assert tasks.bytes <= 20_000
    assert tasks.get("s", "open") is not None
    assert tasks.get("s", "ended-0") is None
    assert tasks.get("s", "ended-99") is not None
    for number in range(100):
        tasks.take("s", told("received", number, f"open-{number}"), 100 + number)
    assert tasks.bytes <= 20_000
    assert tasks.get("s", "open") is tasks.get("s", "ended-99") is None


def test_long_texts_count() -> None:
    tasks = SeenTasks(SeenBounds(bytes=50_000))
    for number in range(50):
        tasks.take("s", told("failed", number, str(number), traceback="x" * 10_000), number)
    assert 0 < len(tasks) < 5


def test_old_ones_are_forgotten() -> None:
    tasks = SeenTasks(SeenBounds(age=10))
    tasks.take("s", told("received", 0, "a"), 0)
    tasks.take("s", told("succeeded", 0, "b"), 0)
    tasks.take("s", told("received", 5, "c"), 5)
    tasks.expire(12)
    assert [task.uuid for task in tasks] == ["c"]


def test_equal_ids_of_two_sources_are_two_tasks() -> None:
    tasks = SeenTasks()
    tasks.take("s", told("received", 1), 1)
    tasks.take("t", told("started", 2), 2)
    assert [task.state for task in tasks] == ["RECEIVED", "STARTED"]


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from("abcdef"), st.integers(0, 300))))
def test_what_is_counted_is_what_is_kept(events: list[tuple[str, str, int]]) -> None:
    tasks = SeenTasks(SeenBounds(bytes=4_000))
    for at, (kind, id_, size) in enumerate(events):
        tasks.take("s", told(kind, at, id_, args="x" * size, parent_id="a"), at)
        assert tasks.bytes == sum(task.size for task in tasks)
        assert len(tasks) <= 1 or tasks.bytes <= 4_000
        assert len({task.uuid for task in tasks}) == len(tasks)


@pytest.mark.parametrize("descending", [True, False])
def test_a_window_of_what_is_in_order(descending: bool) -> None:
    tasks = SeenTasks()
    for at, id_ in enumerate("bca"):
        tasks.take("s", told("received", at, id_, name=id_), at)
    query = SeenQuery(order="name", descending=descending, offset=1, limit=1)
    assert [task.uuid for task in query.window(matching(tasks, query))] == ["b"]
    newest = [task.uuid for task in matching(tasks, SeenQuery(descending=descending))]
    assert newest == (["a", "c", "b"] if descending else ["b", "c", "a"])


def test_workers_are_counted_and_producers_are_none() -> None:
    workers = SeenWorkers()
    for at in range(6):
        beat = ToldEvent("worker-heartbeat", "w1@h", at, at, {"freq": 2.0, "sw_ident": "py-celery"})
        workers.take("s", beat)
    workers.take("s", told("sent", 7))
    workers.take("s", told("started", 8))
    worker = workers.get("s", "w1@h")
    assert worker is not None
    assert (worker.freq, worker.clock, worker.software) == (2.0, 8, "py-celery")
    assert worker.counts == {"worker-heartbeat": 6, "task-started": 1}
    assert [*worker.moments] == [3, 4, 5, 8]
    assert workers.get("s", "gen1@h") is None


def test_dynamic_workers_do_not_fill_the_memory() -> None:
    workers = SeenWorkers()
    for number in range(5_100):
        workers.take("s", ToldEvent("worker-heartbeat", f"w{number}", 1.0, None, {}))
    assert workers.get("s", "w0") is None
    assert workers.get("s", "w5099") is not None


HOSTILE = [
    *(None, 1, "text", [], [None], {}, {"type": 5}, {"type": "task-sent"}),
    {"type": "task-sent", "hostname": 5, "timestamp": 1.0},
    {"type": "task-sent", "hostname": "h", "timestamp": True},
    {"type": "task-sent", "hostname": "h", "timestamp": float("inf")},
    {"type": "worker-elect", "hostname": "h", "timestamp": 1.0},
]


@pytest.mark.parametrize("body", HOSTILE)
def test_what_is_no_event_is_left_out(body: object) -> None:
    events = ToldEvents()
    events.hear(body)
    assert events.take() == ()


def test_facts_are_checked_and_cut() -> None:
    events = ToldEvents()
    facts = {"args": "x" * 9_999, "name": "n" * 999, "kwargs": 5, "retries": "1", "runtime": 0.5}
    base = {"type": "task-received", "hostname": "h", "timestamp": 1, "uuid": "a", "clock": -1}
    events.hear([{**base, **facts}])
    [event] = events.take()
    assert (len(str(event.facts["args"])), len(str(event.facts["name"]))) == (4096, 255)
    assert (set(event.facts), event.clock) == ({"uuid", "args", "name", "runtime"}, None)
    assert events.take() == ()


def test_what_nobody_takes_is_bounded() -> None:
    events = ToldEvents()
    base = {"type": "task-failed", "hostname": "h", "timestamp": 1, "traceback": "x" * 16_000}
    for number in range(3_000):
        events.hear({**base, "uuid": str(number)})
    kept = events.take()
    assert 1_800 < len(kept) < 2_000
    assert kept[-1].facts["uuid"] == "2999"
