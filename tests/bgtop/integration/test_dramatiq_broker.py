"""How the Dramatiq backend treats the broker: what it shows, what it sends, what it costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise

import pytest
import redis
from redis_checks import commands_of_bgtop

from bgtop.backends.dramatiq import plugin
from bgtop.backends.redis_search import STEPS_OF_FIRST_POLLS
from bgtop.contracts import Backend, Interest, NotPermitted, Settings
from bgtop.model import AgeKind
from bgtop.testing import queue_in, settled

READS = {
    *("CLIENT", "DBSIZE", "SCAN", "INFO", "ZREVRANGE", "GETRANGE", "EXISTS"),
    *("LLEN", "HLEN", "ZCARD", "LINDEX", "HSTRLEN", "HGET"),
}


@contextmanager
def opened(port: int, login: str = "", option: str = "", **settings: float) -> Iterator[Backend]:
    url = f"dramatiq+redis://{login}127.0.0.1:{port}/0{option}"
    with closing(plugin.open(url, Settings(**settings))) as backend:
        yield backend


def fill_by_hand(admin: redis.Redis, queues: int, body: bytes | None = None) -> None:
    """What many enqueues leave behind, faster than Dramatiq's client writes it."""
    now = int(time.time() * 1000)
    text = body or b'{"message_timestamp": %d, "options": {}}' % now
    with admin.pipeline(transaction=False) as pipeline:
        for number in range(queues):
            pipeline.rpush(f"dramatiq:queue{number}", f"id{number}")
            pipeline.hset(f"dramatiq:queue{number}.msgs", f"id{number}", text)
        pipeline.execute()


@pytest.fixture
def dramatiq(dramatiq):
    """Its producer says that it is none of the workers, which else takes five seconds to see."""
    dramatiq.add_agent()
    return dramatiq


def test_only_reading_commands_are_sent(dramatiq, redis_server) -> None:
    dramatiq.put("mail", 5)
    with (
        commands_of_bgtop(redis_server.port) as names,
        opened(redis_server.port) as backend,
        dramatiq.holding("mail", 2),
    ):
        for internal in (False, True, False):
            settled(backend, Interest(internal=internal))
            backend.poll(Interest())

    assert names == READS


def test_every_number_of_a_queue_is_the_true_one(dramatiq, redis_server, wait_until) -> None:
    """Two dead, three not due and waiting in the broker; four of six are not fetched."""
    worker = dramatiq.start_worker("mail")
    dramatiq.put("mail", 2, actor="fail", args=())
    with redis.Redis(port=redis_server.port) as admin:
        wait_until(lambda: admin.zcard("dramatiq:mail.XQ") == 2, seconds=20)
    dramatiq.end(worker)
    dramatiq.put("mail", 3, delay=600_000)
    dramatiq.put("mail", 6)
    with opened(redis_server.port) as backend, dramatiq.holding("mail", 2):
        settled(backend)
        reading = settled(backend)

    mail = queue_in(reading, "mail")
    assert [queue.name for queue in reading.queues] == ["mail"]
    assert (mail.depth, mail.unacked, mail.scheduled, mail.dead) == (4, 2, 3, 2)
    assert (mail.running, mail.consumers, mail.failed, mail.by_priority) == (None,) * 4
    assert mail.oldest.kind is AgeKind.EXACT
    assert reading.warnings == ()


def test_delayed_messages_count_also_when_a_worker_has_fetched_them(
    dramatiq, redis_server, wait_until
) -> None:
    """A worker fetches a thousand delayed messages for each thread: their list is empty then."""
    dramatiq.start_worker("mail")
    dramatiq.put("mail", 3, delay=600_000)
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        wait_until(lambda: admin.llen("dramatiq:mail.DQ") == 0, seconds=20)
        mail = queue_in(settled(backend), "mail")

    assert (mail.depth, mail.unacked, mail.scheduled) == (0, 0, 3)


def test_the_age_is_that_of_the_oldest_message(dramatiq, redis_server) -> None:
    """From when it was sent; for a retry, from when it was sent again."""
    now = time.time()
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        for name, options in (("first", "{}"), ("again", '{"requeue_timestamp": %d}')):
            fields = options % ((now - 100) * 1000) if "%" in options else options
            body = f'{{"message_timestamp": {int((now - 500) * 1000)}, "options": {fields}}}'
            admin.rpush(f"dramatiq:{name}", "old")
            admin.hset(f"dramatiq:{name}.msgs", "old", body)
            dramatiq.put(name, 1)
        reading = settled(backend)
        ages = {queue.name: queue.oldest for queue in reading.queues}
        admin.lpop("dramatiq:first")
        fresh = queue_in(settled(backend), "first").oldest

    assert 500 <= ages["first"].seconds < 560
    assert 100 <= ages["again"].seconds < 160
    assert fresh.seconds < 60
    assert {ages["first"].kind, ages["again"].kind, fresh.kind} == {AgeKind.EXACT}


@pytest.mark.parametrize("queues", [20, 5_000])
def test_a_poll_is_one_round_trip_and_three_when_heads_are_new(redis_server, queues) -> None:
    """Whatever the number of queues, when each has a message."""
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        admin.zadd("dramatiq:__heartbeats__", {"p1": 1, "p2": 2})
        fill_by_hand(admin, queues)
        settled(backend)
        backend.poll(Interest())
        steady = [backend.poll(Interest()) for _ in range(3)]
        for number in range(0, queues, 10):
            admin.lpush(f"dramatiq:queue{number}", "new")
            admin.hset(f"dramatiq:queue{number}.msgs", "new", '{"message_timestamp": 1}')
        changed = backend.poll(Interest())

    assert {reading.round_trips for reading in steady} == {1}
    assert changed.round_trips == 3
    assert sum(queue.depth for queue in changed.queues) == queues + queues // 10
    assert {queue.oldest.kind for queue in changed.queues} == {AgeKind.EXACT}


def test_a_huge_key_space_is_searched_a_part_at_a_time(dramatiq, redis_server) -> None:
    dramatiq.put("mail", 2)
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        admin.mset({f"result-{number}": "{}" for number in range(60_000)})
        admin.config_resetstat()
        scans = [0]
        complete = False
        while not complete:
            reading = backend.poll(Interest())
            scans.append(admin.info("commandstats")["cmdstat_scan"]["calls"])
            complete = not any("still looking" in warning for warning in reading.warnings)

    assert max(after - before for before, after in pairwise(scans)) <= STEPS_OF_FIRST_POLLS + 1
    assert len(scans) >= 6
    assert queue_in(reading, "mail").depth == 2


def test_an_emptied_queue_is_remembered(dramatiq, redis_server) -> None:
    """It has no keys at all then, and still is a queue with nothing in it."""
    dramatiq.put("mail", 1)
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        settled(backend)
        dramatiq.broker.flush("mail")
        assert admin.keys("dramatiq:mail*") == []
        mail = queue_in(settled(backend), "mail")

    assert (mail.depth, mail.unacked, mail.scheduled, mail.dead) == (0, 0, 0, 0)
    assert mail.oldest is None


def test_a_new_queue_is_found_in_time(dramatiq, redis_server, wait_until, monkeypatch) -> None:
    monkeypatch.setattr("bgtop.backends.redis_search.SECONDS_BETWEEN_SMALL_PASSES", 0.05)
    dramatiq.put("old", 1)
    with opened(redis_server.port) as backend:
        settled(backend)
        dramatiq.put("new", 2)
        wait_until(lambda: len(backend.poll(Interest()).queues) == 2)


def test_queues_are_known_by_any_of_their_keys(redis_server) -> None:
    """Names hold dots, and also what Dramatiq uses as endings."""
    process = "0" * 36
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        admin.zadd("dramatiq:a.dead.XQ", {"id": 1})
        admin.hset("dramatiq:b.later.DQ.msgs", "id", "{}")
        admin.sadd(f"dramatiq:__acks__.{process}.c.taken", "id")
        admin.sadd(f"dramatiq:__acks__.{process}.d.DQ", "id")
        admin.rpush("dramatiq:e.msgs", "id")
        admin.hset("dramatiq:e.msgs.msgs", "id", "{}")
        admin.set("dramatiq:something-else", "x")
        reading = settled(backend)

    assert [queue.name for queue in reading.queues] == [
        "a.dead",
        "b.later",
        "c.taken",
        "d",
        "e.msgs",
    ]
    assert [queue.depth for queue in reading.queues] == [0, 0, 0, 0, 1]
    assert reading.warnings == ()


def test_a_namespace_of_its_own(redis_server, make_dramatiq) -> None:
    """Also one with characters that are special in patterns."""
    for namespace, count in (("shop[1]*", 2), ("shop1x", 3), ("dramatiq", 4)):
        make_dramatiq(redis_server.url, namespace=namespace).put("mail", count)
    with opened(redis_server.port, option="?namespace=shop%5B1%5D*") as backend:
        reading = settled(backend)

    assert [(queue.name, queue.depth) for queue in reading.queues] == [("mail", 2)]
    assert backend.info.url.endswith("/0?namespace=shop%5B1%5D%2A")


def test_bodies_are_read_only_when_they_are_small_and_json(redis_server) -> None:
    """A pickle, broken or odd JSON, a megabyte: the depth is right and the age is a lower bound."""
    bodies = {
        "pickle": b"\x80\x05cos\nsystem\n(S'touch /tmp/x'\ntR.",
        "broken": b'{"message_timestamp": 1',
        "deep": b'{"a":' * 10_000,
        "list": b"[1]",
        "strange": b'{"message_timestamp": "yesterday", "options": 3}',
        "infinite": b'{"message_timestamp": 1e999}',
        "large": b'{"message_timestamp": 1, "args": "' + b"x" * 2**20 + b'"}',
    }
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        for name, body in bodies.items():
            admin.rpush(f"dramatiq:{name}", "id")
            admin.hset(f"dramatiq:{name}.msgs", "id", body)
        before = admin.info("stats")["total_net_output_bytes"]
        reading = settled(backend)
        sent = admin.info("stats")["total_net_output_bytes"] - before

    assert {queue.name: queue.depth for queue in reading.queues} == dict.fromkeys(sorted(bodies), 1)
    assert {queue.oldest.kind for queue in reading.queues} == {AgeKind.AT_LEAST}
    assert reading.warnings == ()
    assert sent < 200_000


def test_keys_of_another_type_are_told_and_hide_nothing(dramatiq, redis_server) -> None:
    dramatiq.put("good", 2)
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        admin.set("dramatiq:bad.msgs", "text")
        admin.rpush("dramatiq:bad", "x" * 2**20)
        admin.set("dramatiq:worse", "text")
        admin.hset("dramatiq:worse.msgs", "id", "{}")
        admin.delete("dramatiq:__heartbeats__")
        admin.set("dramatiq:__heartbeats__", "text")
        settled(backend)
        sent = admin.info("stats")["total_net_output_bytes"]
        reading = settled(backend)
        sent = admin.info("stats")["total_net_output_bytes"] - sent

    numbers = {q.name: (q.depth, q.unacked, q.scheduled) for q in reading.queues}
    assert numbers == {"good": (2, 0, 0), "bad": (1, None, 0), "worse": (None, None, 0)}
    assert reading.workers == ()
    assert reading.warnings == (
        "workers are not known: the key __heartbeats__ is no sorted set",
        "the key 'bad.msgs' is of another type than Dramatiq's, so its number is unknown",
        "the key 'worse' is of another type than Dramatiq's, so its number is unknown",
    )
    assert sent < 200_000


def test_with_rights_on_some_keys_those_are_shown(make_redis, make_dramatiq) -> None:
    server = make_redis(
        *("--user", "mon", "on", ">hunter2", "~dramatiq:mail*", "+@read", "+@connection"),
        *("-@dangerous",),
    )
    dramatiq = make_dramatiq(server.url)
    dramatiq.put("mail", 2)
    dramatiq.put("secret", 1)
    with opened(server.port, "mon:hunter2@") as backend:
        reading = settled(backend)

    assert {q.name: q.depth for q in reading.queues} == {"mail": 2, "secret": None}
    assert reading.warnings[0] == "workers are not known: the key __heartbeats__ cannot be read"
    assert "the server does not let us read the key 'secret'" in reading.warnings


def test_without_the_right_to_scan_that_is_said(make_redis, make_dramatiq) -> None:
    server = make_redis(
        "--user", "mon", "on", ">hunter2", "~*", "+@read", "+@connection", "+info", "-scan"
    )
    make_dramatiq(server.url).put("mail", 2)
    with opened(server.port, "mon:hunter2@") as backend:
        reading = settled(backend)

    assert reading.queues == ()
    assert reading.warnings == (
        "queues may be missing: the server does not let us list its keys",
        "not permitted: SCAN",
    )


def test_without_the_right_to_read_anything_the_reason_is_told(make_redis) -> None:
    server = make_redis("--requirepass", "hunter2")
    with opened(server.port) as backend, pytest.raises(NotPermitted) as failed:
        backend.poll(Interest())

    assert str(failed.value) == f"127.0.0.1:{server.port} asks for a password"
