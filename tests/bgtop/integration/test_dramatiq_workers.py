"""Dramatiq's workers, with and without the agent: who is one, and how alive."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path

import pytest
import redis

from bgtop.backends.dramatiq import plugin
from bgtop.contracts import Backend, Interest, Settings
from bgtop.model import Reading, WorkerReading, WorkerState
from bgtop.testing import queue_in, settled, wait_until

DEAD_AFTER = 8.0


@contextmanager
def opened(port: int, login: str = "") -> Iterator[Backend]:
    url = f"dramatiq+redis://{login}127.0.0.1:{port}/0"
    with closing(plugin.open(url, Settings(dead_after=DEAD_AFTER))) as backend:
        yield backend


def seen(
    backend: Backend, condition: Callable[[Reading], object], *, why: str, seconds: float = 30
) -> Reading:
    """The first reading of which the condition is true."""

    def fitting() -> Reading | None:
        reading = backend.poll(Interest())
        return reading if condition(reading) else None

    return wait_until(fitting, seconds=seconds, every=0.1, why=why)


def worker_in(reading: Reading, name: str) -> WorkerReading | None:
    return next((worker for worker in reading.workers if worker.name == name), None)


def test_an_idle_worker_is_told_from_those_who_only_enqueue(dramatiq, redis_server) -> None:
    """Both beat; the worker goes on while nobody enqueues."""
    name = dramatiq.start_worker("mail")
    dramatiq.put("other", 3, stays=True)
    with opened(redis_server.port) as backend:
        reading = settled(backend)
        assert {dramatiq.producer, name} <= dramatiq.members()
        assert [(w.name, w.state) for w in reading.workers] == [(name, WorkerState.IDLE)]
        dramatiq.put("other", 3, stays=True)
        reading = backend.poll(Interest())

    assert [worker.name for worker in reading.workers] == [name]
    age = datetime.now(timezone.utc) - reading.workers[0].last_heartbeat_at
    assert age.total_seconds() < DEAD_AFTER
    assert reading.warnings == ()


def test_a_busy_worker_is_active(dramatiq, redis_server, tmp_path) -> None:
    name = dramatiq.start_worker("mail")
    dramatiq.put("mail", actor="wait", args=(str(tmp_path / "go"),))
    with opened(redis_server.port) as backend:
        reading = seen(
            backend,
            lambda reading: [w.state for w in reading.workers] == [WorkerState.ACTIVE],
            why="the worker is active",
        )
        assert (reading.workers[0].name, queue_in(reading, "mail").unacked) == (name, 1)
        assert reading.workers[0].running is None
        (tmp_path / "go").touch()
        reading = seen(
            backend,
            lambda reading: [w.state for w in reading.workers] == [WorkerState.IDLE],
            why="the worker is idle",
        )

    assert queue_in(reading, "mail").unacked == 0


def test_a_killed_worker_is_dead_and_its_messages_stay_unacked(
    dramatiq, redis_server, tmp_path
) -> None:
    killed = dramatiq.start_worker("mail")
    lives = dramatiq.start_worker("other")
    dramatiq.put("mail", actor="wait", args=(str(tmp_path / "never"),))
    with opened(redis_server.port) as backend:
        seen(
            backend,
            lambda reading: len(reading.workers) == 2 and queue_in(reading, "mail").unacked == 1,
            why="both are seen",
        )
        dramatiq.kill(killed)
        reading = seen(
            backend,
            lambda reading: worker_in(reading, killed).state is WorkerState.DEAD,
            why="the killed one is dead",
        )

    assert worker_in(reading, lives).state is WorkerState.IDLE
    assert queue_in(reading, "mail").unacked == 1


def test_a_worker_that_died_before_we_came_is_known_by_what_it_holds(redis_server) -> None:
    """Until Dramatiq gives its messages back; who holds nothing may have been anybody."""
    holder, nobody = "1" * 36, "2" * 36
    long_ago = (time.time() - 500) * 1000
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        admin.zadd("dramatiq:__heartbeats__", {holder: long_ago, nobody: long_ago})
        admin.hset("dramatiq:mail.msgs", "id", "{}")
        admin.sadd(f"dramatiq:__acks__.{holder}.mail", "id")
        settled(backend)
        before = settled(backend)
        admin.delete(f"dramatiq:__acks__.{holder}.mail")
        admin.delete("dramatiq:mail.msgs")
        backend.poll(Interest())
        after = backend.poll(Interest())

    assert [(w.name, w.state) for w in before.workers] == [(holder, WorkerState.DEAD)]
    assert after.workers == ()


def test_hostile_heartbeats_do_no_harm(redis_server) -> None:
    """Scores, names and words of agents that nobody sane would write."""
    names = ["\x1b[2J" + "0" * 32, b"\xff" * 36, "", "x" * 1000, "f" * 36]
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        scores = (1e300, float("-inf"), float("inf"), -5, (time.time() - 20) * 1000)
        admin.zadd("dramatiq:__heartbeats__", dict(zip(names, scores, strict=True)))
        hostile = {"agent": "dramatiq", "pid": True, "threads": -1, "queues": [1, "q"], "host": 3}
        hostile |= {"started_at": 2**52, "current": [None, {"id": "x"}], "processed": 1e9}
        admin.set(f"dramatiq:__bgtop__.{'f' * 36}", json.dumps(hostile))
        admin.set(f"dramatiq:__bgtop__.{names[0]}", "x" * 2**20)
        settled(backend)
        reading = settled(backend)

    (worker,) = reading.workers
    assert (worker.name, worker.state) == ("f" * 36, WorkerState.DEAD)
    assert (worker.pid, worker.host, worker.concurrency, worker.processed) == (None,) * 4
    assert (worker.queues, worker.current) == (("q",), ())


# With the agent


def test_the_agent_tells_what_a_worker_runs_and_has_done(dramatiq, redis_server, tmp_path) -> None:
    name = dramatiq.start_worker("mail", "push", agent=True, threads=3)
    dramatiq.put("mail", 2)
    dramatiq.put("mail", actor="fail", args=())
    dramatiq.put("push", actor="wait", args=(str(tmp_path / "go"),))
    with opened(redis_server.port) as backend:
        reading = seen(
            backend,
            lambda reading: (
                [(w.processed, w.running) for w in reading.workers] == [(3, 1)]
                # Until the silence of this process tells that it is no worker.
                and queue_in(reading, "push").running is not None
            ),
            why="three have ended and one runs",
        )
        worker = reading.workers[0]
        (tmp_path / "go").touch()
        done = seen(
            backend,
            lambda reading: [(w.processed, w.running) for w in reading.workers] == [(4, 0)],
            why="all have ended",
        )

    assert (worker.name, worker.failed, worker.concurrency) == (name, 1, 3)
    assert (worker.host, worker.queues) == (socket.gethostname(), ("mail", "push"))
    assert os.path.exists(f"/proc/{worker.pid}")
    assert worker.version.startswith("dramatiq ")
    assert [task.name for task in worker.current] == ["wait"]
    assert worker.started_at <= worker.current[0].started_at <= datetime.now(timezone.utc)
    assert {q.name: (q.running, q.consumers) for q in reading.queues} == {
        "mail": (0, 1),
        "push": (1, 1),
    }
    assert done.workers[0].current == ()


def test_with_one_worker_that_says_nothing_running_is_unknown(dramatiq, redis_server) -> None:
    """A sum over some workers would be too small."""
    dramatiq.start_worker("mail", agent=True)
    dramatiq.start_worker("mail")
    with opened(redis_server.port) as backend:
        reading = seen(backend, lambda reading: len(reading.workers) == 2, why="both are seen")
        mail = queue_in(reading, "mail")

    assert (mail.running, mail.consumers) == (None, None)


def test_a_worker_that_leaves_in_good_order_is_gone_at_once(dramatiq, redis_server) -> None:
    """Without the agent it would look like a dead one until it is forgotten."""
    name = dramatiq.start_worker("mail", agent=True)
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:
        seen(backend, lambda reading: worker_in(reading, name), why="it is seen")
        alive = admin.ttl(f"dramatiq:__bgtop__.{name}")
        dramatiq.stop(name)
        backend.poll(Interest())
        reading = backend.poll(Interest())
        left = admin.ttl(f"dramatiq:__bgtop__.{name}")

    assert name in dramatiq.members()
    assert reading.workers == ()
    assert 0 < alive <= 30 < 60 < left <= 120


def test_a_process_that_only_enqueues_says_so(dramatiq, redis_server) -> None:
    """It never pauses, and is known at once not to be a worker that says nothing."""
    name = dramatiq.start_worker("mail", agent=True)
    dramatiq.add_agent()
    dramatiq.put("mail")
    with redis.Redis(port=redis_server.port) as admin, opened(redis_server.port) as backend:

        def known(reading: Reading) -> bool:
            dramatiq.put("mail")
            mail = queue_in(reading, "mail")
            return mail is not None and mail.consumers is not None

        reading = seen(backend, known, why="all workers speak")
        said = json.loads(admin.get(f"dramatiq:__bgtop__.{dramatiq.producer}"))

    assert [worker.name for worker in reading.workers] == [name]
    assert queue_in(reading, "mail").consumers == 1
    assert said == {"agent": "dramatiq", "worker": False}


@pytest.mark.same_python
def test_many_enqueues_are_one_word_of_the_agent(dramatiq, monkeypatch) -> None:
    """The path of a web request is no place for a second command each time."""
    from bgtop.agents.dramatiq import Agent

    written: list[object] = []
    monkeypatch.setattr(dramatiq.broker.client, "set", lambda *words, **_: written.append(words))
    dramatiq.broker.add_middleware(Agent())
    dramatiq.put("mail", 50)

    assert len(written) == 1


@pytest.mark.same_python
@pytest.mark.parametrize("broken", [ConnectionError("gone"), TypeError("odd")])
def test_what_the_agent_cannot_write_hurts_nobody(
    dramatiq, monkeypatch: pytest.MonkeyPatch, broken: Exception
) -> None:
    from dramatiq import Worker

    from bgtop.agents.dramatiq import Agent

    tried: list[object] = []

    def refuse(*arguments: object, **options: object) -> None:
        tried.append(arguments)
        raise broken

    monkeypatch.setattr(dramatiq.broker.client, "set", refuse)
    dramatiq.broker.add_middleware(Agent())
    dramatiq.broker.declare_queue("mail")
    worker = Worker(dramatiq.broker, worker_threads=1)
    worker.start()
    try:
        wait_until(lambda: tried)
    finally:
        worker.stop()

    assert len(tried) >= 2


@pytest.mark.same_python
def test_the_agent_does_without_redis(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Beside another broker it says so once, and does nothing."""
    from dramatiq import Worker
    from dramatiq.brokers.stub import StubBroker

    from bgtop.agents.dramatiq import Agent

    broker = StubBroker()
    broker.add_middleware(Agent())
    worker = Worker(broker, worker_threads=1)
    worker.start()
    worker.stop()

    assert [record.name for record in caplog.records if record.levelname == "WARNING"] == [
        "bgtop.agents.dramatiq"
    ]
