"""What the arq backend makes of real databases: delays, retries, odd keys, odd rights."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import redis
from arq_cluster import ArqCluster
from redis_checks import commands_of_bgtop

from bgtop.backends.arq import plugin
from bgtop.backends.arq.heads import LONGEST_LOOK, SHORTEST_LOOK
from bgtop.contracts import Backend, Interest, Settings
from bgtop.model import AgeKind, QueueReading, Reading
from bgtop.testing import queue_in, settled, wait_until

READS = {
    *("CLIENT", "TIME", "DBSIZE", "SCAN", "ZCARD", "MEMORY"),
    *("GETRANGE", "PTTL", "ZRANGE", "ZRANGEBYSCORE", "EXISTS", "ZSCORE", "ZCOUNT"),
}


@pytest.fixture
def backend(redis_server) -> Iterator[Backend]:
    with closing(opened(redis_server.url)) as backend:
        yield backend


def opened(url: str) -> Backend:
    return plugin.open(f"arq+{url}", Settings(connect_timeout=1, read_timeout=5))


def queue(reading: Reading, name: str = "arq:queue") -> QueueReading:
    found = queue_in(reading, name)
    assert found is not None, reading
    return found


def numbers(reading: Reading, name: str = "arq:queue") -> tuple[int | None, ...]:
    row = queue(reading, name)
    return row.depth, row.running, row.scheduled


def becomes(backend: Backend, wanted: tuple[int, ...]) -> Reading:
    def reached() -> Reading | None:
        reading = backend.poll(Interest())
        found = queue_in(reading, "arq:queue")
        return reading if found and numbers(reading) == wanted else None

    return wait_until(reached, seconds=20, why=f"depth, running, scheduled are {wanted}")


def enqueued(admin: redis.Redis, name: str, count: int, score: float, first: int = 0) -> list[str]:
    """Many jobs at once, as arq writes them but for their content, which nobody reads."""
    ids = [f"job-{number:06}" for number in range(first, first + count)]
    admin.zadd(name, {one: score + number for number, one in enumerate(ids)})
    return ids


# What the numbers mean


def test_running_jobs_do_not_wait(arq: ArqCluster, backend: Backend) -> None:
    """They lie in the same sorted set; two run at a time."""
    arq.put("arq:queue", 5, task="wait")
    before = settled(backend)
    arq.start_worker("arq:queue")
    during = becomes(backend, (3, 2, 0))
    arq.gate.touch()
    after = becomes(backend, (0, 0, 0))

    assert numbers(before) == (5, 0, 0)
    assert queue(during).oldest is not None
    assert queue(after).oldest is None


def test_a_delayed_job_is_scheduled_until_it_is_due(arq: ArqCluster, backend: Backend) -> None:
    arq.put("arq:queue", 2, _defer_by=3600)
    arq.put("arq:queue", 1, _defer_by=2)
    reading = settled(backend)

    assert numbers(reading) == (0, 0, 3)
    assert queue(reading).oldest is None
    due = queue(becomes(backend, (1, 0, 2))).oldest
    assert due is not None
    assert due.kind is AgeKind.EXACT
    assert due.seconds < 1.5, "it is counted from when the job was due, not from when it was put"


def test_a_job_that_is_put_off_by_its_task_is_scheduled_again(
    arq: ArqCluster, backend: Backend
) -> None:
    arq.put("arq:queue", 1, task="again")
    waiting = numbers(settled(backend))
    arq.start_worker("arq:queue")
    reading = becomes(backend, (0, 0, 1))

    assert waiting == (1, 0, 0)
    assert queue(reading).oldest is None


def test_the_oldest_waiting_job_is_not_the_oldest_running_one(
    arq: ArqCluster, admin: redis.Redis, backend: Backend
) -> None:
    arq.put("arq:queue", 2, task="wait")
    arq.start_worker("arq:queue")
    becomes(backend, (0, 2, 0))
    for running, _ in admin.zscan_iter("arq:queue"):
        admin.zincrby("arq:queue", -3_600_000, running)
    arq.put("arq:queue", 1)
    oldest = queue(settled(backend)).oldest

    assert oldest is not None
    assert oldest.seconds < 20


def test_jobs_of_a_killed_worker_run_until_arq_gives_them_up(
    arq: ArqCluster, admin: redis.Redis, backend: Backend
) -> None:
    """arq itself does not start them before their keys expire."""
    arq.put("arq:queue", 1, task="wait")
    arq.start_worker("arq:queue")
    becomes(backend, (0, 1, 0))
    arq.kill("arq:queue")
    left = numbers(settled(backend))
    for key in admin.scan_iter("arq:in-progress:*"):
        admin.delete(key)

    given_up = becomes(backend, (1, 0, 0))

    assert left == (0, 1, 0)
    assert queue(given_up).oldest is not None


def test_a_wrong_clock_of_ours_makes_no_job_due(
    arq: ArqCluster, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is due is judged by the server's."""

    class Fast:
        time = staticmethod(lambda: time.time() + 7_200)

    monkeypatch.setattr("bgtop.backends.arq.clock.time", Fast)
    arq.put("arq:queue", 1)
    arq.put("arq:queue", 1, _defer_by=3600)
    row = queue(settled(backend))

    assert (row.depth, row.scheduled) == (1, 1)
    assert row.oldest is not None
    assert row.oldest.seconds < 30


# Workers


def test_a_worker_is_what_it_reported_last(arq: ArqCluster, backend: Backend) -> None:
    arq.put("arq:queue", 2)
    arq.put("arq:queue", 1, task="fail")
    arq.start_worker("arq:queue", reports=1)

    def told() -> Reading | None:
        reading = backend.poll(Interest())
        return reading if [w.processed for w in reading.workers] == [3] else None

    reading = wait_until(told, seconds=20, why="the worker has reported three jobs")
    (worker,) = reading.workers
    assert (worker.name, worker.queues) == ("arq:queue (last report)", ("arq:queue",))
    assert worker.failed == 1
    assert (worker.state, worker.last_heartbeat_at, worker.running) == (None, None, None)
    assert reading.warnings == ()


def test_reports_that_may_be_old_are_marked(arq: ArqCluster, backend: Backend) -> None:
    arq.start_worker("arq:queue")
    wait_until(lambda: backend.poll(Interest()).workers, seconds=20, why="the worker reports")

    (warning,) = settled(backend).warnings
    assert "not renewed for another 60 min" in warning


def test_a_queue_without_jobs_is_known_by_its_worker(arq: ArqCluster, backend: Backend) -> None:
    """Whatever its name; found in the first reading of a small database."""
    arq.start_worker("mail")
    wait_until(lambda: queue_in(backend.poll(Interest()), "mail"), seconds=20, why="mail is found")
    with closing(opened(arq.url)) as fresh:
        assert numbers(settled(fresh), "mail") == (0, 0, 0)


# Which queues there are


def test_a_sorted_set_of_another_name_is_a_queue_if_its_members_are_jobs(
    arq: ArqCluster, admin: redis.Redis, backend: Backend
) -> None:
    arq.put("mail", 2)
    admin.zadd("leaderboard", {"ann": 3, "bob": 5})
    admin.zadd("arq:abort", {"some-job": 1})
    admin.zadd("large", {"x" * 5_000: 1})
    admin.set("cache:health-check", "OK")

    assert [row.name for row in settled(backend).queues] == ["mail"]


def test_queues_named_in_the_address_are_shown_while_they_are_empty(arq: ArqCluster) -> None:
    with closing(opened(f"{arq.url}?queue=mail&queue=arq%3Aqueue")) as backend:
        reading = settled(backend)

    assert [(row.name, row.depth) for row in reading.queues] == [("arq:queue", 0), ("mail", 0)]


def test_a_queue_that_was_seen_stays_when_it_is_empty(admin: redis.Redis, backend: Backend) -> None:
    enqueued(admin, "arq:queue", 1, 1)
    settled(backend)
    admin.flushall()

    assert numbers(settled(backend)) == (0, 0, 0)


def test_two_hundred_sorted_sets_of_others_a_poll(admin: redis.Redis, backend: Backend) -> None:
    """A database full of them is worked through step by step, and the queue is found."""
    with admin.pipeline() as pipe:
        for number in range(900):
            pipe.zadd(f"set-{number}", {"member": 1})
        pipe.set("arq:job:real", b"")
        pipe.zadd("zz-mail", {"real": 1})
        pipe.execute()
    first = backend.poll(Interest())

    assert not first.complete
    assert [row.name for row in settled(backend).queues] == ["zz-mail"]
    assert first.commands < 900


# Cost


def test_only_reads_are_sent_in_three_round_trips(arq: ArqCluster, backend: Backend) -> None:
    with commands_of_bgtop(int(arq.url.rpartition(":")[2].partition("/")[0])) as sent:
        arq.put("arq:queue", 3)
        arq.put("mail", 3)
        settled(backend)
    steady = [settled(backend).round_trips for _ in range(3)]

    assert steady == [3, 3, 3]
    assert sent == READS


def test_a_long_queue_is_looked_at_from_the_front_only(
    admin: redis.Redis, backend: Backend
) -> None:
    now = time.time() * 1000 - 100_000
    ids = enqueued(admin, "arq:queue", 20_000, now)
    admin.mset({f"arq:in-progress:{one}": 1 for one in ids[:30]})
    reading = settled(backend)

    assert numbers(reading) == (19_970, 30, 0)
    assert reading.commands < SHORTEST_LOOK
    assert queue(backend.poll(Interest())).oldest is not None


@pytest.mark.timeout(120)
def test_a_queue_that_is_being_filled_is_always_known(
    admin: redis.Redis, redis_server, backend: Backend
) -> None:
    """Jobs come between the round trips of a poll, with due times of a clock that is late."""
    stop = threading.Event()

    def fill() -> None:
        with redis.Redis(port=redis_server.port) as producer:
            for number in itertools.count():
                if stop.is_set():
                    return
                producer.zadd("arq:queue", {f"job-{number}": time.time() * 1000 - 5_000})
                if number % 40 == 39:
                    producer.zremrangebyrank("arq:queue", 0, -1)

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        wait_until(lambda: settled(backend).queues, why="the queue is found")
        readings = [backend.poll(Interest()) for _ in range(300)]
    finally:
        stop.set()
        thread.join(10)

    assert [r.warnings for r in readings if r.warnings] == []
    assert {queue(r).running for r in readings} == {0}


def test_many_running_jobs_are_counted_by_looking_further(
    admin: redis.Redis, backend: Backend
) -> None:
    now = time.time() * 1000 - 100_000
    ids = enqueued(admin, "arq:queue", 20_000, now)
    admin.mset({f"arq:in-progress:{one}": 1 for one in ids[:900]})

    assert not backend.poll(Interest()).complete
    assert numbers(settled(backend)) == (19_100, 900, 0)


def test_what_cannot_be_counted_is_unknown(admin: redis.Redis, backend: Backend) -> None:
    """More run than can be looked at: no number is made up."""
    ids = enqueued(admin, "arq:queue", LONGEST_LOOK + 5, time.time() * 1000 - 100_000)
    admin.mset({f"arq:in-progress:{one}": 1 for one in ids})
    reading = settled(backend)

    assert numbers(reading) == (None, None, 0)
    assert "cannot be told apart" in reading.warnings[0]


# Hostile content


def test_keys_of_other_types_spoil_their_own_row_only(admin: redis.Redis, redis_server) -> None:
    admin.rpush("list", "a")
    admin.rpush("mail:health-check", "a")
    enqueued(admin, "arq:queue", 2, 1)
    admin.rpush("arq:in-progress:job-000000", "of another type")
    with closing(opened(f"{redis_server.url}?queue=list&queue=mail")) as backend:
        reading = settled(backend)

    assert numbers(reading) == (1, 1, 0)
    assert numbers(reading, "list") == (None, None, None)
    assert numbers(reading, "mail") == (0, 0, 0)
    assert reading.workers == ()
    assert reading.warnings == (
        "a health check cannot be read (WRONGTYPE)",
        "the depth of 'list' is not known: its key is not of the type that arq writes",
    )


def huge_ids(admin: redis.Redis) -> None:
    """One queue of an id of 2 MB, and one where 70 MB stand behind small ones."""
    enqueued(admin, "arq:queue", 2, 1)
    with admin.pipeline(transaction=False) as pipe:
        pipe.zadd("arq:large", {"x" * 2_000_000: 1})
        enqueued(pipe, "arq:mixed", 6, 1)
        for number in range(70):
            pipe.zadd("arq:mixed", {f"{number:03}" + "x" * 1_000_000: 100 + number})
        pipe.execute()


@pytest.mark.timeout(120)
def test_huge_ids_are_not_fetched(admin: redis.Redis, backend: Backend) -> None:
    huge_ids(admin)
    reading = settled(backend)

    assert numbers(reading) == (2, 0, 0)
    for name in ("arq:large", "arq:mixed"):
        assert numbers(reading, name) == (None, None, 0)
        assert any(f"{name!r} cannot be told" in warning for warning in reading.warnings)


@pytest.mark.timeout(120)
def test_an_answer_that_was_too_large_is_not_asked_for_again(
    make_redis: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server does not tell how large ids are."""
    monkeypatch.setattr("bgtop.backends.redis_connection.MOST_BYTES", 20_000_000)
    server = make_redis("--user", "mon", "on", ">pw", "~*", "+@all", "-memory")
    with redis.Redis(port=server.port) as admin:
        huge_ids(admin)
    with closing(opened(f"redis://mon:pw@127.0.0.1:{server.port}/0")) as backend:
        reading = settled(backend)
        again = backend.poll(Interest())

    assert numbers(reading) == numbers(again) == (None, None, 0)
    assert again.round_trips == 2, "no ids are asked for"
    assert any("'arq:mixed' cannot be told" in warning for warning in again.warnings)


def test_what_expired_or_is_no_pickle_is_counted_and_not_read(
    admin: redis.Redis, backend: Backend
) -> None:
    """The content of jobs and results is never asked for."""
    enqueued(admin, "arq:queue", 3, time.time() * 1000 - 5_000)
    admin.set("arq:job:job-000001", b"\x80\x04cos\nsystem\n")
    admin.set("arq:result:job-000002", b"x" * 1_000_000)

    assert numbers(settled(backend)) == (3, 0, 0)


# Rights


def test_a_user_who_may_read_only_the_queues(make_redis: Callable) -> None:
    """What runs cannot be told, so neither can what waits; nothing is made up."""
    server = make_redis(
        *("--user", "mon", "on", ">pw", "%R~arq:queue", "%R~arq:queue:*", "+@read", "+@connection")
    )
    with redis.Redis(port=server.port) as admin:
        enqueued(admin, "arq:queue", 2, 1)
    with closing(opened(f"redis://mon:pw@127.0.0.1:{server.port}/0")) as backend:
        reading = settled(backend)

    assert numbers(reading) == (None, None, 0)
    assert "cannot be told apart" in reading.warnings[0]


def test_without_the_right_to_list_keys_the_address_names_the_queues(
    make_redis: Callable,
) -> None:
    server = make_redis("--user", "mon", "on", ">pw", "~*", "+@all", "-scan", "-time", "-memory")
    with redis.Redis(port=server.port) as admin:
        enqueued(admin, "arq:queue", 2, 1)
    with closing(opened(f"redis://mon:pw@127.0.0.1:{server.port}/0?queue=arq:queue")) as backend:
        reading = settled(backend)

    assert numbers(reading) == (2, 0, 0)
    missing, named = reading.warnings
    assert "name them in the address: ?queue=NAME" in missing
    assert named == "not permitted: MEMORY USAGE, SCAN"
