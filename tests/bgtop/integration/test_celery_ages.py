"""How long Celery's messages wait: on a real Redis, against the times at which they were put."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from bgtop.backends.celery import ages, plugin
from bgtop.contracts import Backend, Interest, Settings
from bgtop.model import Age, AgeKind
from bgtop.testing import queue_in, settled


@pytest.fixture
def backend(redis_server) -> Iterator[Backend]:
    with closing(plugin.open(f"celery+{redis_server.url}", Settings())) as backend:
        yield backend


@pytest.fixture
def client(redis_server) -> Iterator[redis.Redis]:
    with redis.Redis(port=redis_server.port) as client:
        yield client


def oldest(backend: Backend, queue: str = "mail") -> Age | None:
    return queue_in(backend.poll(Interest()), queue).oldest


def message(tag: object, size: int = 0) -> bytes:
    content = {"body": "x" * size, "properties": {"delivery_tag": str(tag)}}
    return json.dumps(content).encode()


def test_the_first_reading_has_an_age_already(celery, backend) -> None:
    celery.put("mail", 2, priority=3)
    celery.put("empty")
    with celery.holding("empty", 1):
        reading = settled(backend)

    assert queue_in(reading, "mail").oldest == Age(0.0, AgeKind.AT_LEAST)
    assert queue_in(reading, "empty").oldest is None


def test_a_queue_under_load_is_never_older_than_it_is(celery, backend, client) -> None:
    """Put at one end, taken at the other, over two priorities; and at most one look younger."""
    put_at: dict[bytes, float] = {}
    looks: list[tuple[float, float]] = []
    returned = message(0) + b" "
    compared = 0
    celery.put("mail")
    client.delete("mail")
    settled(backend)
    for number in range(120):
        key = ("mail", b"mail\x06\x163")[number % 2]
        put_at[message(number)] = time.monotonic()
        client.lpush(key, message(number))
        if number >= 20:
            client.rpop(key)
        if number == 60:
            # A worker that stops gives back what it had: at the tail, and marked.
            client.rpush("mail", returned)
            put_at[returned] = put_at[message(0)]
        if number % 3 == 0:
            began = time.monotonic()
            age = oldest(backend)
            looks.append((began, time.monotonic()))
            waiting = [*client.lrange("mail", 0, -1), *client.lrange(b"mail\x06\x163", 0, -1)]
            first = min(waiting, key=put_at.__getitem__)
            assert age.seconds <= looks[-1][1] - put_at[first]
            if first != returned:
                seen_by = next(end for begin, end in looks if begin >= put_at[first])
                assert age.seconds >= began - seen_by
                compared += 1

    assert compared > 30


def test_a_queue_nobody_takes_from_ages_by_the_clock(celery, backend, wait_until) -> None:
    celery.put("mail", 3)
    settled(backend)
    began = time.monotonic()
    wait_until(lambda: oldest(backend).seconds > 0.3)

    assert 0.3 < oldest(backend).seconds <= time.monotonic() - began + 0.5


def test_the_oldest_step_counts_and_others_do_not_hide_it(celery, backend, wait_until) -> None:
    celery.put("mail", 1, priority=9)
    settled(backend)
    wait_until(lambda: oldest(backend).seconds > 0.3)
    celery.put("mail", 5, priority=0)

    assert oldest(backend).seconds > 0.3


def test_a_queue_named_as_a_step_of_another_one_has_an_age(backend, client) -> None:
    """Both have one list, of which at one look only one thing is said."""
    step, separator = b"mail\x06\x163", b"\x06\x16"
    for queue in (b"mail", step):
        client.sadd(b"_kombu.binding.x", queue + separator * 2 + queue)
    ages = []
    for number in range(4):
        client.lpush(step, message(number))
        reading = settled(backend)
        assert queue_in(reading, "mail").by_priority == {0: 0, 3: number + 1}
        ages.append(queue_in(reading, step.decode()).oldest.seconds)

    assert ages == sorted(ages)
    assert ages[-1] > ages[0]


def test_markers_are_found_while_both_ends_change(celery, backend, client, wait_until) -> None:
    """The bound follows from a message in the middle of the list, which only LPOS can find."""
    celery.put("mail")
    client.delete("mail")
    for tag in ("a", "b", "seen"):
        client.lpush("mail", message(tag))
    settled(backend)
    wait_until(lambda: oldest(backend).seconds > 0.2)
    client.rpop("mail")
    client.lpush("mail", message("new"))

    assert oldest(backend).seconds > 0.2


def test_large_messages_are_left_alone(celery, backend, client) -> None:
    """On average, or met once: an element cannot be asked for its size."""
    celery.put("mail")
    celery.put("video")
    celery.put("mixed")
    settled(backend)
    client.delete("video")
    for number in range(4):
        client.lpush("video", message(number, 3_000_000))
    client.lpush("mixed", *(message(n) for n in range(5_000)))
    client.rpush("mixed", message("large", 5_000_000))
    backend.poll(Interest())
    client.config_resetstat()
    readings = [backend.poll(Interest()) for _ in range(3)]
    sent = client.info("stats")["total_net_output_bytes"]

    assert sent < 100_000
    assert [queue_in(readings[-1], name).oldest is None for name in ("mail", "mixed", "video")] == [
        *(False, True, True)
    ]
    why = "their messages are large, or broke the connection"
    assert readings[-1].warnings == (f"the age of messages is not read in 2 lists: {why}",)


def test_many_queues_take_turns(celery, backend, client, monkeypatch) -> None:
    monkeypatch.setattr(ages, "LISTS_PER_POLL", 3)
    for number in range(8):
        celery.put(f"q{number}")
    settled(backend)
    readings = [backend.poll(Interest()) for _ in range(6)]
    shown = [{q.name for q in reading.queues if q.oldest is not None} for reading in readings]

    assert {len(names) for names in shown} == {3}
    assert set.union(*shown) == {f"q{number}" for number in range(8)}
    assert readings[-1].warnings == ("ages are read in turns: 5 lists had to wait",)
    # What was seen before its last turn is remembered.
    assert all(q.oldest.seconds > 0 for q in readings[-1].queues if q.oldest is not None)


@pytest.mark.parametrize("missing", ["-lpos", "-memory|usage"])
def test_without_a_right_ages_are_less_or_none(make_redis, make_celery, missing) -> None:
    server = make_redis(
        *("--user", "mon", "on", ">hunter2", "~*", "&*"),
        *("+@read", "+@connection", "+psubscribe", missing),
    )
    make_celery(server.url).put("mail", 2)
    url = f"celery+redis://mon:hunter2@127.0.0.1:{server.port}/0"
    with closing(plugin.open(url, Settings())) as backend:
        settled(backend)
        make_celery(server.url).put("mail", 1)
        reading = backend.poll(Interest())

    mail = queue_in(reading, "mail")
    assert mail.depth == 3
    if missing == "-lpos":
        assert mail.oldest.seconds > 0
        assert reading.warnings == ("not permitted: LPOS",)
    else:
        assert mail.oldest is None
        assert set(reading.warnings) == {
            "the age of waiting messages is not known: the server refuses MEMORY USAGE",
            "not permitted: MEMORY USAGE",
        }
