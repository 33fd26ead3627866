"""What the Huey backend makes of real databases: delays, priorities, odd keys, odd rights."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
import redis

from bgtop.backends.huey import plugin
from bgtop.backends.huey.workers import INFERRED
from bgtop.backends.redis_search import STEPS_OF_FIRST_POLLS
from bgtop.contracts import Backend, Interest, Settings
from bgtop.model import AgeKind, QueueReading, Reading, WorkerState
from bgtop.testing import queue_in, settled, wait_until

READS = {
    *("auth", "hello", "client", "select", "dbsize", "scan", "llen", "zcard", "memory"),
    *("zrevrange", "info", "lindex", "zrangebyscore", "zcount", "hmget", "pttl", "exists"),
}


@pytest.fixture
def backend(redis_server) -> Iterator[Backend]:
    with closing(opened(redis_server.url)) as backend:
        yield backend


def opened(url: str) -> Backend:
    return plugin.open(f"huey+{url}", Settings(connect_timeout=1, read_timeout=2))


def queue(reading: Reading, name: str) -> QueueReading:
    found = queue_in(reading, name)
    assert found is not None, reading
    return found


@contextmanager
def watched(admin: redis.Redis, backend: Backend) -> Iterator[list[list[str]]]:
    """The commands that the server was sent by the polls inside, as MONITOR tells them."""
    commands: list[list[str]] = []
    with admin.monitor() as monitor:
        yield commands
        admin.echo("the end")
        for told in monitor.listen():
            words = told["command"].split(" ")
            if words[0].lower() == "echo":
                break
            commands.append([words[0].lower(), *words[1:]])


def test_a_delayed_task_waits_until_a_consumer_has_looked_at_it(
    redis_server, make_huey: Callable, backend: Backend
) -> None:
    """Huey itself puts it into the queue first."""
    huey = make_huey("RedisHuey", redis_server.url)
    tasks = huey.tasks("mail")
    tasks["add"].schedule((1, 2), delay=3600)
    before = queue(settled(backend), "mail")
    huey.start_consumer("mail")

    def moved() -> bool:
        now = queue(backend.poll(Interest()), "mail")
        return (now.depth, now.scheduled) == (0, 1)

    assert (before.depth, before.scheduled) == (1, 0)
    wait_until(moved, seconds=20, why="the task is scheduled")


def test_only_reads_are_sent_and_two_round_trips_are_enough(
    redis_server, admin: redis.Redis, make_huey: Callable, backend: Backend
) -> None:
    make_huey("RedisHuey", redis_server.url).put("mail", 3)
    make_huey("PriorityRedisHuey", redis_server.url).put("urgent", 3, priority=7)
    settled(backend)
    with watched(admin, backend) as commands:
        trips = [backend.poll(Interest()).round_trips for _ in range(5)]

    assert {command for command, *_ in commands} <= READS
    assert ["llen", "huey.redis.mail"] in commands
    assert ["zcard", "huey.redis.urgent"] in commands
    assert set(trips) == {2}


def test_jobs_known_to_be_small_are_not_measured_at_each_poll(
    redis_server,
    admin: redis.Redis,
    make_huey: Callable,
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bgtop.backends.huey.ages.SECONDS_BETWEEN_SIZES", 600.0)
    make_huey("RedisHuey", redis_server.url).put("mail", 3)
    settled(backend)
    with watched(admin, backend) as commands:
        ages = [queue(backend.poll(Interest()), "mail").oldest for _ in range(5)]

    assert all(ages)
    assert [name for name, *_ in commands if name == "memory"] == []


def test_the_oldest_job_of_any_priority_counts_exactly(
    redis_server, admin: redis.Redis, make_huey: Callable, backend: Backend
) -> None:
    """Jobs of a low priority may starve behind new ones of a high one."""
    make_huey("PriorityRedisHuey", redis_server.url).put("mail", 2, priority=100)
    for priority, seconds in ((50, 10), (0, 3600), (7, 60)):
        put_at = int((time.time() - seconds) * 1e6).to_bytes(8, "big")
        admin.zadd("huey.redis.mail", {put_at + b"job": -priority})

    def exact() -> float | None:
        age = queue(backend.poll(Interest()), "mail").oldest
        return age.seconds if age is not None and age.kind is AgeKind.EXACT else None

    seconds = wait_until(exact, why="all priorities are known")
    assert 3600 <= seconds < 3700


def test_jobs_are_counted_by_priority_as_they_come_and_go(
    redis_server, admin: redis.Redis, make_huey: Callable, backend: Backend
) -> None:
    """Also where as many wait as before; and the depth is always their sum."""
    huey = make_huey("PriorityRedisHuey", redis_server.url)
    huey.put("mail", 2, priority=100)
    huey.put("mail", 3, priority=-5)

    def split() -> object:
        mail = queue(settled(backend), "mail")
        assert mail.by_priority is not None
        assert sum(mail.by_priority.values()) == mail.depth
        return mail.by_priority

    assert split() == {100: 2, -5: 3}
    admin.zpopmin("huey.redis.mail", 1)
    huey.put("mail", 1, priority=-5)
    assert split() == {100: 1, -5: 4}
    admin.zpopmin("huey.redis.mail", 1)
    assert split() == {-5: 4}
    assert backend.poll(Interest()).round_trips == 2
    admin.delete("huey.redis.mail")
    assert split() == {}


def test_priorities_that_are_no_whole_numbers_or_too_many_are_not_told(
    admin: redis.Redis, backend: Backend
) -> None:
    put_at = int(time.time() * 1e6).to_bytes(8, "big")
    for name, scores in (("odd", [float("inf")]), ("half", [0.5, 1]), ("many", [*range(40)])):
        admin.zadd(f"huey.redis.{name}", {put_at + b"%d" % n: s for n, s in enumerate(scores)})
    wait_until(lambda: settled(backend).complete, why="it has looked often enough")
    readings = [backend.poll(Interest()) for _ in range(30)]

    shown = {q.name: q.by_priority for q in readings[-1].queues}
    assert shown == {"odd": None, "half": None, "many": None}


def test_with_very_many_priorities_an_age_is_a_lower_bound(
    admin: redis.Redis, backend: Backend
) -> None:
    put_at = int((time.time() - 60) * 1e6).to_bytes(8, "big")
    admin.zadd("huey.redis.mail", {put_at + b"%d" % n: -n for n in range(40)})
    ages = [queue(settled(backend), "mail").oldest for _ in range(30)]

    assert {age.kind for age in ages if age} == {AgeKind.AT_LEAST}
    assert all(age is not None and 60 <= age.seconds < 160 for age in ages)


def test_the_age_of_a_list_begins_anew_when_another_job_is_next(
    redis_server, admin: redis.Redis, make_huey: Callable, backend: Backend
) -> None:
    make_huey("RedisHuey", redis_server.url).put("mail", 2)

    def age() -> float:
        oldest = queue(settled(backend), "mail").oldest
        assert oldest is not None
        assert oldest.kind is AgeKind.AT_LEAST
        return oldest.seconds

    first = age()
    wait_until(lambda: age() > 0.05, why="it waits")
    admin.rpop("huey.redis.mail")

    assert first == 0
    assert age() == 0
    admin.delete("huey.redis.mail")
    assert queue(settled(backend), "mail").oldest is None


def test_large_jobs_are_counted_and_never_fetched(admin: redis.Redis, backend: Backend) -> None:
    admin.lpush("huey.redis.mail", *[bytes(1_000_000)] * 3)
    put_at = int(time.time() * 1e6).to_bytes(8, "big")
    admin.zadd("huey.redis.urgent", {put_at + bytes(1_000_000): 0})
    with watched(admin, backend) as commands:
        reading = settled(backend)

    assert [queue(reading, name).depth for name in ("mail", "urgent")] == [3, 1]
    assert {"lindex", "zrangebyscore"}.isdisjoint({command for command, *_ in commands})
    assert [warning for warning in reading.warnings if "not read in 2 queues" in warning]


def test_a_large_job_behind_small_ones_is_fetched_once_a_minute_at_most(
    admin: redis.Redis, backend: Backend
) -> None:
    admin.lpush("huey.redis.mail", bytes(1_000_000), *[b"small"] * 5_000)
    settled(backend)
    with watched(admin, backend) as commands:
        reading = backend.poll(Interest())

    assert queue(reading, "mail").depth == 5_001
    assert "lindex" not in {command for command, *_ in commands}


def test_keys_of_other_types_say_so_and_leave_the_rest_right(
    redis_server, admin: redis.Redis, make_huey: Callable, backend: Backend
) -> None:
    make_huey("RedisHuey", redis_server.url).put("mail", 2)
    admin.set("huey.redis.text", "x")
    admin.set("huey.schedule.mail", "x")
    admin.zadd("huey.redis.odd", {"short": 1, b"\xff" * 12: float("inf"), "long enough": -1.5})
    reading = settled(backend)

    assert (queue(reading, "mail").depth, queue(reading, "mail").scheduled) == (2, None)
    assert (queue(reading, "text").depth, queue(reading, "text").scheduled) == (None, 0)
    assert (queue(reading, "odd").depth, queue(reading, "odd").oldest) == (3, None)
    assert [w for w in reading.warnings if w.startswith("the depth of 'text' is not known")]
    assert [w for w in reading.warnings if w.startswith("the schedule of 'mail' is not known")]


def test_a_queue_that_becomes_one_with_priorities_is_followed(
    redis_server, make_huey: Callable, admin: redis.Redis, backend: Backend
) -> None:
    make_huey("RedisHuey", redis_server.url).put("mail", 2)
    settled(backend)
    admin.delete("huey.redis.mail")
    make_huey("PriorityRedisHuey", redis_server.url).put("mail", 3, priority=1)

    assert queue(settled(backend), "mail").depth == 3


def test_an_empty_queue_is_remembered_and_a_configured_one_is_shown(
    redis_server, make_huey: Callable, admin: redis.Redis
) -> None:
    make_huey("RedisHuey", redis_server.url).put("mail", 2)
    with closing(opened(redis_server.url + "?queue=idle&queue=mail")) as backend:
        settled(backend)
        admin.flushdb()
        reading = settled(backend)

    assert [(q.name, q.depth, q.scheduled) for q in reading.queues] == [
        ("idle", 0, 0),
        ("mail", 0, 0),
    ]


def test_names_as_huey_2_writes_them_stand_beside_those_of_huey_3(
    redis_server, admin: redis.Redis, make_huey: Callable, backend: Backend
) -> None:
    """Huey 2 makes ``ypp1`` of My-App_1: after an upgrade, old jobs are stranded there."""
    admin.lpush("huey.redis.ypp1", b"\x80\x04old")
    make_huey("RedisHuey", redis_server.url).put("MyApp_1", 2)

    shown = {q.name: q.depth for q in settled(backend).queues}
    assert shown == {"MyApp_1": 2, "ypp1": 1}


def test_results_that_expire_are_not_taken_for_queues(admin: redis.Redis, backend: Backend) -> None:
    admin.set("huey.r.mail.4711", "x")
    admin.hset("huey.results.push", "4711", "x")

    assert [q.name for q in settled(backend).queues] == ["push"]


@contextmanager
def done_all_the_time(url: str, act: Callable[[redis.Redis], object]) -> Iterator[None]:
    """What another program does in the same database until it is told to end."""
    ended = threading.Event()

    def run() -> None:
        with redis.Redis.from_url(url) as client:
            while not ended.is_set():
                act(client)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(10)


def workers_of(backend: Backend, admin: redis.Redis, command: str) -> list[tuple[str, WorkerState]]:
    """What is inferred once the server has seen this command."""
    before = admin.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]

    def seen() -> bool:
        return admin.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"] > before

    wait_until(seen, seconds=10, why=f"{command} is sent")
    return [(one.name, one.state) for one in settled(backend).workers]


def test_a_worker_of_celery_is_not_taken_for_one_of_huey(
    redis_server, admin: redis.Redis, make_huey: Callable, backend: Backend
) -> None:
    """It waits in BRPOP too; only how long the command is tells that it is for other keys."""
    if not argument_sizes_are_told(admin):
        pytest.skip("needs Redis 7: older servers do not tell how long a blocked command is")
    make_huey("RedisHuey", redis_server.url).put("mail", 2)
    keys = ["celery", *(f"celery\x06\x16{step}" for step in (3, 6, 9))]

    with done_all_the_time(redis_server.url, lambda client: client.brpop(keys, timeout=1)):
        assert workers_of(backend, admin, "brpop") == []


def test_nor_is_one_that_was_seen_before_any_queue_of_huey(
    redis_server, admin: redis.Redis, make_huey: Callable, backend: Backend
) -> None:
    """Whom it waits for could not be told then; it is as soon as there is a name to compare."""
    if not argument_sizes_are_told(admin):
        pytest.skip("needs Redis 7: older servers do not tell how long a blocked command is")
    keys = ["celery", *(f"celery\x06\x16{step}" for step in (3, 6, 9))]
    with done_all_the_time(redis_server.url, lambda client: client.brpop(keys, timeout=1)):
        workers_of(backend, admin, "brpop")
        make_huey("RedisHuey", redis_server.url).put("mail", 2)
        wait_until(lambda: backend.poll(Interest()).queues, seconds=20, why="the queue is found")
        backend.poll(Interest())

        assert backend.poll(Interest()).workers == ()


def argument_sizes_are_told(admin: redis.Redis) -> bool:
    return int(admin.info("server")["redis_version"].split(".")[0]) >= 7


def test_scripts_beside_dramatiq_prove_no_consumer_of_huey(
    redis_server, admin: redis.Redis, make_huey: Callable, backend: Backend
) -> None:
    """Its workers run one all the time, as a consumer's scheduler does."""
    make_huey("RedisHuey", redis_server.url).put("mail", 2)
    script = admin.register_script("return 1")

    with done_all_the_time(redis_server.url, lambda client: script(client=client)):
        alone = workers_of(backend, admin, "evalsha")
        admin.zadd("dramatiq:__heartbeats__", {"a": 1})
        with closing(opened(redis_server.url)) as other:
            beside = workers_of(other, admin, "evalsha")

    assert alone == [(INFERRED, WorkerState.ACTIVE)]
    assert beside == [(INFERRED, WorkerState.UNKNOWN)]


def test_a_consumer_that_once_waited_is_active_while_it_is_connected(
    redis_server, admin: redis.Redis, make_huey: Callable, backend: Backend
) -> None:
    """Beside Dramatiq, whose heartbeats make scripts a proof of nothing."""
    admin.zadd("dramatiq:__heartbeats__", {"a": 1})
    huey = make_huey("RedisHuey", redis_server.url)
    huey.put("mail", 1)
    settled(backend)

    def states() -> list[WorkerState | None]:
        return [one.state for one in backend.poll(Interest()).workers]

    consumer = huey.start_consumer("mail")
    wait_until(lambda: states() == [WorkerState.IDLE], seconds=20, why="a worker waits")
    huey.put("mail", 1, task="waits")
    wait_until(lambda: states() == [WorkerState.ACTIVE], seconds=20, why="its worker is busy")
    huey.release()
    huey.stop(consumer)
    wait_until(lambda: states() == [], seconds=20, why="nobody is connected")


def test_without_the_right_to_look_around_what_is_named_is_still_read(
    make_redis: Callable, make_huey: Callable
) -> None:
    rights = "on nopass ~huey.* +llen +zcard +hello +client|setname +auth"
    server = make_redis("--user", "poor", *rights.split())
    make_huey("RedisHuey", server.url).put("mail", 2)
    with closing(opened(f"redis://poor:x@127.0.0.1:{server.port}/0?queue=mail")) as backend:
        reading = settled(backend)

    assert [(q.name, q.depth, q.oldest) for q in reading.queues] == [("mail", 2, None)]
    assert reading.workers == ()
    told = "\n".join(reading.warnings)
    assert "queues may be missing" in told
    assert "the server refuses MEMORY USAGE" in told
    assert "consumers cannot be inferred" in told


def test_many_keys_are_searched_in_small_steps(admin: redis.Redis, backend: Backend) -> None:
    with admin.pipeline(transaction=False) as pipeline:
        for number in range(30_000):
            pipeline.set(f"huey.r.mail.{number}", "x")
        pipeline.execute()
    admin.lpush("huey.redis.mail", "x")
    first = backend.poll(Interest())

    assert not first.complete
    assert [w for w in first.warnings if w.startswith("still looking for queues: 1")]
    assert first.round_trips <= STEPS_OF_FIRST_POLLS + 4
    assert queue(settled(backend), "mail").depth == 1
