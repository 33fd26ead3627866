"""How the Celery backend treats the broker: what it sends, what it costs, what it may not do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import redis
from redis_checks import commands_of_bgtop

from bgtop.backends.celery import plugin
from bgtop.backends.redis_search import KEYS_PER_SCAN, STEPS_OF_FIRST_POLLS
from bgtop.contracts import Backend, Interest, NotPermitted, Settings, Unreachable
from bgtop.model import Reading, WorkerState
from bgtop.testing import queue_in, settled

READS = {
    *("CLIENT", "DBSIZE", "SCAN", "SMEMBERS", "LLEN", "EXISTS"),
    *("HLEN", "ZRANGE", "HSTRLEN", "HMGET", "PSUBSCRIBE"),
    *("MEMORY", "LINDEX", "LPOS"),
}


@contextmanager
def opened(port: int, login: str = "", **settings: float) -> Iterator[Backend]:
    url = f"celery+redis://{login}127.0.0.1:{port}/0"
    with closing(plugin.open(url, Settings(**settings))) as backend:
        yield backend


def test_only_reading_commands_are_sent(celery, redis_server) -> None:
    celery.put("mail", 3)
    celery.put("mail", 3, priority=6)
    with (
        commands_of_bgtop(redis_server.port) as names,
        opened(redis_server.port) as backend,
        celery.holding("mail", 2),
    ):
        for internal in (False, True, False):
            settled(backend, Interest(internal=internal))
        celery.put("mail")
        backend.poll(Interest())

    assert names == READS


def test_a_steady_poll_is_one_round_trip_and_a_few_commands(celery, redis_server) -> None:
    """At 20 queues with priorities in use, and a consumer that keeps what it has."""
    for number in range(20):
        celery.put(f"queue{number}", 1, priority=(0, 3)[number % 2])
    with opened(redis_server.port) as backend, celery.holding("queue0", 1):
        settled(backend)
        backend.poll(Interest())
        steady = [backend.poll(Interest()) for _ in range(5)]

    assert {reading.round_trips for reading in steady} == {1}
    # 20 bare names, the 10 steps in use, one EXISTS, HLEN and two ZRANGE of the deliveries; then
    # the next message of the 19 lists that hold any.
    assert {reading.commands for reading in steady} == {34 + 19}
    assert sum(queue.depth for queue in steady[-1].queues) == 19


def test_where_nothing_waits_a_steady_poll_is_one_round_trip(celery, redis_server) -> None:
    celery.put("mail")
    with opened(redis_server.port) as backend, celery.holding("mail", 1):
        settled(backend)
        backend.poll(Interest())

        assert backend.poll(Interest()).round_trips == 1


def test_what_changes_costs_two_more_round_trips_at_most(celery, redis_server) -> None:
    celery.put("mail", 5)
    with opened(redis_server.port) as backend:
        settled(backend)
        backend.poll(Interest())
        celery.put("mail", 2, priority=9)
        with celery.holding("mail", 3):
            reading = backend.poll(Interest())

    mail = queue_in(reading, "mail")
    assert (mail.depth, mail.unacked, reading.round_trips) == (4, 3, 3)


def test_a_huge_key_space_is_searched_a_part_at_a_time(celery, redis_server) -> None:
    """The default queue is there at once, the others when their part was reached."""
    celery.put("celery", 1)
    celery.put("late", 2)
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        admin.mset({f"celery-task-meta-{number}": "{}" for number in range(60_000)})
        admin.config_resetstat()
        readings: list[Reading] = []
        scans: list[int] = []
        while not readings or not readings[-1].complete:
            readings.append(backend.poll(Interest()))
            scans.append(admin.info("commandstats")["cmdstat_scan"]["calls"])
        keys = admin.dbsize()

    # Beside the SCANs of the search itself, three more ride along with the other questions.
    at_most = STEPS_OF_FIRST_POLLS + 3
    assert max(b - a for a, b in zip([0, *scans], scans, strict=False)) <= at_most
    assert len(readings) >= 5
    assert "celery" in [queue.name for queue in readings[0].queues]
    read = f"{at_most * KEYS_PER_SCAN:,} of about {keys:,}"
    assert readings[0].warnings == (f"still looking for queues: {read} keys read",)
    assert {q.name: q.depth for q in readings[-1].queues} == {"celery": 1, "late": 2}
    assert readings[-1].warnings == ()


def test_a_new_queue_is_found_and_a_removed_one_forgotten(
    celery, redis_server, wait_until, monkeypatch
) -> None:
    monkeypatch.setattr("bgtop.backends.redis_search.SECONDS_BETWEEN_SMALL_PASSES", 0.05)
    celery.put("old", 1)
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        settled(backend)
        celery.put("new", 2)
        admin.delete("_kombu.binding.old", "_kombu.binding_permanent.old")

        def names() -> list[str]:
            return [queue.name for queue in backend.poll(Interest()).queues]

        # Without binding, yet with a message: still a queue.
        wait_until(lambda: names() == ["new", "old"])
        admin.delete("old")
        wait_until(lambda: names() == ["new"])


def test_a_prefix_without_bindings_keeps_its_messages(
    make_celery, redis_server, wait_until, monkeypatch
) -> None:
    monkeypatch.setattr("bgtop.backends.redis_search.SECONDS_BETWEEN_SMALL_PASSES", 0.05)
    make_celery(redis_server.url, prefix="shop:").put("mail", 2)
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        settled(backend)
        admin.delete("shop:_kombu.binding.mail")
        readings = [backend.poll(Interest()) for _ in range(50)]
        assert {queue_in(reading, "mail").depth for reading in readings} == {2}
        admin.delete("shop:mail")
        wait_until(lambda: backend.poll(Interest()).queues == ())


def test_after_a_lost_connection_queues_are_looked_for_at_once(celery, redis_server) -> None:
    celery.put("old", 1)
    with opened(redis_server.port) as backend:
        settled(backend)
        redis_server.stop()
        with pytest.raises(Unreachable):
            backend.poll(Interest())
        redis_server.start()
        celery.put("new", 2)
        backend.poll(Interest())
        reading = backend.poll(Interest())

    assert {queue.name: queue.depth for queue in reading.queues} == {"new": 2, "old": 0}


def test_a_reading_is_complete_when_all_deliveries_are_told_apart(celery, redis_server) -> None:
    """Ten of 200 KB are more than one poll fetches."""
    celery.put("mail", 1)
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        admin.zadd("unacked_index", {f"tag{number}": number for number in range(10)})
        entry = b'["' + b"x" * 200_000 + b'", "", "mail"]'
        admin.hset("unacked", mapping={f"tag{number}": entry for number in range(10)})
        first, second = backend.poll(Interest()), backend.poll(Interest())

    assert [queue_in(reading, "mail").unacked for reading in (first, second)] == [None, 10]
    assert [reading.complete for reading in (first, second)] == [False, True]
    assert first.totals == second.totals == {"unacked": 10}


@pytest.mark.parametrize("channel", ["/0.celeryev/worker.*", "/0.celeryev/*", "/0.celeryev*", "*"])
def test_heartbeats_are_heard_whatever_pattern_was_granted(
    make_redis, make_celery, wait_until, channel
) -> None:
    """Redis grants PSUBSCRIBE only for the very pattern written in the ACL."""
    server = make_redis(
        *("--user", "mon", "on", ">hunter2", "~*", f"&{channel}"),
        *("+@read", "+@connection", "+psubscribe", "-@dangerous"),
    )
    celery = make_celery(server.url)
    node = celery.start_worker("w1", "mail", options=("-E",))
    with opened(server.port, "mon:hunter2@") as backend:

        def heard() -> bool:
            reading = backend.poll(Interest())
            return any(worker.last_heartbeat_at for worker in reading.workers)

        wait_until(heard, seconds=20, every=0.1)
        celery.put("mail", 3)
        reading = settled(backend)

    assert [worker.name for worker in reading.workers] == [node]
    assert reading.warnings == ()


def test_without_the_right_to_subscribe_the_rest_is_shown(make_redis, make_celery) -> None:
    server = make_redis(
        *("--user", "mon", "on", ">hunter2", "~*", "resetchannels", "+@read", "+@connection")
    )
    celery = make_celery(server.url)
    celery.put("mail", 2)
    with redis.Redis(port=server.port) as admin:
        admin.sadd("_kombu.binding.celery.pidbox", b"\x06\x16\x06\x16w1@h.celery.pidbox")
    with opened(server.port, "mon:hunter2@", dead_after=0) as backend:
        reading = settled(backend)

    assert queue_in(reading, "mail").depth == 2
    assert [(w.name, w.state) for w in reading.workers] == [("w1@h", WorkerState.UNKNOWN)]
    assert reading.warnings == (
        "no heartbeats: the server does not let us subscribe to them (PSUBSCRIBE)",
    )


def test_with_rights_on_some_keys_those_are_shown(make_redis, make_celery) -> None:
    server = make_redis(
        *("--user", "mon", "on", ">hunter2", "~mail*", "~_kombu.*", "&*"),
        *("+@read", "+@connection", "+psubscribe"),
    )
    celery = make_celery(server.url)
    celery.put("mail", 2)
    celery.put("mail", 3, priority=3)
    celery.put("secret", 1)
    with opened(server.port, "mon:hunter2@") as backend:
        settled(backend)
        reading = settled(backend)

    assert {q.name: q.depth for q in reading.queues} == {"mail": 5, "secret": None}
    assert reading.totals == {}
    assert reading.warnings == (
        "the key 'unacked' cannot be read",
        "the server does not let us read the queue 'secret'",
    )


def test_without_the_right_to_scan_the_usual_queue_is_shown(make_redis, make_celery) -> None:
    server = make_redis(
        *("--user", "mon", "on", ">hunter2", "~*", "&*"),
        *("+@read", "+@connection", "+psubscribe", "-scan"),
    )
    celery = make_celery(server.url)
    celery.put("celery", 2)
    with opened(server.port, "mon:hunter2@") as backend:
        reading = settled(backend)

    assert {q.name: q.depth for q in reading.queues} == {"celery": 2}
    assert reading.warnings == (
        "queues may be missing: the server does not let us list its keys",
        "not permitted: SCAN",
    )


def test_without_the_right_to_read_anything_the_reason_is_told(make_redis) -> None:
    server = make_redis("--requirepass", "hunter2")
    with opened(server.port) as backend, pytest.raises(NotPermitted) as failed:
        backend.poll(Interest())

    assert str(failed.value) == f"127.0.0.1:{server.port} asks for a password"


def test_hostile_bindings_and_events_do_no_harm(redis_server) -> None:
    """Whatever is in the broker: no exception, unique sorted names, single-line warnings."""
    rubbish = [b"", b"\x06\x16", b"\x06\x16" * 9, b"\xff\xfe", b"a", b"a\x06\x16b", b"::", b"\x00"]
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        settled(backend)
        admin.sadd(
            "_kombu.binding.x", *rubbish, b"\xff\x06\x16\x06\x16\xff", b"\\xff\x06\x16\x06\x16\\xff"
        )
        admin.sadd(
            "_kombu.binding.celery.pidbox", *rubbish, b"\x06\x16\x06\x16\x1b[2J.celery.pidbox"
        )
        admin.set("_kombu.binding.string", "not a set")
        admin.zadd("unacked_index", {b"tag": 1, b"\xff": 2})
        admin.hset("unacked", mapping={b"tag": b"]", b"\xff": b'"", ""]'})
        for payload in (b"", b"{", b"[]", b'{"body": 1}', b"\xff" * 100, b"[" * 50_000):
            admin.publish("/0.celeryev/worker.heartbeat", payload)
        backend._discovery.search.start_over()
        backend.poll(Interest())
        reading = settled(backend)

    names = [queue.name for queue in reading.queues]
    assert names == sorted(set(names))
    assert {"\\xff", "\\xff'"} <= set(names)
    assert [worker.name for worker in reading.workers] == ["\x1b[2J"]
    assert reading.totals == {"unacked": 2}
    assert all(warning.isprintable() for warning in reading.warnings)
