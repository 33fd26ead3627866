"""At an address that names no system one search reads the names of keys, and all are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing

import pytest
import redis

from bgtop.backends.redis_search import KEYS_PER_SCAN, SharedSearch
from bgtop.cli.feeds import open_feeds
from bgtop.config import Config, SourceSpec
from bgtop.contracts import Backend, Interest, Settings
from bgtop.registry import open_backend, plugin_for
from bgtop.sampler import Feed, Found

KEYS = 30_000
LATE = {
    "celery": ("SADD", "_kombu.binding.late", "late\x06\x16\x06\x16late"),
    "dramatiq": ("RPUSH", "dramatiq:late.msgs", "x"),
    "huey": ("RPUSH", "huey.redis.late", "x"),
    "rq": ("RPUSH", "rq:queue:late", "x"),
}
"""A queue of each system that only a search of the names finds."""

READS = {
    *("AUTH", "HELLO", "CLIENT", "SELECT", "TIME", "DBSIZE", "SCAN", "TYPE", "EXISTS", "INFO"),
    *("LLEN", "LINDEX", "LRANGE", "LPOS", "MEMORY", "SMEMBERS", "HLEN", "HGET", "HMGET"),
    *("HSTRLEN", "GETRANGE", "ZCARD", "ZCOUNT", "ZRANGE", "ZREVRANGE", "ZRANGEBYSCORE"),
    *("PSUBSCRIBE", "PUBSUB", "PTTL", "PING"),
}


@pytest.fixture
def place(celery, rq, dramatiq, make_huey, redis_server) -> str:
    """Four systems between foreign keys."""
    celery.put("mail")
    dramatiq.put("mail", stays=True)  # its namespace is known by who beats in it
    rq.put("mail")
    make_huey("RedisHuey", redis_server.url).put("mail")
    with redis.Redis(port=redis_server.port) as admin:
        admin.mset({f"shop:session:{number}": "" for number in range(KEYS)})
    return redis_server.url


class Watching:
    """All sources of a place, polled in turn as samplers do."""

    def __init__(self, url: str) -> None:
        config = Config(sources=(SourceSpec(name="here", url=url),))
        [self._explorer] = open_feeds(config)
        self.feeds: dict[str, Feed] = {}

    def look(self) -> dict[str | None, set[str]]:
        """The queues of each system after one more poll of everybody."""
        complete = self._explorer.backend.poll(Interest()).complete
        for found in self._explorer.newly_found():
            self._join(found)
        self.complete = complete
        queues: dict[str | None, set[str]] = {}
        for feed in self.feeds.values():
            reading = feed.backend.poll(Interest())
            self.complete = self.complete and reading.complete
            queues[feed.backend.info.system] = {queue.name for queue in reading.queues}
        return queues

    def _join(self, found: Found) -> None:
        feed = found.open()
        assert feed is not None
        self.feeds[feed.key] = feed

    def close(self) -> None:
        for feed in (self._explorer, *self.feeds.values()):
            feed.backend.close()


def settled(watching: Watching) -> dict[str | None, set[str]]:
    queues = watching.look()
    while not watching.complete:
        queues = watching.look()
    return queues


def test_each_system_is_told_what_it_looks_for(
    place: str, redis_server, wait_until: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SharedSearch.__init__, "__defaults__", (0.05,))  # seconds between passes
    with closing(Watching(place)) as watching, redis.Redis(port=redis_server.port) as admin:
        assert settled(watching) == {system: {"mail"} for system in LATE}
        for command in LATE.values():
            admin.execute_command(*command)
        wait_until(
            lambda: watching.look() == {system: {"mail", "late"} for system in LATE},
            seconds=30,
            why="a later pass tells of the new queues",
        )


def test_names_are_read_by_one_connection_and_nothing_is_written(place: str, redis_server) -> None:
    """Each name twice at most until everybody knows all: for the systems, and for their queues."""
    sent: Counter[str] = Counter()
    scanning: set[str] = set()
    with redis.Redis(port=redis_server.port) as admin, admin.monitor() as monitor:
        with closing(Watching(place)) as watching:
            settled(watching)
        admin.echo("end")
        for entry in monitor.listen():
            if entry["command"].startswith("ECHO"):
                break
            sent[entry["command"].split()[0].upper()] += 1
            if entry["command"].upper().startswith("SCAN"):
                scanning.add(f"{entry['client_address']}:{entry['client_port']}")
        steps = -(-admin.dbsize() // KEYS_PER_SCAN)

    assert set(sent) - READS == set()
    assert len(scanning) == 1
    assert steps / 2 < sent["SCAN"] <= 2.2 * steps


def test_a_system_named_in_the_address_searches_by_itself(place: str, redis_server) -> None:
    for system in LATE:
        url = f"{system}+{place}"
        with closing(open_backend(plugin_for(url), url, Settings())) as backend:
            assert whole(backend) == {"mail"}


def whole(backend: Backend) -> set[str]:
    reading = backend.poll(Interest())
    while not reading.complete:
        reading = backend.poll(Interest())
    return {queue.name for queue in reading.queues}
