"""Whatever is found under RQ's keys: one bad key costs its own number, and the rest stays right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone

import pytest
import redis

from bgtop.backends.rq import plugin
from bgtop.contracts import Backend, Interest, Settings
from bgtop.model import WorkerState
from bgtop.testing import queue_in, settled

WHEN = "2026-11-21T04:00:00.123456Z"
LONG_AGO = "2020-01-01T00:00:00Z"
BIRTH = {"birth": LONG_AGO, "last_heartbeat": WHEN, "queues": "mail", "state": "busy"}


@pytest.fixture
def backend(redis_server) -> Iterator[Backend]:
    url = f"rq+redis://127.0.0.1:{redis_server.port}/0"
    with closing(plugin.open(url, Settings())) as backend:
        yield backend


@contextmanager
def listening(admin: redis.Redis, *workers: str) -> Iterator[None]:
    """These workers are alive, for all Redis knows."""
    with closing(admin.pubsub()) as channels:
        channels.subscribe(*(f"rq:pubsub:{name}" for name in workers))
        for _ in workers:
            channels.get_message(timeout=5)
        yield


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("rq:queue:mail", "depth"),
        ("rq:wip:mail", "running"),
        ("rq:failed:mail", "failed"),
        ("rq:scheduled:mail", "scheduled"),
        ("rq:deferred:mail", "deferred"),
        ("rq:finished:mail", "last_completed_at"),
    ],
)
def test_a_key_of_another_type_costs_one_number(admin, backend, key, field) -> None:
    good = "rq:queue:good"
    admin.sadd("rq:queues", "rq:queue:mail", good)
    admin.rpush(good, "job")
    admin.set(key, "something else")
    reading = settled(backend)

    mail = queue_in(reading, "mail")
    numbers = {
        name: getattr(mail, name)
        for name in ("depth", "running", "failed", "scheduled", "deferred", "last_completed_at")
    }
    unknown = {name for name, number in numbers.items() if number is None}
    assert unknown == {field, "last_completed_at"}
    assert queue_in(reading, "good").depth == 1
    assert reading.warnings == (f"the key {key!r} holds something else than RQ puts there",)


@pytest.mark.parametrize("key", ["rq:queues", "rq:workers", "rq:scheduler:scheduled_jobs"])
def test_a_registry_of_another_type_hides_no_queue(admin, backend, key) -> None:
    admin.sadd("rq:queues", "rq:queue:mail")
    admin.rpush("rq:queue:mail", "job")
    admin.zadd("rq:scheduled:mail", {"job": 1})
    admin.delete(key)
    admin.set(key, "something else")
    reading = settled(backend)

    mail = queue_in(reading, "mail")
    assert (mail.depth, mail.scheduled) == (1, 1)
    assert reading.warnings == (f"the key {key!r} holds something else than RQ puts there",)


def test_members_that_name_nothing_are_told(admin, backend) -> None:
    admin.sadd("rq:queues", b"\xff", "mail", "rq:queue:", "rq:queue:mail")
    admin.sadd("rq:workers", b"\x00", "w1")
    reading = settled(backend)

    assert [queue.name for queue in reading.queues] == ["mail"]
    assert reading.workers == ()
    assert reading.warnings == (
        "3 members of 'rq:queues' name no queue",
        "2 members of 'rq:workers' name no worker",
    )


def test_two_names_that_read_the_same_stay_two(admin, backend) -> None:
    admin.sadd("rq:queues", b"rq:queue:\xff", b"rq:queue:\\xff")
    admin.rpush(b"rq:queue:\\xff", "a")
    admin.rpush(b"rq:queue:\xff", "a", "b")
    admin.sadd("rq:workers", b"rq:worker:\xff", b"rq:worker:\\xff")
    reading = settled(backend)

    assert {q.name: q.depth for q in reading.queues} == {"\\xff": 1, "\\xff'": 2}
    assert [worker.name for worker in reading.workers] == ["\\xff", "\\xff'"]


def test_a_worker_whose_hash_is_something_else_is_still_seen(admin, backend) -> None:
    admin.sadd("rq:workers", "rq:worker:alive", "rq:worker:gone", "rq:worker:odd")
    admin.set("rq:worker:odd", "something else")
    with listening(admin, "alive"):
        reading = settled(backend)

    assert [(w.name, w.state, w.processed) for w in reading.workers] == [
        ("alive", WorkerState.UNKNOWN, None),
        ("gone", WorkerState.DEAD, None),
        ("odd", WorkerState.DEAD, None),
    ]
    assert reading.warnings == ("the key 'rq:worker:odd' holds something else than RQ puts there",)


def test_rubbish_in_the_fields_of_a_worker_is_unknown(admin, backend) -> None:
    rubbish = {
        "birth": "yesterday",
        "last_heartbeat": "9" * 30,
        "pid": "-1",
        "state": "asleep",
        "hostname": "h" * 5_000,
        "successful_job_count": "1e9",
        "failed_job_count": "٣",
        "queues": ",,a\x1b[2J,,",
        "version": "",
        "current_job": "x" * 5_000,
    }
    admin.sadd("rq:workers", "rq:worker:w\n1")
    admin.hset("rq:worker:w\n1", mapping=rubbish)
    with listening(admin, "w\n1"):
        (worker,) = settled(backend).workers

    assert (worker.name, worker.queues) == ("w\n1", ("a\x1b[2J",))
    assert worker.state is WorkerState.UNKNOWN
    for field in (
        "started_at",
        "last_heartbeat_at",
        "pid",
        "host",
        "processed",
        "failed",
        "version",
    ):
        assert getattr(worker, field) is None, field
    assert worker.current == ()


@pytest.mark.parametrize(
    ("description", "name"),
    [
        ("app.send('secret', to='you')", "app.send"),
        ("Tell\x1b[31m the\nworld \u202e", "Tell [31m the world"),
        ("x" * 500, "x" * 79 + "…"),
        ("app.load(" + "x" * 1_000_000 + ")", "job"),
        ("", "job"),
    ],
)
def test_a_running_job_has_a_short_name_in_one_line(admin, backend, description, name) -> None:
    """As RQ up to 2 notes it; arguments are not shown."""
    admin.sadd("rq:workers", "rq:worker:w1")
    admin.hset("rq:worker:w1", mapping={**BIRTH, "current_job": "job"})
    fields = {"origin": "mail", "description": description, "started_at": WHEN}
    admin.hset("rq:job:job", mapping=fields)
    with listening(admin, "w1"):
        before = admin.info("stats")["total_net_output_bytes"]
        reading = settled(backend)
        sent = admin.info("stats")["total_net_output_bytes"] - before

    (task,) = reading.workers[0].current
    assert (task.id, task.name, task.started_at.isoformat()[:19]) == ("job", name, WHEN[:19])
    assert sent < 100_000


@pytest.mark.parametrize("when", ["soon", "9" * 26, "2026-13-45T99:00:00Z", "٢٠٢٦-11-21T04:00:00Z"])
def test_a_broken_time_is_no_age(admin, backend, when) -> None:
    admin.sadd("rq:queues", "rq:queue:mail")
    admin.rpush("rq:queue:mail", "job")
    admin.hset("rq:job:job", mapping={"enqueued_at": when, "ended_at": when, "started_at": when})
    admin.zadd("rq:finished:mail", {"job": 1})
    reading = settled(backend)

    mail = queue_in(reading, "mail")
    assert (mail.depth, mail.oldest, mail.last_completed_at) == (1, None, None)
    assert reading.warnings == ("the times of 1 jobs cannot be understood",)


def test_a_time_that_lies_ahead_is_no_negative_age(admin, backend) -> None:
    admin.sadd("rq:queues", "rq:queue:mail")
    admin.rpush("rq:queue:mail", "job")
    admin.hset("rq:job:job", "enqueued_at", "2999-01-01T00:00:00.000000Z")

    assert queue_in(settled(backend), "mail").oldest.seconds == 0


def test_a_name_with_commas_is_one_queue(admin, backend) -> None:
    """A worker writes its queues with commas between them."""
    admin.sadd("rq:queues", "rq:queue:a,b", "rq:queue:c")
    admin.sadd("rq:workers", "rq:worker:w1")
    admin.hset("rq:worker:w1", mapping={**BIRTH, "queues": "x,a,b,c"})
    with listening(admin, "w1"):
        reading = settled(backend)

    assert {q.name: q.consumers for q in reading.queues} == {"a,b": 1, "c": 1, "x": 1}
    assert sorted(reading.workers[0].queues) == ["a,b", "c", "x"]


def test_many_bad_keys_make_few_lines(admin, backend) -> None:
    for number in range(9):
        admin.sadd("rq:queues", f"rq:queue:q{number}")
        admin.set(f"rq:queue:q{number}", "")
    reading = settled(backend)

    assert len(reading.warnings) == 6
    assert reading.warnings[-1] == "4 more keys cannot be read"


@pytest.mark.parametrize("member", ["job", "job:0123456789abcdef"])
def test_a_job_of_a_dead_worker_is_not_running(admin, backend, member) -> None:
    """RQ 1 notes ``job`` as started, RQ 2 the run too, and both keep it for some 90 seconds."""
    admin.sadd("rq:workers", "rq:worker:dead", "rq:worker:alive")
    for name in ("dead", "alive"):
        admin.hset(f"rq:worker:{name}", mapping={**BIRTH, "current_job": f"job-of-{name}"})
        fields = {"origin": "mail", "worker_name": name}
        admin.hset(f"rq:job:job-of-{name}", mapping=fields)
        admin.zadd("rq:wip:mail", {member.replace("job", f"job-of-{name}"): 4e9})
    admin.zadd("rq:wip:mail", {"abandoned": 1})
    with listening(admin, "alive"):
        reading = settled(backend)
        # Another worker took it over meanwhile.
        admin.hset("rq:job:job-of-dead", "worker_name", "alive")
        later = backend.poll(Interest())

    assert queue_in(reading, "mail").running == 1
    assert [(w.name, w.state, w.running) for w in reading.workers] == [
        ("alive", WorkerState.ACTIVE, 1),
        ("dead", WorkerState.DEAD, 0),
    ]
    assert queue_in(later, "mail").running == 2


def test_a_worker_on_its_way_to_its_channel_is_not_dead(admin, backend) -> None:
    """It registers first and listens next; without a state it has not got so far."""
    seconds, _ = admin.time()
    now = datetime.fromtimestamp(seconds, timezone.utc)
    admin.sadd("rq:workers", "rq:worker:new", "rq:worker:old")
    admin.hset("rq:worker:new", "birth", f"{now:%Y-%m-%dT%H:%M:%S.%fZ}")
    admin.hset("rq:worker:old", "birth", LONG_AGO)

    assert [(w.name, w.state) for w in settled(backend).workers] == [
        ("new", WorkerState.UNKNOWN),
        ("old", WorkerState.DEAD),
    ]


def test_results_kept_for_ever_tell_the_last_end_only_while_they_are_few(admin, backend) -> None:
    """They are in no order, and more than a handful is not read for one number."""
    admin.sadd("rq:queues", "rq:queue:mail")
    for number in range(5):
        ended = f"2026-11-21T04:00:{(number * 2) % 5:02}.000000Z"
        admin.hset(f"rq:job:{number}", mapping={"started_at": LONG_AGO, "ended_at": ended})
        admin.zadd("rq:finished:mail", {str(number): "+inf"})
    few = queue_in(settled(backend), "mail").last_completed_at
    admin.zadd("rq:finished:mail", {"one more": "+inf"})
    many = queue_in(settled(backend), "mail").last_completed_at

    assert (few.second, many) == (4, None)


def test_a_job_that_ran_again_is_looked_at_again(admin, backend) -> None:
    admin.sadd("rq:queues", "rq:queue:mail")
    for second in (1, 2):
        ended = f"2026-11-21T04:00:{second:02}.000000Z"
        admin.hset("rq:job:job", mapping={"started_at": "2026-11-21T04:00:00Z", "ended_at": ended})
        admin.zadd("rq:finished:mail", {"job": 2e9 + second})
        mail = queue_in(settled(backend), "mail")
        assert (mail.last_completed_at.second, mail.runtime_mean_seconds) == (second, second)


def test_jobs_of_rq_scheduler_without_a_hash_belong_to_no_queue(admin, backend) -> None:
    admin.zadd("rq:scheduler:scheduled_jobs", {"gone": 1, "odd": 2, "here": 3, "x" * 5_000: 4})
    admin.hset("rq:job:here", "origin", "mail")
    admin.set("rq:job:odd", "something else")
    reading = settled(backend)

    assert {q.name: q.scheduled for q in reading.queues} == {"mail": 1}
    assert reading.warnings == ("3 jobs of rq-scheduler belong to no queue: their hashes are gone",)
