"""The RQ backend on real systems whose truth is known: what it shows, sends and costs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from redis_checks import commands_of_bgtop

from bgtop.backends.redis_search import KEYS_PER_SCAN, STEPS_OF_FIRST_POLLS
from bgtop.backends.rq import plugin
from bgtop.contracts import Backend, Interest, NotPermitted, Settings
from bgtop.model import AgeKind, Reading, WorkerReading, WorkerState
from bgtop.testing import queue_in, settled

READS = {
    *("CLIENT", "TIME", "DBSIZE", "SCAN", "EXISTS", "SMEMBERS", "PUBSUB"),
    *("LLEN", "LRANGE", "ZCARD", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE", "ZREVRANGE"),
    *("HGET", "HMGET", "HSTRLEN"),
}
LATER = datetime(2100, 1, 1, tzinfo=timezone.utc)


@contextmanager
def opened(port: int, login: str = "", **settings: float) -> Iterator[Backend]:
    url = f"rq+redis://{login}127.0.0.1:{port}/0"
    with closing(plugin.open(url, Settings(**settings))) as backend:
        yield backend


def worker_in(reading: Reading, name: str) -> WorkerReading:
    return next(worker for worker in reading.workers if worker.name == name)


def busy(backend: Backend, *names: str) -> Reading | None:
    """A reading in which these workers run a job."""
    reading = backend.poll(Interest())
    active = {w.name for w in reading.workers if w.current}
    return reading if active.issuperset(names) else None


@pytest.fixture
def scheduler(rq) -> Any:
    return rq.scheduler("later")


def test_a_known_truth_is_shown(rq, redis_server, scheduler, wait_until) -> None:
    """Three workers, one of them killed with its job; jobs in every state."""
    rq.put("bad", 3, task="fail")
    rq.put("good", 2)
    rq.work_off("bad", "good")
    rq.put("mail", 5)
    rq.put("bulk", 2)
    (waited_for, *_) = rq.put("slow", 3, task="wait")
    rq.put("mail", 4, depends_on=waited_for)
    rq.put_later("mail", LATER, 2)
    for _ in range(3):
        scheduler.enqueue_at(LATER.replace(tzinfo=None), "rq_tasks.fail")
    for name in ("w1", "w2", "w3"):
        rq.start_worker(name, "slow", "idle")
    with opened(redis_server.port) as backend:
        wait_until(lambda: busy(backend, "w1", "w2", "w3"), seconds=30)
        rq.kill("w3")
        reading = wait_until(
            lambda: (
                (seen := settled(backend))
                and worker_in(seen, "w3").state is WorkerState.DEAD
                and seen
            )
        )
        rq.gate.touch()

    shown = {
        q.name: (q.depth, q.running, q.failed, q.scheduled, q.deferred, q.consumers)
        for q in reading.queues
    }
    assert shown == {
        "bad": (0, 0, 3, 0, 0, 0),
        "bulk": (2, 0, 0, 0, 0, 0),
        "good": (0, 0, 0, 0, 0, 0),
        "idle": (0, 0, 0, 0, 0, 2),
        "later": (0, 0, 0, 3, 0, 0),
        "mail": (5, 0, 0, 2, 4, 0),
        "slow": (0, 2, 0, 0, 0, 2),
    }
    assert reading.totals == {}
    assert reading.warnings == ()
    assert {q.paused for q in reading.queues} == {False}
    assert [(w.name, w.state, w.running) for w in reading.workers] == [
        ("w1", WorkerState.ACTIVE, 1),
        ("w2", WorkerState.ACTIVE, 1),
        ("w3", WorkerState.DEAD, 0),
    ]


def test_a_worker_tells_who_it_is_and_what_it_runs(rq, redis_server, wait_until) -> None:
    began = datetime.now(timezone.utc)
    rq.put("jobs", 2)
    rq.put("jobs", 1, task="fail")
    (job,) = rq.put("jobs", 1, task="wait")
    rq.start_worker("w1", "jobs", "more")
    with opened(redis_server.port) as backend:
        worker = worker_in(
            wait_until(
                lambda: (
                    (seen := busy(backend, "w1"))
                    and worker_in(seen, "w1").current[0].id == job.id
                    and worker_in(seen, "w1").current[0].started_at
                    and seen
                ),
                seconds=30,
            ),
            "w1",
        )
        pid = rq.pid("w1")
        rq.gate.touch()

    assert (worker.processed, worker.failed) == (3, 1)
    assert (worker.queues, worker.concurrency, worker.running) == (("jobs", "more"), 1, 1)
    assert (worker.pid, worker.host) == (pid, socket.gethostname())
    assert worker.version == f"rq {rq.version}"
    assert [(task.id, task.name) for task in worker.current] == [(job.id, "rq_tasks.wait")]
    now = datetime.now(timezone.utc)
    assert began <= worker.started_at <= worker.current[0].started_at <= now
    assert began <= worker.last_heartbeat_at <= now


def test_a_killed_idle_worker_is_dead_at_once(rq, redis_server, wait_until) -> None:
    """Its hash stays for eight minutes and says ``idle``."""
    rq.start_worker("w1", "jobs")
    with opened(redis_server.port) as backend:

        def state() -> WorkerState | None:
            return next((w.state for w in backend.poll(Interest()).workers), None)

        wait_until(lambda: rq.redis.hget("rq:worker:w1", "state") == b"idle", seconds=30)
        assert state() is WorkerState.IDLE
        assert queue_in(backend.poll(Interest()), "jobs").consumers == 1
        rq.kill("w1")
        wait_until(lambda: state() is WorkerState.DEAD)
        assert rq.redis.hget("rq:worker:w1", "state") == b"idle"
        assert queue_in(backend.poll(Interest()), "jobs").consumers == 0


def test_only_reading_commands_are_sent(rq, redis_server, scheduler, wait_until) -> None:
    """With jobs in every state, workers alive and dead, and a finished job to look at."""
    with commands_of_bgtop(redis_server.port) as names, opened(redis_server.port) as backend:
        rq.put("jobs", 1)
        rq.put("jobs", 2, task="wait")
        rq.put("more", 2)
        scheduler.enqueue_at(LATER.replace(tzinfo=None), "rq_tasks.fail")
        rq.start_worker("w1", "jobs")
        rq.start_worker("w2", "jobs")
        wait_until(lambda: busy(backend, "w1", "w2"), seconds=30)
        rq.kill("w2")
        for _ in range(3):
            settled(backend, Interest(internal=True))
        rq.gate.touch()

    assert names - READS == set()
    assert {"LLEN", "ZCARD", "ZCOUNT", "HMGET", "PUBSUB"} <= names


def test_round_trips_are_the_same_for_twenty_and_for_five_thousand_queues(rq, redis_server) -> None:
    """Each with a job that waits and one that has ended."""

    def cost(first: int, end: int) -> tuple[int, Reading]:
        with rq.redis.pipeline(transaction=False) as pipe:
            for number in range(first, end):
                fields = {"enqueued_at": WHEN, "started_at": WHEN, "ended_at": WHEN}
                pipe.sadd("rq:queues", f"rq:queue:q{number}")
                pipe.rpush(f"rq:queue:q{number}", f"job{number}")
                pipe.hset(f"rq:job:job{number}", mapping=fields)
                pipe.zadd(f"rq:finished:q{number}", {f"job{number}": 2e9})
            pipe.execute()
        with opened(redis_server.port, read_timeout=20) as backend:
            settled(backend)
            reading = backend.poll(Interest())
        return reading.round_trips, reading

    few, _ = cost(0, 20)
    many, reading = cost(20, 5_000)

    assert (few, many) == (3, 3)
    assert {(q.depth, q.runtime_mean_seconds) for q in reading.queues} == {(1, 0.0)}
    assert len([q for q in reading.queues if q.oldest and q.last_completed_at]) == 5_000


WHEN = "2026-11-21T04:00:00.123456Z"


def test_the_oldest_age_is_exact_whatever_was_put_to_the_front(rq, redis_server) -> None:
    """Also behind a job that expired while it waited."""
    gone, old, *_ = rq.put("mail", 3)
    rq.redis.delete(f"rq:job:{gone.id}")
    an_hour_ago = datetime.now(timezone.utc) - timedelta(hours=1)
    rq.redis.hset(f"rq:job:{old.id}", "enqueued_at", f"{an_hour_ago:%Y-%m-%dT%H:%M:%S.%fZ}")
    rq.put("mail", 1, at_front=True)
    with opened(redis_server.port) as backend:
        mail = queue_in(backend.poll(Interest()), "mail")

    assert (mail.depth, mail.oldest.kind) == (4, AgeKind.EXACT)
    assert 3600 <= mail.oldest.seconds < 3660


def test_the_last_end_is_that_of_the_newest_finished_job(rq, redis_server, wait_until) -> None:
    """By default, and with results that are kept for ever."""
    began = datetime.now(timezone.utc)
    rq.put("short", 2)
    rq.put("kept", 2, result_ttl=-1)
    rq.put("dropped", 1, result_ttl=0)
    rq.work_off("short", "kept", "dropped")
    now = datetime.now(timezone.utc)
    with opened(redis_server.port) as backend:
        reading = backend.poll(Interest())

    for name in ("short", "kept"):
        queue = queue_in(reading, name)
        assert began <= queue.last_completed_at <= now
        assert 0 <= queue.runtime_mean_seconds <= (now - began).total_seconds()
    dropped = queue_in(reading, "dropped")
    assert (dropped.last_completed_at, dropped.runtime_mean_seconds) == (None, None)


def test_when_workers_are_suspended_every_queue_is_paused(rq, redis_server) -> None:
    rq.put("mail", 2)
    with opened(redis_server.port) as backend:
        before = queue_in(backend.poll(Interest()), "mail")
        rq.redis.set("rq:suspended", 1)
        after = queue_in(backend.poll(Interest()), "mail")

    assert (before.paused, before.depth) == (False, 2)
    assert (after.paused, after.depth) == (True, 2)


def test_jobs_of_rq_scheduler_belong_to_the_queue_they_go_to(rq, redis_server, scheduler) -> None:
    """Its set is beside hashes of RQ's own scheduler with names of the same kind."""
    rq.redis.hset("rq:scheduler:0123456789abcdef", mapping={"name": "0123456789abcdef"})
    rq.put_later("mail", LATER, 2)
    scheduler.enqueue_at(LATER.replace(tzinfo=None), "rq_tasks.fail")
    scheduler.schedule(LATER.replace(tzinfo=None), "rq_tasks.fail", interval=60, queue_name="mail")
    with opened(redis_server.port) as backend:
        reading = settled(backend)

    assert {q.name: q.scheduled for q in reading.queues} == {"mail": 3, "later": 1}
    assert reading.warnings == ()


def test_a_crowd_in_rq_scheduler_is_told_apart_over_some_polls(
    rq, redis_server, monkeypatch
) -> None:
    monkeypatch.setattr("bgtop.backends.rq.scheduler.ORIGINS_PER_POLL", 40)
    monkeypatch.setattr("bgtop.backends.rq.scheduler.MOST_JOBS", 100)
    rq.put_later("mail", LATER, 1)
    for number in range(100):
        rq.redis.hset(f"rq:job:j{number}", "origin", ("mail", "push")[number % 2])
        rq.redis.zadd("rq:scheduler:scheduled_jobs", {f"j{number}": number})
    with opened(redis_server.port) as backend:
        first, second, third = (backend.poll(Interest()) for _ in range(3))
        rq.redis.zadd("rq:scheduler:scheduled_jobs", {"one-more": 1e9})
        crowded = backend.poll(Interest())

    assert [reading.complete for reading in (first, second, third)] == [False, False, True]
    assert (queue_in(first, "mail").scheduled, first.totals) == (None, {"scheduled": 101})
    assert {q.name: q.scheduled for q in third.queues} == {"mail": 51, "push": 50}
    assert third.totals == {}
    assert (queue_in(crowded, "mail").scheduled, crowded.totals) == (None, {"scheduled": 102})
    assert crowded.complete
    assert crowded.warnings == (
        "rq-scheduler holds 101 jobs; above 100 they are not told apart by queue",
    )


def test_a_queue_only_its_registry_tells_of_is_found(rq, redis_server) -> None:
    """And is no more a queue when that is gone; a job on its way to a worker makes none."""
    rq.redis.zadd("rq:deferred:after", {"job": 1})
    rq.redis.rpush("rq:queue:mail:intermediate", "job")
    rq.redis.sadd("rq:workers:served", "rq:worker:gone")
    with opened(redis_server.port) as backend:
        found = settled(backend)
        rq.redis.delete("rq:deferred:after")
        backend._search.start_over()
        later = settled(backend)

    assert {q.name: q.deferred for q in found.queues} == {"after": 1, "served": 0}
    assert [q.name for q in later.queues] == ["served"]


def test_a_large_database_is_searched_in_steps(rq, redis_server) -> None:
    rq.put("mail", 1)
    rq.redis.mset({f"rq:results:{number}": "" for number in range(20_000)})
    with opened(redis_server.port) as backend:
        first = backend.poll(Interest())
        scans = rq.redis.info("commandstats")["cmdstat_scan"]["calls"]
        last = settled(backend)

    assert (first.complete, scans) == (False, STEPS_OF_FIRST_POLLS + 4)
    assert queue_in(first, "mail").depth == 1
    read = f"{scans * KEYS_PER_SCAN:,}"
    assert first.warnings[0].startswith(f"still looking for queues nobody announced: {read} of")
    assert last.warnings == ()


@pytest.mark.parametrize(
    ("missing", "warning"),
    [
        ("-pubsub", "which workers live is unknown: the server does not let us ask (PUBSUB)"),
        ("-scan", "queues nobody announced are missing: we may not list the server's keys"),
        ("-time", None),
    ],
)
def test_what_is_not_permitted_costs_only_itself(
    make_redis, make_rq, wait_until, missing, warning
) -> None:
    server = make_redis(
        *("--user", "mon", "on", ">hunter2", "~*", "&*", "+@read", "+@connection", "+pubsub"),
        *("+time", missing),
    )
    rq = make_rq(server.url)
    rq.put("mail", 2)
    rq.start_worker("w1", "jobs")
    with opened(server.port, "mon:hunter2@") as backend:
        wait_until(lambda: rq.redis.hget("rq:worker:w1", "state") == b"idle", seconds=30)
        reading = settled(backend)

    mail, worker = queue_in(reading, "mail"), reading.workers[0]
    assert (mail.depth, worker.queues) == (2, ("jobs",))
    assert mail.oldest.seconds < 60
    named = {"-pubsub": "not permitted: PUBSUB NUMSUB", "-scan": "not permitted: SCAN"}.get(missing)
    assert reading.warnings == (() if warning is None else (warning, named))
    assert (worker.state is WorkerState.UNKNOWN) == (missing == "-pubsub")
    assert (queue_in(reading, "jobs").consumers is None) == (missing == "-pubsub")


def test_without_the_right_to_read_any_key_the_reason_is_told(make_redis) -> None:
    server = make_redis("--user", "mon", "on", ">hunter2", "~other*", "+@read", "+@connection")
    with opened(server.port, "mon:hunter2@") as backend, pytest.raises(NotPermitted) as failed:
        backend.poll(Interest())

    assert str(failed.value) == "the server does not let us read the key 'rq:queues'"
