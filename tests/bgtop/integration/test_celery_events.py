"""What bgtop counts of real Celery events is what really happened."""

from __future__ import annotations

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
    followed,
    in_flight,
    send_mix,
    start_worker,
    totals,
    until,
)
from redis_checks import commands_of_bgtop

from bgtop.backends.celery import event_demand, plugin
from bgtop.contracts import Interest, Settings
from bgtop.testing import wait_until

ENDED = sum(counts[RECEIVED] for counts in MIX.values())


@contextmanager
def following(url: str, **settings: float):
    with closing(plugin.open(f"celery+{url}", Settings(**settings))) as backend:
        with followed(backend):
            yield backend


def has_ended(count: int):
    return lambda reading: in_flight(reading) == 0 and totals(reading)[RECEIVED] >= count


def test_every_outcome_is_counted_exactly(celery, redis_server, tmp_path) -> None:
    with following(redis_server.url) as backend:
        start_worker(celery)
        send_mix(celery, tmp_path)
        reading = until(backend, has_ended(ENDED))

    check_mix(reading)


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
    with following(redis_server.url, dead_after=5.0) as backend:
        node = start_worker(celery)
        celery.send("mail", "wait", 3)
        until(backend, lambda reading: totals(reading)[STARTED] == 1)
        celery.stop(node)
        reading = until(backend, has_ended(1))

    assert counted(reading)["wait", "mail"][SUCCEEDED] == 1
    assert totals(reading)[LOST] == 0


def test_counts_outlive_the_server_and_only_grow(celery, redis_server, tmp_path) -> None:
    with following(redis_server.url) as backend:
        start_worker(celery)
        send_mix(celery, tmp_path)
        before = until(backend, has_ended(ENDED))
        redis_server.stop()
        redis_server.start()
        until(backend, lambda reading: True, why="the server is read again")
        celery.put("mail", 4)
        after = until(backend, has_ended(ENDED + 4))

    assert after.since == before.since
    gained = totals(after) - totals(before)
    assert gained[SUCCEEDED] >= 4
    assert not totals(before) - totals(after), "a count went back"


def test_what_was_said_while_nobody_listened_is_missed(celery, redis_server) -> None:
    """At least as much as a worker's own count proves, and never more than there was."""
    with redis.Redis(port=redis_server.port) as admin, following(redis_server.url) as backend:
        start_worker(celery)
        for count in (5, 10):
            celery.put("mail", 5)
            until(backend, has_ended(count))
            after_heartbeats(backend, 2)
        admin.client_kill_filter(_type="pubsub", skipme=True)
        for word in ("off", "on"):
            # Nobody may listen anew while five more are done.
            admin.execute_command("ACL", "SETUSER", "bgtop", word)
            if word == "off":
                celery.put("mail", 5)
        reading = until(backend, lambda reading: totals(reading)[RECEIVED] >= 10)
        after_heartbeats(backend, 3)

    assert reading.missed == 0


def test_listening_is_all_it_does(celery, redis_server) -> None:
    from bgtop.backends.celery.redis_events import listener
    from bgtop.backends.redis_url import parse_redis_url

    start_worker(celery)
    with commands_of_bgtop(redis_server.port) as names:
        address = parse_redis_url(redis_server.url)
        with closing(listener(address, b"/0.celeryev", Settings(), lambda: [b""])) as one:
            celery.put("mail", 3)
            wait_until(lambda: (found := one.reading()) and totals(found)[SUCCEEDED])

    assert names == {"HELLO", "CLIENT", "PSUBSCRIBE"}


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
