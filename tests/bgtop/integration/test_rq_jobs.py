"""Single jobs of RQ and what is done to them: what only RQ has, and whatever else may be stored."""

from __future__ import annotations

import json
import os
import pickle
import re
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis
from job_lists import listed
from redis_checks import commands_of_bgtop
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from bgtop.actions import CancelJob, DeleteJob, PauseQueue, PurgeQueue, RequeueFailed, RetryJob
from bgtop.backends.rq import plugin
from bgtop.contracts import (
    Backend,
    BackendError,
    Interest,
    NoSuchTarget,
    NotPermitted,
    Settings,
    Unsupported,
)
from bgtop.model import JobQuery, JobReading, JobState, Reading
from bgtop.testing import queue_in, settled

PAGE = Path(__file__).parents[3] / "docs/reference/redis-access.md"
WHEN = "2026-11-21T04:00:00.123456Z"
READS = {
    *("CLIENT", "TIME", "DBSIZE", "SCAN", "EXISTS", "SMEMBERS", "PUBSUB", "LLEN", "LRANGE"),
    *("ZCARD", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE", "ZREVRANGE", "ZSCORE", "HGET", "HMGET"),
    *("HSTRLEN", "SSCAN", "MEMORY", "XREVRANGE"),
}


@pytest.fixture
def backend(redis_server) -> Iterator[Backend]:
    url = f"rq+redis://127.0.0.1:{redis_server.port}/0"
    with closing(plugin.open(url, Settings())) as backend:
        yield backend


def look(backend: Backend, id_: str) -> JobReading:
    (row,) = listed(backend, id=id_).rows
    return row


def put_hash(admin: redis.Redis, id_: str, **fields: object) -> None:
    """A job that waits in the queue ``mail``, by hand."""
    known = {"origin": "mail", "status": "queued", "created_at": WHEN, "enqueued_at": WHEN}
    admin.hset(f"rq:job:{id_}", mapping={**known, "description": "app.send(1)", **fields})
    admin.sadd("rq:queues", "rq:queue:mail")
    admin.rpush("rq:queue:mail", id_)


# What is shown


def test_a_job_is_shown_whole(rq, backend) -> None:
    (ok,) = rq.put("mail")
    (bad,) = rq.put("mail", task="fail", result_ttl=77, job_timeout=33)
    rq.work_off("mail")

    good = look(backend, ok.id)
    assert (good.name, good.args, good.kwargs, good.result) == ("rq_tasks.add", "[1, 2]", "{}", "3")
    assert (good.error, good.traceback, good.worker) == (None, None, good.worker)
    failed = look(backend, bad.id)
    assert failed.error == "ValueError: as asked for"
    assert failed.traceback is not None
    assert failed.traceback.startswith("Traceback (most recent call last)")
    assert {("timeout", "33"), ("result ttl", "77")} <= set(failed.facts)
    assert ("status", "failed") in failed.facts


def test_jobs_as_json_show_their_arguments(admin, backend) -> None:
    queue = Queue("mail", connection=admin, serializer=JSONSerializer)
    job = queue.enqueue("rq_tasks.add", 1, b={"x": [2]}, description="in words")

    row = look(backend, job.id)
    assert (row.name, row.args, row.kwargs) == ("in words", "[1]", '{"b": {"x": [2]}}')


class Evil:
    def __reduce__(self) -> object:
        return os.mkdir, ("never",)


def test_pickles_of_objects_are_not_loaded(rq, backend, admin) -> None:
    """They are shown by their names."""
    (job,) = rq.put("mail")
    value = zlib.compress(pickle.dumps(("app.send", None, (Evil(),), {})))
    admin.hset(f"rq:job:{job.id}", mapping={"data": value, "description": "app.send(<Queue>)"})

    row = look(backend, job.id)
    assert (row.name, row.args, row.kwargs) == ("app.send", '[posix.mkdir("never")]', "{}")
    assert not row.malformed


def test_old_errors_are_read_from_the_hash(admin, backend) -> None:
    told = zlib.compress(b"Traceback (most recent call last):\n  ...\nKeyError: 'x'\n")
    put_hash(admin, "old", status="failed", exc_info=told)

    assert look(backend, "old").error == "KeyError: 'x'"


def test_parents_and_children_are_named(rq, backend) -> None:
    (parent,) = rq.put("mail")
    (child,) = rq.put("mail", depends_on=parent)

    assert look(backend, child.id).parents == (parent.id,)
    assert look(backend, parent.id).children == (child.id,)


def test_looking_sends_what_reads_and_no_more(rq, redis_server, backend) -> None:
    rq.put("mail", 2)
    rq.put("mail", 1, task="fail")
    rq.work_off("mail")
    (job,) = rq.put("mail")
    rq.repeat("mail", 60)
    everything = Interest(jobs=JobQuery(), task_types=True, schedules=True)
    with commands_of_bgtop(redis_server.port) as sent:
        settled(backend, everything)
        look(backend, job.id)

    assert {command.split()[0].upper() for command in sent} <= READS


def test_of_many_queues_those_with_jobs_are_looked_into(rq, admin, backend) -> None:
    admin.sadd("rq:queues", *(f"rq:queue:{n:04}" for n in range(300)))
    (job,) = rq.put("zebra")
    rq.put("zoo", task="fail")
    rq.work_off("zoo")
    reading = settled(backend, Interest(jobs=JobQuery(), task_types=True))

    assert {row.queue for row in listed_rows(reading)} == {"zebra", "zoo"}
    assert [task.failed for task in reading.task_types or ()] == [1]
    assert [row.id for row in listed(backend, queue="zebra").rows] == [job.id]


# What runs by the clock


def test_repeated_jobs_are_schedules_and_others_are_not(rq, backend) -> None:
    cron, often = rq.repeat("mail", "*/5 * * * *"), rq.repeat("bulk", 90)
    found = {one.name: one for one in settled(backend, Interest(schedules=True)).schedules or ()}

    assert {name: (one.task, one.queue, one.rule) for name, one in found.items()} == {
        cron: ("rq_tasks.add", "mail", "*/5 * * * *"),
        often: ("rq_tasks.add", "bulk", "every 90s"),
    }
    assert all(one.next_at is not None and one.enabled for one in found.values())


def test_the_jobs_of_rqs_own_cron_are_schedules(admin, backend) -> None:
    jobs = [
        {"func_name": "app.tidy", "name": "tidy", "queue_name": "low", "cron": "0 3 * * *",
         "interval": None, "next_enqueue_time": WHEN, "latest_enqueue_time": None},
        {"func_name": "app.ping", "queue_name": "low", "cron": None, "interval": 30},
        {"queue_name": "no name"}, "nonsense",
    ]  # fmt: skip
    for name, at in (("live", time.time()), ("dead", time.time() - 10_000)):
        admin.zadd("rq:cron_schedulers", {name: at})
        admin.hset(f"rq:cron_scheduler:{name}", "cron_jobs", json.dumps(jobs))
    admin.zadd("rq:cron_schedulers", {"broken": time.time()})
    admin.hset("rq:cron_scheduler:broken", "cron_jobs", "[[[")
    found = settled(backend, Interest(schedules=True)).schedules or ()

    assert [(one.name, one.task, one.queue, one.rule) for one in found] == [
        ("app.ping", "app.ping", "low", "every 30s"),
        ("tidy", "app.tidy", "low", "0 3 * * *"),
    ]


# Hostile content


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "nonsense"},
        {"enqueued_at": "yesterday"},
        {"started_at": "x" * 100_000},
        {"status": b"\xff\x00", "origin": b"\xff"},
    ],
)
def test_a_broken_hash_is_a_row_that_says_so(admin, backend, fields) -> None:
    put_hash(admin, "bad", **fields)
    put_hash(admin, "good")
    rows = {row.id: row for row in listed(backend).rows}

    assert rows["bad"].malformed
    assert (rows["good"].malformed, rows["good"].name) == (False, "app.send")
    assert look(backend, "bad").malformed


def test_a_job_whose_hash_is_gone_says_so(admin, backend) -> None:
    put_hash(admin, "gone")
    admin.delete("rq:job:gone")
    (row,) = listed(backend).rows

    assert (row.id, row.state, row.malformed) == ("gone", JobState.WAITING, True)
    assert row.facts == (("hash", "is gone: the job has expired"),)
    assert listed(backend, id="gone").rows == ()


def test_what_is_huge_is_not_read(admin, backend, redis_server) -> None:
    """A megabyte in each field, and in the stream of results."""
    huge = "x" * 1_000_000
    bomb = zlib.compress(b"x" * 50_000_000)
    for number in range(20):
        id_ = f"huge-{number}"
        put_hash(admin, id_, description=f"app.send({huge})", data=bomb, exc_info=bomb, meta=huge)
        admin.hset(f"rq:job:{id_}", "status", "failed")
        admin.zadd("rq:failed:mail", {id_: time.time()})
        admin.xadd(f"rq:results:{id_}", {"type": 2, "exc_string": huge})
    before = admin.info("stats")["total_net_output_bytes"]
    rows = listed(backend).rows
    row = look(backend, "huge-0")
    settled(backend, Interest(task_types=True))
    told = admin.info("stats")["total_net_output_bytes"] - before

    assert len(rows) == 40
    assert (row.name, row.args, row.error) == (None, None, None)
    assert told < 1_000_000


@pytest.mark.parametrize(
    "kind", ["queue", "wip", "failed", "finished", "scheduled", "deferred", "canceled"]
)
def test_a_registry_of_another_type_hides_its_own_jobs_only(admin, backend, kind) -> None:
    put_hash(admin, "one")
    admin.rename("rq:queue:mail", "rq:queue:good")
    admin.sadd("rq:queues", "rq:queue:good")
    admin.hset("rq:job:one", "origin", "good")
    admin.set(f"rq:{kind}:mail", "something else")
    rows = listed(backend).rows

    assert [row.id for row in rows] == ["one"]


def test_control_characters_are_data(admin, backend) -> None:
    put_hash(admin, "a\x1b[31m\nb", description="do\x1b[2J\n(evil)")
    (row,) = listed(backend).rows

    assert row.id == "a\x1b[31m\nb"
    assert look(backend, row.id).id == row.id


# Actions


def test_large_queues_are_purged_and_requeued_in_parts(rq, admin, backend) -> None:
    """Nothing is left of purged jobs, and each that failed is queued once."""
    rq.put("mail", 450)
    for id_ in [job.id for job in rq.put("bad", 450)]:
        admin.hset(f"rq:job:{id_}", "status", "failed")
        admin.zadd("rq:failed:bad", {id_: time.time() + 100})
        admin.expire(f"rq:job:{id_}", 100)
    admin.delete("rq:queue:bad")
    settled(backend)

    assert backend.perform(PurgeQueue(queue="mail")).changed == 450
    assert backend.perform(RequeueFailed(task="rq_tasks.add")).changed == 450
    assert backend.perform(RequeueFailed()).changed == 0
    assert admin.zcard("rq:failed:bad") == 0
    assert len(set(admin.lrange("rq:queue:bad", 0, -1))) == admin.llen("rq:queue:bad") == 450
    keys = admin.keys("rq:job:*")
    assert len(keys) == 450, "the others are deleted"
    assert {admin.ttl(key) for key in keys} == {-1}, "what waits does not expire"


def test_what_rq_scheduler_repeats_goes_on(rq, admin, backend) -> None:
    """A purge takes the run that waits; a cancel does too, and the next one ends it all."""
    id_ = rq.repeat("mail", 3600)
    job = Job.fetch(id_, connection=rq.redis)

    def due() -> None:
        Queue("mail", connection=rq.redis).enqueue_job(job)

    due()
    settled(backend)
    assert backend.perform(PurgeQueue(queue="mail")).changed == 1
    assert (admin.llen("rq:queue:mail"), rq.status(id_)) == (0, "scheduled")
    due()
    assert backend.perform(CancelJob(id=id_)).changed == 1
    assert (admin.llen("rq:queue:mail"), rq.status(id_)) == (0, "scheduled")
    assert backend.perform(CancelJob(id=id_)).changed == 1
    assert admin.zcard("rq:scheduler:scheduled_jobs") == 0
    assert rq.status(id_) == "canceled"


def test_limited_jobs_are_left_to_rq(admin, backend) -> None:
    put_hash(admin, "limited", rate_limit_key="api")
    settled(backend)
    for action in (CancelJob(id="limited"), DeleteJob(id="limited")):
        with pytest.raises(NoSuchTarget, match="has a rate limit"):
            backend.perform(action)
    admin.hset("rq:job:limited", "status", "failed")
    admin.zadd("rq:failed:mail", {"limited": 1})
    with pytest.raises(NoSuchTarget, match="has a rate limit"):
        backend.perform(RetryJob(id="limited"))

    assert backend.perform(RequeueFailed()).words == "1 cannot be: RQ itself may"
    assert admin.zcard("rq:failed:mail") == 1


def test_a_stop_is_told_to_somebody(admin, backend) -> None:
    """A worker that is dead stops nothing."""
    put_hash(admin, "lost", status="started", worker_name="w1")
    settled(backend)
    with pytest.raises(NoSuchTarget, match="the worker of job 'lost' is gone"):
        backend.perform(CancelJob(id="lost", terminate=True))
    with pytest.raises(NoSuchTarget, match="is running"):
        backend.perform(CancelJob(id="lost"))


def test_a_job_that_is_being_taken_is_not_cancelled(admin, backend) -> None:
    """Its id has left the queue, and its hash does not say so yet."""
    put_hash(admin, "taken")
    admin.delete("rq:queue:mail")
    for action in (CancelJob(id="taken"), DeleteJob(id="taken")):
        with pytest.raises(NoSuchTarget, match="at this moment"):
            backend.perform(action)

    assert admin.hget("rq:job:taken", "status") == b"queued"


@pytest.mark.parametrize(
    ("kind", "action", "words"),
    [
        ("queue", RetryJob(id="one"), "hold something else"),
        ("queue", PurgeQueue(queue="mail"), "holds something else"),
        ("failed", RetryJob(id="one"), "hold something else"),
        ("failed", RequeueFailed(queue="mail"), "holds something else"),
    ],
)
def test_keys_of_another_type_stop_an_action(admin, backend, kind, action, words) -> None:
    put_hash(admin, "one", status="failed")
    admin.zadd("rq:failed:mail", {"one": 1})
    settled(backend)
    admin.delete(f"rq:{kind}:mail")
    admin.set(f"rq:{kind}:mail", "something else")
    before = admin.hgetall("rq:job:one")
    with pytest.raises(BackendError, match=words):
        backend.perform(action)

    assert admin.hgetall("rq:job:one") == before


def test_pausing_is_refused_with_what_can_be_done(backend) -> None:
    with pytest.raises(Unsupported, match="'bgtop worker suspend' lets all workers rest"):
        backend.perform(PauseQueue(queue="mail"))


def documented(part: int) -> list[str]:
    """RQ's rights in this part of the page: to read with Redis 7, and what acting needs besides."""
    text = PAGE.read_text().split("\n## ")[part]
    found = re.search(r"^\| RQ \| `([^`]*)` \|$", text, re.MULTILINE)
    assert found is not None
    return found[1].replace("\\|", "|").split()


def opened_as_user(admin: redis.Redis, port: int, *rights: str) -> Backend:
    admin.execute_command("ACL", "SETUSER", "mon", "reset", "on", ">secret", *rights)
    admin.acl_log_reset()
    return plugin.open(f"rq+redis://mon:secret@127.0.0.1:{port}/0", Settings())


def test_the_documented_user_looks_inside_and_changes_nothing(rq, admin, redis_server) -> None:
    rq.put("mail", 2, task="fail")
    rq.work_off("mail")
    (job,) = rq.put("mail")
    rq.repeat("mail", 60)
    with closing(opened_as_user(admin, redis_server.port, *documented(0))) as backend:
        reading = settled(backend, Interest(jobs=JobQuery(), task_types=True, schedules=True))
        look(backend, job.id)
        assert reading.warnings == ()
        assert admin.acl_log() == []
        for action in (CancelJob(id=job.id), PurgeQueue(queue="mail")):
            with pytest.raises(NotPermitted, match="does not let us change anything"):
                backend.perform(action)

    assert {row.error for row in listed_rows(reading) if row.state is JobState.FAILED} == {
        "ValueError: as asked for"
    }
    assert (rq.status(job.id), admin.llen("rq:queue:mail")) == ("queued", 1)


def listed_rows(reading: Reading) -> tuple[JobReading, ...]:
    assert reading.jobs is not None
    return reading.jobs.rows


def test_the_documented_operator_may_act(rq, admin, redis_server, wait_until) -> None:
    (failed,) = rq.put("mail", task="fail")
    rq.work_off("mail")
    waiting, gone, *_ = rq.put("mail", 4)
    (running,) = rq.put("other", task="wait")
    rq.start_worker("w", "other")
    wait_until(lambda: rq.status(running.id) == "started", seconds=30)
    rights = (*documented(0), *documented(1))
    with closing(opened_as_user(admin, redis_server.port, *rights)) as backend:
        actions = [
            *(RetryJob(id=failed.id), CancelJob(id=waiting.id), DeleteJob(id=gone.id)),
            *(CancelJob(id=running.id, terminate=True), RequeueFailed(queue="mail")),
            PurgeQueue(queue="mail"),
        ]
        changed = [backend.perform(action).changed for action in actions]

    assert changed == [1, 1, 1, 1, 0, 3]
    wait_until(lambda: rq.status(running.id) == "stopped", seconds=30)
    assert admin.acl_log() == []


def test_an_action_needs_no_poll_before_it(rq, backend) -> None:
    rq.put("mail", 2)

    assert backend.perform(PurgeQueue(queue="mail")).changed == 2
    queue = queue_in(settled(backend), "mail")
    assert queue is not None
    assert queue.depth == 0
