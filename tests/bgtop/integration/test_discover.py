"""What lives at a Redis whose URL names no job system: found, kept apart, and not harmed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
import redis
from old_redis import old_redis
from redis_checks import commands_of_bgtop

from bgtop.backends.redis_search import STEPS_OF_FIRST_POLLS
from bgtop.cli.feeds import open_feeds
from bgtop.config import Config, SourceSpec
from bgtop.contracts import Interest, NotPermitted, Prober, Settings
from bgtop.model import Frame, Reading, WorkerState
from bgtop.oneshot import Wanted, take_frame
from bgtop.registry import broker_for, marks_for, open_prober

KEYS = 1_000_000
READS = {"AUTH", "HELLO", "CLIENT", "SELECT", "DBSIZE", "SCAN", "TYPE"}


@contextmanager
def probing(url: str) -> Iterator[Prober]:
    broker = broker_for(url)
    assert broker is not None
    marks = marks_for(broker, url).by_backend
    with closing(open_prober(broker, url, Settings(), marks)) as prober:
        yield prober


def looked(prober: Prober) -> Reading:
    """The reading after one whole pass."""
    reading = prober.poll(Interest())
    while not reading.complete:
        reading = prober.poll(Interest())
    return reading


def found_at(url: str) -> set[str]:
    with probing(url) as prober:
        looked(prober)
        return {finding.backend for finding in prober.found}


def frame_at(*urls: str) -> Frame:
    specs = [SourceSpec(name=url.rpartition("@")[2], url=url) for url in urls]
    config = Config(sources=tuple(specs))
    return take_frame(open_feeds(config), config, Wanted(), report=pytest.fail)


def systems(frame: Frame) -> list[str | None]:
    return [source.info.system for source in frame.snapshot.sources]


def test_all_systems_of_a_place_are_sources_of_their_own(
    celery, rq, dramatiq, arq, make_huey, redis_server
) -> None:
    """Each has a queue of its own, most of one name, with as many jobs as it was given."""
    arq.put("arq:queue", 6)
    celery.put("default", 2)
    dramatiq.put("default", 3)
    make_huey("RedisHuey", redis_server.url).put("default", 4)
    rq.put("default", 5)

    frame = frame_at(redis_server.url)

    depths = {
        source.info.system: [(queue.name, queue.depth) for queue in source.reading.queues]
        for source in frame.snapshot.sources
        if source.reading is not None
    }
    assert systems(frame) == ["arq", "celery", "dramatiq", "huey", "rq"]
    assert depths == {
        "arq": [("arq:queue", 6)],
        "celery": [("default", 2)],
        "dramatiq": [("default", 3)],
        "huey": [("default", 4)],
        "rq": [("default", 5)],
    }
    assert {source.name for source in frame.snapshot.sources} == {redis_server.url}
    assert len({source.key for source in frame.snapshot.sources}) == 5


def test_internal_queues_are_shown_on_request(
    celery, rq, dramatiq, make_huey, redis_server, wait_until
) -> None:
    celery.start_worker("w", "mail")
    dramatiq.put("mail", delay=60_000)
    make_huey("RedisHuey", redis_server.url).put("mail", delay=60)
    rq.put("mail")
    rq.redis.rpush("rq:queue:mail:intermediate", "job")

    wait_until(
        lambda: ("celery", "w@test.celery.pidbox", True) in queues_at(redis_server.url, True),
        seconds=30,
        why="the worker has a mailbox",
    )
    usual, everything = [queues_at(redis_server.url, internal) for internal in (False, True)]

    assert usual == {(system, "mail", False) for system in ("celery", "dramatiq", "huey", "rq")}
    assert {(system, internal) for system, _, internal in everything - usual} == {("celery", True)}


def queues_at(url: str, internal: bool) -> set[tuple[str | None, str, bool]]:
    config = Config(sources=(SourceSpec(name="h", url=url),), show_internal=internal)
    frame = take_frame(open_feeds(config), config, Wanted(), report=pytest.fail)
    return {
        (source.info.system, queue.name, queue.internal)
        for source in frame.snapshot.sources
        if source.reading is not None
        for queue in source.reading.queues
    }


def test_one_system_named_is_one_source(celery, rq, redis_server) -> None:
    celery.put("default")
    rq.put("default")

    assert systems(frame_at(f"rq+{redis_server.url}")) == ["rq"]


@pytest.mark.parametrize(
    ("kind", "priority"), [("RedisHuey", 0), ("PriorityRedisHuey", 3), ("RedisExpireHuey", 0)]
)
def test_every_kind_of_huey(make_huey, redis_server, kind: str, priority: int) -> None:
    make_huey(kind, redis_server.url).put("mail", priority=priority)

    assert found_at(redis_server.url) == {"huey"}


def test_celery_behind_a_prefix(make_celery, redis_server) -> None:
    make_celery(redis_server.url, prefix="shop:").put("mail")

    assert found_at(redis_server.url) == {"celery"}


def test_one_look_tells_a_busy_worker_of_dramatiq_from_an_idle_one(
    dramatiq, redis_server, tmp_path, wait_until
) -> None:
    """Who holds messages is asked once it is known that some are held."""
    name = dramatiq.start_worker("mail")
    dramatiq.put("mail", actor="wait", args=(str(tmp_path / "go"),))
    held = f"dramatiq:__acks__.{name}.mail"
    with redis.Redis(port=redis_server.port) as admin:
        wait_until(lambda: admin.exists(held), why="the worker has fetched the message")

    (source,) = frame_at(f"redis://127.0.0.1:{redis_server.port}/0").snapshot.sources

    assert [(w.name, w.state) for w in source.reading.workers] == [(name, WorkerState.ACTIVE)]
    (tmp_path / "go").touch()


def test_namespaces_of_dramatiq_are_told_apart(make_dramatiq, redis_server) -> None:
    for namespace, count in (("dramatiq", 1), ("shop", 2), ("a b&c", 3)):
        make_dramatiq(redis_server.url, namespace=namespace).put("mail", count, stays=True)

    frame = frame_at(redis_server.url)

    assert [
        (source.info.url.partition("?")[2], source.reading.queues[0].depth)
        for source in frame.snapshot.sources
        if source.reading is not None
    ] == [("", 1), ("namespace=a%20b%26c", 3), ("namespace=shop", 2)]


def test_workers_that_have_nothing_to_do(celery, rq, dramatiq, redis_server, wait_until) -> None:
    celery.start_worker("w", "mail")
    rq.start_worker("w", "mail")
    dramatiq.start_worker("mail")

    wait_until(
        lambda: found_at(redis_server.url) == {"celery", "rq", "dramatiq"},
        seconds=30,
        why="idle workers are recognised",
    )


def test_a_system_that_appears_later_joins(rq, make_huey, redis_server, wait_until) -> None:
    with probing(redis_server.url) as prober:
        reading = looked(prober)
        assert prober.found == ()
        words = f"no job system found at 127.0.0.1:{redis_server.port}/0: looked at 0 keys"
        assert reading.warnings == (words,)

        rq.put("mail")
        reading = prober.poll(Interest())
        assert [finding.backend for finding in prober.found] == ["rq"]
        assert reading.warnings == ()

        make_huey("RedisHuey", redis_server.url).put("mail")
        wait_until(
            lambda: prober.poll(Interest()) and len(prober.found) == 2,
            seconds=20,
            why="the next pass finds a system without registry",
        )


def test_nothing_found_is_no_failure(redis_server) -> None:
    with redis.Redis(port=redis_server.port) as admin:
        admin.mset({"a": 1, "b": 2})

    [source] = frame_at(redis_server.url).snapshot.sources

    assert source.info.system is None
    assert source.failure is None
    assert source.reading is not None
    words = f"no job system found at 127.0.0.1:{redis_server.port}/0: looked at 2 keys"
    assert source.reading.warnings == (words,)


def test_foreign_keys_of_familiar_names(redis_server) -> None:
    """The type decides, and no name is too odd to be looked at."""
    with redis.Redis(port=redis_server.port) as admin:
        admin.mset({"rq:queues": 1, "unacked_index": 1, "my_kombu.binding.x": 1})
        admin.mset({"a:__heartbeats__": 1, "dramatiq:x.msgs": 1, "huey.results.x": 1})
        admin.mset({b"\xff\x00\x1b[31m": 1, "": 1, "x" * 1_000_000: 1})

    assert found_at(redis_server.url) == set()


def test_a_million_foreign_keys_are_not_harmed(make_redis) -> None:
    """Ten thousand keys a poll at most, and less than a millisecond of work for each SCAN."""
    server = make_redis("--enable-debug-command", "yes")
    with redis.Redis(port=server.port) as admin:
        admin.execute_command("DEBUG", "POPULATE", KEYS, "foreign", 10)
        admin.zadd("shop:__heartbeats__", {"x": 1})
        took = cpu_seconds_of_a_pass(server.url, admin)
        calls = admin.info("commandstats")["cmdstat_scan"]["calls"]

    # By the processor's time: on a busy machine the slowlog also holds who else had it.
    assert took / calls < 0.001


def scanned(reading: Reading) -> int:
    words = r"looking for job systems: ([\d,]+) of about 1,000,001 keys read"
    [count] = re.findall(words, " ".join(reading.warnings))
    return int(count.replace(",", ""))


def cpu_seconds_of_a_pass(url: str, admin: redis.Redis) -> float:
    """What the server worked for a whole pass."""
    before = admin.info("cpu")
    polls = 0
    complete = False
    with probing(url) as prober:
        while not complete:
            reading = prober.poll(Interest())
            complete = reading.complete
            polls += 1
            assert reading.round_trips <= 1 + STEPS_OF_FIRST_POLLS
            assert reading.commands < 40 + STEPS_OF_FIRST_POLLS
            assert complete or scanned(reading) <= polls * 10_000
        assert [finding.options for finding in prober.found] == [(("namespace", "shop"),)]
    assert polls >= KEYS / 10_000
    after = admin.info("cpu")
    return sum(after[name] - before[name] for name in ("used_cpu_user", "used_cpu_sys"))


def test_only_reading_commands_are_sent(redis_server, rq) -> None:
    rq.put("mail")
    with commands_of_bgtop(redis_server.port) as names, probing(redis_server.url) as prober:
        for _ in range(3):
            looked(prober)

    assert names <= READS
    assert {"SCAN", "TYPE"} <= names


@pytest.mark.parametrize(
    ("rights", "found", "words"),
    [
        ("~* +@read +@connection", {"rq", "huey"}, ""),
        ("~* +type +@connection", {"rq"}, "systems may be missing: the server does not let us"),
        ("~* +scan +@connection", {"huey"}, "cannot be recognised: the server does not let us"),
        ("~rq:* +@read +@connection", {"rq", "huey"}, ""),
    ],
)
def test_what_may_not_be_read(
    make_redis, make_rq: Callable, make_huey, rights: str, found: set[str], words: str
) -> None:
    server = make_redis("--user", "mon", "on", ">secret", *rights.split())
    make_rq(server.url).put("mail")
    make_huey("RedisHuey", server.url).put("mail")

    with probing(f"redis://mon:secret@127.0.0.1:{server.port}/0") as prober:
        reading = looked(prober)

    assert {finding.backend for finding in prober.found} == found
    assert words in "".join(reading.warnings)
    assert bool(words) == bool(reading.warnings)


@pytest.mark.parametrize("rights", ["~* +scan +dbsize +@connection", "~* +@connection"])
def test_a_place_where_nothing_can_be_recognised_cannot_be_read(
    make_redis, make_rq: Callable, rights: str
) -> None:
    server = make_redis("--user", "mon", "on", ">secret", *rights.split())
    make_rq(server.url).put("mail")
    url = f"redis://mon:secret@127.0.0.1:{server.port}/0"

    with probing(url) as prober:
        for _ in range(3):
            with pytest.raises(NotPermitted, match="does not let us ask for TYPE"):
                looked(prober)
    [source] = frame_at(url).snapshot.sources

    assert source.failure is not None, "what reads the sources once ends with status 1"
    with closing(redis.Redis(port=server.port)) as admin:
        admin.execute_command("ACL", "SETUSER", "mon", "+type", "+scan", "+dbsize")
    assert found_at(url) == {"rq"}


def test_a_server_too_old_to_be_searched() -> None:
    with old_redis() as port, probing(f"redis://127.0.0.1:{port}/0") as prober:
        reading = looked(prober)

    words = "job systems may be missing: the server is too old to list its keys"
    assert reading.warnings == (words,)
    assert prober.found == ()
