"""The agent inside real Huey consumers: what bgtop then knows, and that tasks never notice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone

import pytest
import redis

from bgtop.agents.huey import attach
from bgtop.backends.huey import plugin
from bgtop.contracts import Backend, Interest, Settings
from bgtop.model import WorkerReading
from bgtop.task_events import EventKind
from bgtop.testing import wait_until

PATIENCE = 20.0


@pytest.fixture
def backend(redis_server) -> Iterator[Backend]:
    with closing(plugin.open(f"huey+{redis_server.url}", Settings())) as backend:
        yield backend


def workers(backend: Backend) -> list[WorkerReading]:
    """Those with an agent, alive."""
    return [w for w in backend.poll(Interest()).workers if w.host is not None]


def seen(
    backend: Backend, what: Callable[[WorkerReading], bool], why: str, count: int = 1
) -> list[WorkerReading]:
    """The workers, once there are ``count`` and this holds for each."""

    def found() -> list[WorkerReading] | None:
        now = workers(backend)
        return now if len(now) == count and all(map(what, now)) else None

    return wait_until(found, seconds=PATIENCE, why=why)


def test_a_consumer_tells_what_it_runs_and_what_it_ran(
    redis_server, make_huey: Callable, backend: Backend
) -> None:
    huey = make_huey("RedisHuey", redis_server.url)
    consumer = huey.start_consumer("mail", "-w", "2", agent=True)
    huey.put("mail", 2)
    huey.put("mail", 1, task="fails")
    huey.put("mail", 1, task="retries")
    backend.poll(Interest(events=True))
    (worker,) = seen(backend, lambda w: w.processed == 5, "five runs, one of them a second try")
    now = datetime.now(timezone.utc)

    assert (worker.failed, worker.running, worker.current) == (1, 0, ())
    events = backend.poll(Interest(events=True)).events
    assert events is not None
    assert events.kinds == {
        *(EventKind.SUCCEEDED, EventKind.FAILED, EventKind.RETRIED, EventKind.REVOKED),
    }
    assert {(one.queue, one.counts[EventKind.FAILED]) for one in events.series if one.task} >= {
        ("mail", 1),
    }
    assert (worker.pid, worker.concurrency, worker.queues) == (consumer.pid, 2, ("mail",))
    assert worker.version is not None
    assert worker.version.startswith("huey ")
    assert worker.started_at is not None
    assert worker.last_heartbeat_at is not None
    assert timedelta(seconds=-1) < now - worker.last_heartbeat_at < timedelta(seconds=15)
    assert timedelta(seconds=-1) < now - worker.started_at < timedelta(seconds=60)

    huey.put("mail", 1, task="waits")
    (worker,) = seen(backend, lambda w: w.running == 1, "one task runs")
    assert worker.current is not None
    assert [task.name for task in worker.current] == ["waits"]
    huey.release()
    seen(backend, lambda w: w.processed == 6 and not w.current, "it has ended")


def test_a_consumer_that_stops_is_off_the_list_at_once(
    redis_server, admin: redis.Redis, make_huey: Callable, backend: Backend
) -> None:
    huey = make_huey("PriorityRedisHuey", redis_server.url)
    consumer = huey.start_consumer("mail", agent=True)
    (worker,) = seen(backend, lambda w: True, "the consumer")
    assert admin.ttl(f"bgtop:huey:{worker.name}") in range(1, 16)
    huey.stop(consumer)

    assert backend.poll(Interest()).workers == ()
    assert admin.keys("bgtop:*") == []


def test_a_consumer_that_is_killed_stays_with_the_last_that_was_heard(
    redis_server, admin: redis.Redis, make_huey: Callable, backend: Backend
) -> None:
    huey = make_huey("RedisHuey", redis_server.url)
    consumer = huey.start_consumer("mail", agent=True)
    (alive,) = seen(backend, lambda w: True, "the consumer")
    os.killpg(consumer.pid, signal.SIGKILL)
    consumer.wait()
    # Instead of the fifteen seconds until it expires.
    admin.delete(f"bgtop:huey:{alive.name}")

    (dead,) = [w for w in backend.poll(Interest()).workers if w.name == alive.name]
    assert (dead.host, dead.running, dead.state) == (None, None, None)
    assert dead.last_heartbeat_at is not None


def test_a_huey_that_does_not_tell_when_it_stops_can_have_the_agent() -> None:
    """Huey 2.0 has no hook for that; the hash expires."""

    class Huey20:
        def __init__(self) -> None:
            self.hooks: list[str] = []

        def on_startup(self, name: str) -> Callable:
            return lambda function: self.hooks.append(function.__name__)

        def signal(self) -> Callable:
            return lambda function: self.hooks.append(function.__name__)

    huey = Huey20()
    attach(huey)

    assert huey.hooks == ["enter", "hear"]


def test_each_worker_process_has_an_agent_of_its_own(
    redis_server, make_huey: Callable, backend: Backend
) -> None:
    huey = make_huey("RedisHuey", redis_server.url)
    huey.start_consumer("mail", "-w", "2", "-k", "process", agent=True)
    huey.put("mail", 4)
    found = seen(backend, lambda w: w.concurrency == 1, "two processes", count=2)

    assert len({worker.pid for worker in found}) == 2
    wait_until(
        lambda: sum(w.processed or 0 for w in workers(backend)) == 4,
        seconds=PATIENCE,
        why="four tasks have run",
    )


def test_tasks_run_also_where_the_agent_cannot_write(
    make_redis: Callable, make_huey: Callable, admin: redis.Redis
) -> None:
    server = make_redis("--user", "default", "on", "nopass", "~huey.*", "&*", "+@all")
    huey = make_huey("RedisHuey", server.url)
    huey.start_consumer("mail", agent=True)
    huey.put("mail", 3)
    with redis.Redis(port=server.port) as plain:
        wait_until(
            lambda: plain.hlen("huey.results.mail") == 3, seconds=PATIENCE, why="three results"
        )
    log = (huey.folder / "consumer.log").read_text()

    assert log.count("bgtop's agent cannot write") == 1


def test_hashes_that_no_agent_wrote_are_no_workers(admin: redis.Redis, backend: Backend) -> None:
    admin.zadd("bgtop:huey", {"text": 1, "junk": 1, "for ever": 1, "\x1b[31m": float("inf")})
    admin.set("bgtop:huey:text", "x")
    admin.hset("bgtop:huey:junk", "queue", "x" * 1_000_000)
    admin.hset("bgtop:huey:for ever", mapping={"queue": "mail", "ttl": "15"})

    assert backend.poll(Interest()).workers == ()


def test_the_agent_costs_an_application_next_to_nothing_to_import() -> None:
    """It is Huey that imports Redis, and nothing of bgtop is needed."""
    code = "import sys; import bgtop.agents.huey; print(*(m for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())

    assert {name for name in loaded if name.startswith("bgtop")} == {
        *("bgtop", "bgtop.agents", "bgtop.agents.huey")
    }
    assert loaded.isdisjoint({"huey", "redis", "hiredis", "asyncio", "ssl", "sqlite3"})
