"""What bgtop counts of real Celery events is what really happened."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import closing, contextmanager

import redis
from celery_events import (
    LOST,
    MIX,
    RECEIVED,
    SENT,
    STARTED,
    SUCCEEDED,
    check_mix,
    counted,
    events,
    followed,
    in_flight,
    send_mix,
    start_worker,
    totals,
    until,
)
from door import Door
from redis_checks import commands_of_bgtop
from redis_server import free_port

from bgtop.backends.celery import event_demand, plugin
from bgtop.backends.celery.wire import worker_events
from bgtop.contracts import BackendError, Interest, Settings
from bgtop.state.task_figures import figures_by_task
from bgtop.testing import wait_until

ENDED = sum(counts[RECEIVED] for counts in MIX.values())


@contextmanager
def following(url: str, **settings: float):
    with (
        closing(plugin.open(f"celery+{url}", Settings(**settings))) as backend,
        followed(backend),
    ):
        yield backend


def has_ended(count: int):
    return lambda reading: in_flight(reading) == 0 and totals(reading)[RECEIVED] >= count


def test_every_outcome_is_counted_exactly(celery, redis_server, tmp_path) -> None:
    with following(redis_server.url) as backend:
        start_worker(celery)
        send_mix(celery, tmp_path)
        reading = until(backend, has_ended(ENDED))
        figures = {one.name: one for one in figures_by_task(backend.poll(Interest(events=True)))}

    check_mix(reading)
    again = figures["again"]
    assert (again.running, again.succeeded, again.failed) == (0, 2, 0)
    assert again.runtime_p95_seconds is not None


def test_what_a_killed_worker_held_is_lost(celery, redis_server, tmp_path) -> None:
    note = tmp_path / "held"
    with following(redis_server.url, dead_after=5.0) as backend:
        node = start_worker(celery)
        celery.send("mail", "hold", str(note))
        until(backend, lambda reading: totals(reading)[STARTED] == 1)
        celery.kill(node)
        reading = until(backend, lambda reading: totals(reading)[LOST])

        assert counted(reading) == {("hold", "mail"): {SENT: 1, RECEIVED: 1, STARTED: 1, LOST: 1}}
        assert in_flight(reading) == 0


def test_a_worker_that_says_good_bye_still_ends_what_it_runs(celery, redis_server) -> None:
    """Celery says worker-offline at the beginning of a warm shutdown, not at its end."""
    with following(redis_server.url) as backend:
        node = start_worker(celery)
        celery.send("mail", "wait", 3)
        until(backend, lambda reading: totals(reading)[STARTED] == 1)
        celery.stop(node)
        reading = until(backend, has_ended(1))

    assert counted(reading)["wait", "mail"][SUCCEEDED] == 1
    assert totals(reading)[LOST] == 0


def hears(backend) -> bool:
    """Whether nothing keeps events from us."""
    try:
        told = backend.poll(Interest(events=True)).warnings
    except BackendError:
        return False
    return not [warning for warning in told if "no task events" in warning]


def test_counts_outlive_the_server_and_only_grow(celery, redis_server, tmp_path) -> None:
    with following(redis_server.url) as backend:
        node = start_worker(celery)
        send_mix(celery, tmp_path)
        before = until(backend, has_ended(ENDED))
        celery.kill(node)
        redis_server.stop()
        redis_server.start()
        wait_until(lambda: hears(backend), seconds=30, why="the server is listened to again")
        start_worker(celery, "w2")
        celery.put("mail", 4)
        after = until(backend, has_ended(ENDED + 4))

    assert after.since == before.since
    gained = totals(after) - totals(before)
    assert gained[SUCCEEDED] >= 4
    assert not totals(before) - totals(after), "a count went back"


def beats(server, node: str):
    """The numbers of tasks begun that the heartbeats of a worker tell from now on."""
    with redis.Redis(port=server.port) as client, client.pubsub() as channel:
        channel.psubscribe("/0.celeryev/worker.heartbeat")
        for message in channel.listen():
            if message["type"] == "pmessage":
                [event] = worker_events(message["data"])
                if event.node == node and event.processed is not None:
                    yield event.processed


def test_what_was_said_while_nobody_listened_is_missed(celery, redis_server) -> None:
    """At least as much as the worker's own count proves, and never more than there was."""
    door = Door(free_port(), redis_server.port)
    door.open()
    try:
        with following(f"redis://127.0.0.1:{door.port}/0") as backend:
            node = start_worker(celery)
            celery.put("mail", 5)
            until(backend, has_ended(5))
            told = beats(redis_server, node)
            assert [next(told), next(told)] == [5, 5]
            assert events(backend).missed == 0
            door.shut()
            celery.put("mail", 7)
            next(count for count in told if count == 12)
            door.open()
            reading = until(backend, lambda reading: reading.missed, why="it is missed")

            assert reading.missed == 7
            assert totals(reading)[SUCCEEDED] == 5
            celery.put("mail", 3)
            until(backend, lambda reading: totals(reading)[SUCCEEDED] == 8)
            assert [next(count for count in told if count == 15) for _ in range(3)]
            assert events(backend).missed == 7
    finally:
        door.shut()


def test_listening_is_all_it_does(celery, redis_server) -> None:
    from bgtop.backends.celery.redis_events import listener
    from bgtop.backends.redis_url import parse_redis_url

    start_worker(celery)
    with commands_of_bgtop(redis_server.port) as names:
        address = parse_redis_url(redis_server.url)
        with closing(listener(address, b"/0.celeryev", Settings(), lambda: [b""])) as one:
            celery.put("mail", 3)
            wait_until(lambda: (found := one.reading()) and totals(found)[SUCCEEDED])

    # Its name is the first thing that MONITOR shows us to be ours.
    assert names == {"CLIENT", "PSUBSCRIBE"}


def test_nothing_runs_unless_it_is_asked_for(redis_server, monkeypatch) -> None:
    def listeners() -> list[str]:
        return [each.name for each in threading.enumerate() if each.name == "celery-events"]

    with closing(plugin.open(f"celery+{redis_server.url}", Settings())) as backend:
        assert backend.poll(Interest()).events is None
        assert listeners() == []
        backend.poll(Interest(events=True))
        assert len(listeners()) == 1
        monkeypatch.setattr(event_demand, "REST_AFTER", 0.0)
        assert backend.poll(Interest()).events is None
        assert listeners() == []
        monkeypatch.undo()
        backend.poll(Interest(events=True))
    assert listeners() == []


def test_watching_loads_nothing_of_it(redis_server) -> None:
    program = """
import sys
from bgtop.contracts import Interest, Settings
from bgtop.registry import open_backend, plugin_for
for system in "celery", "rq", "huey", "dramatiq":
    url = f"{system}+{sys.argv[1]}"
    backend = open_backend(plugin_for(url), url, Settings())
    backend.poll(Interest())
    backend.close()
print([name for name in sys.modules if "task_events" in name or "state.event" in name])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, redis_server.url],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_who_may_not_listen_is_told_so(redis_server) -> None:
    with redis.Redis(port=redis_server.port) as admin:
        admin.acl_setuser(
            "watcher", enabled=True, passwords="+pw", commands=["+@all"], keys=["*"], channels=[]
        )
    url = redis_server.url.replace("//", "//watcher:pw@")
    with closing(plugin.open(f"celery+{url}", Settings())) as backend:
        wait_until(
            lambda: [
                words
                for words in backend.poll(Interest(events=True)).warnings
                if words.startswith("no task events: the server does not let us")
            ]
        )
        assert backend.poll(Interest(events=True)).events is None
