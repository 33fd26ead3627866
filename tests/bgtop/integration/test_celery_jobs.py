"""What bgtop shows of single tasks is what real Celery holds on a real Redis."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from celery_desk import Desk, at_desk
from redis_server import RedisServer

from bgtop.model import ALL_STATES, JobQuery, JobState

UNREADABLE = {JobState.RUNNING, JobState.FAILED, JobState.SUCCEEDED, JobState.CANCELLED}


@pytest.fixture
def open_desk(redis_server: RedisServer, make_celery, tmp_path: Path) -> Iterator[Callable]:
    with ExitStack() as stack:

        def open_desk(prefix: str = "", results: bool = True, **options: object) -> Desk:
            celery = make_celery(redis_server.url, prefix, **options)
            place = f"redis://127.0.0.1:{redis_server.port}/1"
            more = f"?result_backend={quote(place, safe='')}" if results else ""
            celery.results = place if results else redis_server.url
            url = f"celery+redis://127.0.0.1:{redis_server.port}/0{more}"
            return stack.enter_context(at_desk(url, celery, tmp_path))

        yield open_desk


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()


def test_tasks_that_wait_are_listed_the_next_one_first(desk: Desk) -> None:
    low = [desk.celery.send("mail", "add", n, 2, priority=9) for n in range(3)]
    high = [desk.celery.send("mail", "add", n, 2, priority=0) for n in range(3)]
    other = desk.celery.send("other", "add", 1, 1)

    jobs = desk.jobs(queue="mail")
    everything = desk.jobs()
    some = desk.jobs(queue="mail", limit=4)

    assert [row.id for row in jobs.rows] == [*high, *low]
    assert not jobs.more
    assert jobs.unreadable == UNREADABLE
    assert [row.id for row in everything.rows] == [*high, *low, other]
    assert [row.id for row in some.rows] == [*high, low[0]]
    assert some.more
    first = jobs.rows[0]
    assert (first.name, first.queue, first.state) == ("add", "mail", JobState.WAITING)
    assert (first.args, first.kwargs, first.attempts) == ("[0, 2]", "{}", 0)
    assert [row.priority for row in jobs.rows] == [0, 0, 0, 9, 9, 9]


@pytest.mark.parametrize("options", [{"prefix": "app:"}, {"sep": "::"}])
def test_other_settings(open_desk: Callable[..., Desk], options: dict) -> None:
    desk = open_desk(**options)
    sent = [desk.celery.send("mail", "add", 1, 2, priority=priority) for priority in (0, 6)]

    assert [row.id for row in desk.jobs(queue="mail").rows] == sent
    found = desk.job(sent[1])
    assert found is not None
    assert found.queue == "mail"


def test_what_a_consumer_holds_and_what_is_not_due(desk: Desk) -> None:
    held = desk.celery.send("mail", "add", 1, 2)
    with desk.celery.holding("mail", 1):
        later = desk.celery.send("mail", "add", 1, 2, countdown=7200)
        soon = desk.celery.send("mail", "add", 1, 2, countdown=3600)

        rows = {row.id: row for row in desk.jobs(queue="mail").rows}
        scheduled = desk.jobs(states=frozenset({JobState.SCHEDULED}))

        assert {task: row.state for task, row in rows.items()} == {
            held: JobState.WAITING,
            soon: JobState.SCHEDULED,
            later: JobState.SCHEDULED,
        }
        assert "delivered" in dict(rows[held].facts)
        assert "delivered" not in dict(rows[soon].facts)
        assert [row.id for row in scheduled.rows] == [soon, later]
        due = scheduled.rows[0].due_at
        assert due is not None
        assert 3500 < (due - desk.look().taken_at).total_seconds() <= 3600
        whole = desk.job(held)
        assert whole is not None
        assert whole.queue == "mail"


def test_one_that_ended_is_known_by_its_id(desk: Desk) -> None:
    node = desk.start_worker("mail")
    good = desk.celery.send("mail", "add", 1, 2)
    bad = desk.celery.send("mail", "falter", desk.notes_path, kwargs={"é": 1})
    desk.until(lambda: desk.state(bad) is JobState.FAILED)

    job, failure = desk.job(good), desk.job(bad)

    assert job is not None
    assert failure is not None
    assert (job.state, job.result, job.name, job.args) == (
        JobState.SUCCEEDED,
        "3",
        "add",
        "[1, 2]",
    )
    assert (job.worker, job.queue, job.attempts, job.error) == (node, "mail", 1, None)
    assert failure.error == "ValueError: not yet, 7"
    assert failure.kwargs == '{"é": 1}'
    assert failure.traceback is not None
    assert "ValueError" in failure.traceback.splitlines()[-1]
    assert failure.ended_at is not None
    assert desk.jobs(states=frozenset({JobState.FAILED})).unreadable == {JobState.FAILED}


def test_results_in_the_database_of_the_broker_need_no_option(open_desk) -> None:
    desk = open_desk(results=False)
    desk.start_worker("mail")
    task = desk.celery.send("mail", "add", 1, 2)

    desk.until(lambda: desk.state(task) is JobState.SUCCEEDED)


def test_one_that_nobody_knows(desk: Desk) -> None:
    desk.celery.put("mail")

    jobs = desk.jobs(id="nobody")

    assert (jobs.rows, jobs.more) == ((), False)


def test_jobs_of_a_worker_cannot_be_told(desk: Desk) -> None:
    assert desk.jobs(worker="w1@test").unreadable == ALL_STATES


def test_nothing_is_read_unless_it_is_asked_for(desk: Desk, admin: redis.Redis) -> None:
    desk.celery.put("mail", 3)
    desk.look()
    admin.config_resetstat()

    assert desk.look().jobs is None
    quiet = admin.info("commandstats").get("cmdstat_lrange")
    desk.jobs(queue="mail")

    assert quiet is None
    assert "cmdstat_lrange" in admin.info("commandstats")


# Hostile content


def test_messages_in_other_forms_are_shown_by_their_headers(desk: Desk) -> None:
    pickled = desk.celery.send("mail", "add", 1, 2, serializer="pickle")
    yaml = desk.celery.send("mail", "add", 3, 4, compression="zlib")

    rows = {row.id: row for row in desk.jobs(queue="mail").rows}

    assert (rows[pickled].name, rows[pickled].args) == ("add", "(1, 2)")
    assert "cut short" in dict(rows[pickled].facts)["arguments"]
    assert rows[yaml].args == "(3, 4)"
    assert not any(row.malformed for row in rows.values())


HOSTILE = [
    b"",
    b"\x00\xff\xfe",
    b"{",
    b"[]",
    b"[" * 50_000,
    b'"text"',
    b"1" * 5_000,
    b'{"headers": [], "properties": {}}',
    b'{"headers": {"task": 1, "id": 2}, "properties": {}}',
    b'{"headers": {"task": "t", "id": ""}, "properties": {}}',
    b'{"headers": {"task": "t", "id": "%s"}, "properties": {}}' % (b"x" * 10_000),
    b'{"headers": {"task": "t"}, "properties": {}, "body": "====", "content-type": "text"}',
]


def test_malformed_messages_are_rows_that_say_so(desk: Desk, admin: redis.Redis) -> None:
    good = desk.celery.send("mail", "add", 1, 2)
    for raw in HOSTILE:
        admin.rpush("mail", raw)

    jobs = desk.jobs(queue="mail")

    assert [row.malformed for row in jobs.rows] == [True] * len(HOSTILE) + [False]
    assert jobs.rows[-1].id == good
    assert len({row.id for row in jobs.rows}) == len(HOSTILE) + 1
    found = desk.job(jobs.rows[0].id)
    assert found is not None
    assert found.malformed


ODD = {
    "body": "WzEsIDJd",
    "content-type": "application/json",
    "headers": {
        "task": "t\ud800",
        "id": "odd",
        "eta": "tomorrow",
        "retries": -1,
        "argsrepr": ["x"],
        "parent_id": {},
        "root_id": 7,
        "redelivered": True,
    },
    "properties": {"priority": "high", "delivery_info": [], "body_encoding": "base64"},
}


def test_odd_fields_are_left_out(desk: Desk, admin: redis.Redis) -> None:
    desk.celery.put("mail")
    admin.rpush("mail", json.dumps(ODD))
    admin.hset(
        "unacked", mapping={"a": json.dumps([ODD, "", "mail"]), "b": "junk", "c": "[[],1,2]"}
    )
    admin.zadd("unacked_index", {"a": 1, "b": float("inf"), "c": 2})

    jobs = desk.jobs()

    odd = [row for row in jobs.rows if row.id == "odd"]
    assert len(odd) == 2
    for row in odd:
        assert row.name == "t\\ud800"
        assert (row.due_at, row.priority, row.attempts, row.parents) == (None, None, None, ())
        assert "redelivered" in dict(row.facts)
        str(row).encode()
    assert sum(row.malformed for row in jobs.rows) == 2


def test_large_messages_cost_little(desk: Desk, admin: redis.Redis) -> None:
    desk.celery.put("mail")
    before = admin.info("stats")["total_net_output_bytes"]
    for _ in range(30):
        desk.celery.send("mail", "add", "x" * 700_000)
    desk.look()

    jobs = desk.jobs(queue="mail")
    spent = admin.info("stats")["total_net_output_bytes"] - before

    assert 0 < len(jobs.rows) < 10
    assert jobs.more
    assert all(len(row.args or "") <= 500 for row in jobs.rows)
    assert spent < 12 * 1024 * 1024


def test_messages_too_large_to_look_at(desk: Desk, admin: redis.Redis) -> None:
    for _ in range(3):
        desk.celery.send("mail", "add", "x" * 3_000_000)
    desk.celery.put("other")

    reading = desk.look(jobs=JobQuery())

    assert reading.jobs is not None
    assert [row.queue for row in reading.jobs.rows] == ["other"]
    assert reading.jobs.more
    assert any("too large to be looked into" in warning for warning in reading.warnings)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (b"\x80\x05}\x94.", None),
        (b"\x00celery-compressed\x00application/x-gzip\x00x", None),
        (b"[]", None),
        (b'{"status": 3}', None),
        (
            b'{"status": "SUCCESS", "children": 5, "traceback": [], "date_done": 7}',
            JobState.SUCCEEDED,
        ),
        (b'{"status": "FAILURE", "result": "text", "retries": "x"}', JobState.FAILED),
        (b'{"status": "PROGRESS", "result": {"done": 3}}', JobState.RUNNING),
        (b'{"status": "REVOKED", "result": {"exc_type": 1}}', JobState.CANCELLED),
        (b'{"status": "SUCCESS", "result": "%s"}' % (b"x" * 600_000), JobState.SUCCEEDED),
    ],
)
def test_results_of_any_form(
    desk: Desk, redis_server: RedisServer, stored: bytes, shown: JobState | None
) -> None:
    desk.celery.put("mail")
    with redis.Redis(port=redis_server.port, db=1) as results:
        results.set("celery-task-meta-x", stored)

    reading = desk.look(jobs=JobQuery(id="x"))

    assert reading.jobs is not None
    assert [row.state for row in reading.jobs.rows] == ([shown] if shown else [])
    assert any("form that is not read" in one for one in reading.warnings) is (shown is None)


@pytest.mark.same_python
def test_chains_parents_and_groups(desk: Desk) -> None:
    from celery import chain

    add = desk.celery.app.signature
    sent = chain(
        add("add", (1, 2), queue="mail"), add("note", ("n",), queue="mail"), add("add", (3,))
    ).apply_async(link_error=add("falter"))
    first = sent.parent.parent.id

    job = desk.job(first)

    assert job is not None
    facts = dict(job.facts)
    assert facts["then"] == "note, add"
    assert facts["if not"] == "falter"
