"""What bgtop says about real Celery workers and messages is what is really there."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from datetime import datetime, timezone

import pytest
import redis

from bgtop.backends.celery import plugin
from bgtop.backends.celery.roster import PATIENCE
from bgtop.backends.redis_search import SECONDS_BETWEEN_SMALL_PASSES
from bgtop.contracts import Backend, Interest, Settings
from bgtop.model import (
    UNKNOWN_RATES,
    Rates,
    Reading,
    Snapshot,
    Source,
    WorkerReading,
    WorkerState,
)
from bgtop.state.fold import Polled
from bgtop.state.intake import Selection
from bgtop.state.knowledge import Knowledge, learn
from bgtop.testing import queue_in, settled

HEARTBEAT = 2.0
POLITE = 0.1


@pytest.fixture
def backend(redis_server):
    with opened(redis_server.url) as backend:
        yield backend


@contextmanager
def opened(url: str, **settings: float):
    with closing(plugin.open(f"celery+{url}", Settings(**settings))) as backend:
        yield backend


def worker_in(reading: Reading, name: str) -> WorkerReading | None:
    return next((worker for worker in reading.workers if worker.name == name), None)


def worker_of(backend: Backend, name: str) -> WorkerReading | None:
    return worker_in(backend.poll(Interest()), name)


def heard(backend: Backend, name: str) -> WorkerReading | None:
    worker = worker_of(backend, name)
    return worker if worker is not None and worker.last_heartbeat_at is not None else None


def names(backend: Backend) -> list[str]:
    return [queue.name for queue in backend.poll(Interest()).queues]


def age(worker: WorkerReading) -> float:
    return (datetime.now(timezone.utc) - worker.last_heartbeat_at).total_seconds()


def test_numbers_are_exact_over_queues_priorities_and_consumers(celery, backend) -> None:
    put = {
        "mail": {0: 5, 3: 2, 6: 1, 9: 4},
        "video": {0: 0, 3: 7, 6: 0, 9: 1},
        "reports": {0: 3, 3: 0, 6: 2, 9: 0},
    }
    for queue, counts in put.items():
        for priority, count in counts.items():
            celery.put(queue, count, priority=priority)

    with celery.holding("mail", 3), celery.holding("reports", 4):
        reading = settled(backend)

    shown = {queue.name: (queue.depth, queue.unacked) for queue in reading.queues}
    assert shown == {"mail": (9, 3), "video": (8, 0), "reports": (1, 4)}
    assert reading.totals == {"unacked": 7}
    video = queue_in(reading, "video")
    assert video.by_priority == {0: 0, 3: 7, 9: 1}
    assert reading.warnings == ()


def test_every_priority_of_the_wire_is_counted(celery, make_celery, redis_server, backend) -> None:
    """Also those an application with finer steps uses, when they appear after the first look."""
    finer = make_celery(redis_server.url, priority_steps=list(range(10)))
    celery.put("mail")
    settled(backend)
    for priority in range(10):
        finer.put("mail", priority + 1, priority=priority)

    mail = queue_in(backend.poll(Interest()), "mail")

    assert mail.by_priority == {0: 2} | {priority: priority + 1 for priority in range(1, 10)}


def test_returned_messages_are_waiting_again(celery, backend) -> None:
    celery.put("mail", 4)
    with celery.holding("mail", 4):
        held = settled(backend)
    back = settled(backend)

    assert [queue_in(reading, "mail").depth for reading in (held, back)] == [0, 4]
    assert [reading.totals["unacked"] for reading in (held, back)] == [4, 0]


def test_a_worker_appears_within_a_heartbeat_and_a_clean_one_is_gone(
    celery, backend, wait_until
) -> None:
    node = celery.start_worker("w1", "mail", "video")
    wait_until(lambda: worker_of(backend, node), seconds=20, every=POLITE)
    announced_at = time.monotonic()
    worker = wait_until(lambda: heard(backend, node), every=POLITE)

    assert time.monotonic() - announced_at < HEARTBEAT + 1
    assert age(worker) < HEARTBEAT + 1
    assert (worker.state, worker.host) == (None, "test")
    assert worker.running == 0
    assert worker.version == f"celery {celery.version}"
    assert worker.pid == celery.pid(node)
    wait_until(lambda: names(backend) == ["mail", "video"], seconds=HEARTBEAT + 2, every=POLITE)

    celery.stop(node)
    wait_until(lambda: worker_of(backend, node) is None, seconds=2, every=POLITE)
    assert settled(backend).workers == ()


def test_what_the_workers_of_the_only_queue_process_are_its_rates(
    celery, backend, wait_until
) -> None:
    node = celery.start_worker("w1", "mail")
    wait_until(lambda: heard(backend, node), seconds=20, every=POLITE)
    source = Source(name="here", info=backend.info)
    known = Knowledge(snapshot=Snapshot(taken_at=datetime.now(timezone.utc), sources=(source,)))
    began = time.monotonic()

    def rates() -> Rates:
        nonlocal known
        reading, clock = backend.poll(Interest()), time.monotonic()
        sample = Polled(
            source="here", info=backend.info, reading=reading, clock=clock, poll_seconds=0.0
        )
        known = learn(known, sample, Selection())
        return known.rates.get(("here", "mail"), UNKNOWN_RATES)

    assert rates() == UNKNOWN_RATES
    celery.put("mail", 50)
    wait_until(lambda: (rates().out_per_second or 0) > 1, seconds=20, every=POLITE)

    found, passed = rates(), time.monotonic() - began
    assert found.are_estimates
    assert 5.0 < passed < 20.0
    assert found.out_per_second == pytest.approx(50 / passed, rel=0.1)
    assert found.in_per_second == pytest.approx(50 / passed, rel=0.1)


def test_running_and_processed_are_what_the_worker_does(celery, backend, wait_until) -> None:
    node = celery.start_worker("w1", "mail")
    wait_until(lambda: heard(backend, node), seconds=20, every=POLITE)
    celery.put("mail", 3)
    celery.put("mail", 2, task="wait")

    def busy() -> bool:
        worker = worker_of(backend, node)
        return (worker.running, worker.processed) == (1, 4)

    wait_until(busy, every=POLITE)
    # The task that runs acknowledges late, and fills the worker's prefetch.
    mail = queue_in(settled(backend), "mail")
    assert (mail.depth, mail.unacked) == (1, 1)
    celery.kill(node)


def test_a_killed_worker_falls_silent_and_is_dead_to_a_newcomer(
    celery, backend, redis_server, wait_until
) -> None:
    node = celery.start_worker("w1", "mail")
    wait_until(lambda: heard(backend, node), seconds=20, every=POLITE)
    with redis.Redis(port=redis_server.port) as client:
        wait_until(lambda: client.scard("_kombu.binding.celery.pidbox") == 1, every=POLITE)
    celery.kill(node)
    last = wait_until(lambda: heard(backend, node), every=POLITE).last_heartbeat_at

    with opened(redis_server.url, dead_after=3) as newcomer:
        first = newcomer.poll(Interest())
        began = time.monotonic()
        assert (worker_in(first, node).state, first.complete) == (WorkerState.UNKNOWN, False)

        wait_until(lambda: worker_of(newcomer, node).state is WorkerState.DEAD, every=POLITE)
        assert 2.5 < time.monotonic() - began < 4.5
        wait_until(lambda: newcomer.poll(Interest()).complete, every=POLITE)
        assert PATIENCE - 0.5 < time.monotonic() - began < PATIENCE + 1

    silent = worker_of(backend, node)
    assert silent.state is None
    assert silent.last_heartbeat_at == last
    assert age(silent) > 3


def test_a_restarted_worker_is_one_worker(celery, backend, wait_until) -> None:
    node = celery.start_worker("w1", "mail")
    first = wait_until(lambda: heard(backend, node), seconds=20, every=POLITE)
    celery.stop(node)
    wait_until(lambda: worker_of(backend, node) is None, seconds=2, every=POLITE)
    celery.start_worker("w1", "mail")
    second = wait_until(lambda: heard(backend, node), seconds=20, every=POLITE)

    assert second.pid != first.pid
    assert len(backend.poll(Interest()).workers) == 1


def test_workers_come_back_after_a_restart_of_the_broker(
    celery, redis_server, backend, wait_until
) -> None:
    node = celery.start_worker("w1", "mail")
    before = wait_until(lambda: heard(backend, node), seconds=20, every=POLITE)
    redis_server.stop()
    redis_server.start()

    def heard_again() -> bool:
        worker = worker_of(backend, node)
        return worker is not None and worker.last_heartbeat_at > before.last_heartbeat_at

    wait_until(heard_again, seconds=20, every=POLITE)


def test_a_key_prefix_is_not_a_part_of_the_names(make_celery, redis_server, wait_until) -> None:
    app = make_celery(redis_server.url, prefix="[shop]*:")
    app.put("mail", 2, priority=3)
    node = app.start_worker("w1", "video")
    with opened(redis_server.url) as backend, app.holding("mail", 1):
        wait_until(lambda: heard(backend, node), seconds=20, every=POLITE)
        wait_until(lambda: names(backend) == ["mail", "video"], seconds=HEARTBEAT + 2, every=POLITE)
        mail = queue_in(settled(backend), "mail")

    assert (mail.depth, mail.unacked) == (1, 1)


def test_two_applications_in_one_database_are_told_apart(
    celery, make_celery, redis_server, backend
) -> None:
    other = make_celery(redis_server.url, prefix="shop:")
    celery.put("mail", 1)
    other.put("mail", 2)
    with celery.holding("mail", 1), other.holding("mail", 1):
        reading = settled(backend)

    found = [(queue.name, queue.depth, queue.unacked) for queue in reading.queues]
    assert found == [("mail", 0, 1), ("shop:mail", 1, 1)]
    assert reading.totals == {"unacked": 2}


def test_a_separator_of_the_application_is_learnt(make_celery, redis_server, backend) -> None:
    app = make_celery(redis_server.url, sep=":")
    app.put("mail", 1)
    app.put("mail", 2, priority=6)
    app.put("my:own", 3, priority=9)

    reading = settled(backend)

    assert {queue.name: queue.by_priority for queue in reading.queues} == {
        "mail": {0: 1, 6: 2},
        "my:own": {0: 0, 9: 3},
    }


def test_a_topic_delivery_counts_for_the_queue_it_was_routed_to(celery, backend) -> None:
    celery.put_topic("news", "sport.#", "football", "sport.world.cup")
    with celery.holding("football", 1):
        football = queue_in(settled(backend), "football")

    assert (football.depth, football.unacked) == (0, 1)


def test_internal_queues_are_shown_when_asked_for(celery, backend, wait_until) -> None:
    node = celery.start_worker("w1", "mail")
    wait_until(lambda: heard(backend, node), seconds=20, every=POLITE)

    def internal() -> set[str]:
        queues = backend.poll(Interest(internal=True)).queues
        return {queue.name.partition(".")[0] for queue in queues if queue.internal}

    # The last of them is bound some time after the first heartbeat; a later pass finds it.
    later = SECONDS_BETWEEN_SMALL_PASSES + 5
    wait_until(lambda: internal() == {"w1@test", "celeryev"}, seconds=later, every=POLITE)
    assert names(backend) == ["mail"]
    celery.kill(node)


def test_a_queue_nobody_declared_is_found_by_its_messages(redis_server, backend) -> None:
    with redis.Redis(port=redis_server.port) as producer:
        producer.lpush(b"foreign\x06\x163", b"{}")
    settled(backend)

    assert queue_in(settled(backend), "foreign").by_priority == {0: 0, 3: 1}


def test_a_key_of_another_type_is_named_and_hides_nothing(celery, redis_server, backend) -> None:
    celery.put("mail", 2)
    celery.put("video", 1)
    with redis.Redis(port=redis_server.port) as client:
        client.delete("mail")
        client.set("mail", "something else")
    reading = settled(backend)

    assert [(queue.name, queue.depth) for queue in reading.queues] == [("mail", None), ("video", 1)]
    assert reading.warnings == ("the key 'mail' is not a list, so its depth is unknown",)


def test_large_messages_are_never_fetched(celery, redis_server, backend) -> None:
    with redis.Redis(port=redis_server.port) as client:
        celery.put("mail", 1)
        for number in range(3):
            client.hset("unacked", f"tag{number}", b"x" * 5_000_000 + b', "", "mail"]')
            client.zadd("unacked_index", {f"tag{number}": time.time()})
        client.config_resetstat()
        reading = settled(backend)
        sent = client.info("stats")["total_net_output_bytes"]

    assert reading.totals == {"unacked": 3}
    assert queue_in(reading, "mail").unacked is None
    assert reading.warnings == ("3 unacknowledged messages are too large or of no single queue",)
    assert sent < 50_000


def test_many_deliveries_are_only_counted(celery, redis_server, backend) -> None:
    celery.put("mail", 1)
    with redis.Redis(port=redis_server.port) as client:
        tags = {f"tag{number}": time.time() for number in range(1500)}
        client.zadd("unacked_index", tags)
        client.hset("unacked", mapping=dict.fromkeys(tags, '[{}, "", "mail"]'))
        many = settled(backend)
        for tag in list(tags)[900:]:
            client.zrem("unacked_index", tag)
            client.hdel("unacked", tag)
        settled(backend)
        fewer = settled(backend)

    assert (many.totals["unacked"], queue_in(many, "mail").unacked) == (1500, None)
    assert "1500 messages are unacknowledged" in many.warnings[0]
    assert (queue_in(fewer, "mail").unacked, fewer.warnings) == (900, ())
