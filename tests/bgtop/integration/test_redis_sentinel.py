"""The master behind Redis Sentinel: found, followed through failovers, and missed in words."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import redis
from redis_checks import check, linked, refusal
from redis_sentinels import MASTER, Sentinels

from bgtop.backends.redis_link import pack
from bgtop.backends.rq import plugin
from bgtop.cli.feeds import open_feeds
from bgtop.config import Config, SourceSpec
from bgtop.contracts import BackendError, Interest, NotPermitted, Settings, Unreachable, WrongSource
from bgtop.oneshot import Wanted, take_frame
from bgtop.testing import queue_in, settled


@pytest.fixture
def make_sentinels(tmp_path: Path, make_redis) -> Callable[..., Sentinels]:
    return partial(Sentinels, tmp_path, make_redis)


def port_of(url: str) -> int:
    """The port of the server that answers at this address."""
    with linked(url) as link:
        return port_of_link(link)


def port_of_link(link) -> int:
    [reply] = link.exchange(pack(("CONFIG", "GET", "port")))
    return int(reply[1])


def test_when_the_master_is_killed_its_heir_is_read(make_sentinels, make_rq, wait_until) -> None:
    """By a backend that stays open."""
    group = make_sentinels()
    first = group.master.port
    make_rq(group.master.url).put("mail", 3)
    with closing(plugin.open(f"rq+{group.url()}", Settings(connect_timeout=1))) as backend:
        assert queue_in(settled(backend), "mail").depth == 3

        wait_until(lambda: jobs_at(group.replica.port) == 3, seconds=20, why="it is copied")
        group.master.stop()
        with pytest.raises(Unreachable):
            backend.poll(Interest())
        wait_until(lambda: group.master_port() != first, seconds=40, why="a failover")
        wait_until(lambda: depth(backend) == 3, seconds=20, why="the new master is read")

        make_rq(group.replica.url).put("mail", 2)
        wait_until(lambda: depth(backend) == 5, seconds=20, why="what is put there is seen")


def test_when_the_master_is_changed_by_hand_the_new_one_is_read(
    make_sentinels, make_rq, wait_until
) -> None:
    """The old one lives on and would still answer."""
    group = make_sentinels()
    first = group.master.port
    make_rq(group.master.url).put("mail", 3)
    with closing(plugin.open(f"rq+{group.url()}", Settings(connect_timeout=1))) as backend:
        assert queue_in(settled(backend), "mail").depth == 3
        wait_until(lambda: jobs_at(group.replica.port) == 3, seconds=20, why="it is copied")

        wait_until(lambda: fail_over(group), seconds=30, why="a failover by hand is accepted")
        wait_until(lambda: group.master_port() != first, seconds=40, why="a failover")
        wait_until(lambda: role(first) == "slave", seconds=40, why="the old one follows")
        make_rq(group.replica.url).put("mail", 2)
        wait_until(lambda: depth(backend) == 5, seconds=20, why="the new master is read")


def depth(backend) -> int | None:
    try:
        queue = queue_in(backend.poll(Interest()), "mail")
    except BackendError:
        return None
    return queue.depth if queue else None


def role(port: int) -> str:
    with redis.Redis(port=port) as client:
        return str(client.role()[0].decode())


def jobs_at(port: int) -> int:
    with redis.Redis(port=port) as client:
        return int(client.llen("rq:queue:mail"))


def fail_over(group: Sentinels) -> bool:
    with group.client(group.ports[-1]) as client:
        try:
            return bool(client.sentinel_failover(MASTER))
        except redis.RedisError:
            return False


def test_one_sentinel_that_lives_is_enough(make_sentinels, free_port) -> None:
    group = make_sentinels()
    dead, *_, last = group.ports
    group.stop(dead)

    assert port_of(group.url(free_port, dead, last)) == group.master.port


def test_a_sentinel_that_does_not_answer_is_passed_over(make_sentinels) -> None:
    group = make_sentinels()
    first, second, _ = group.ports
    group.pause(first)

    with linked(group.url(first, second), read_timeout=0.5) as link:
        assert port_of_link(link) == group.master.port
    error = refusal(group.url(first), read_timeout=0.5)
    words = f"no master 'jobs': no answer from 127.0.0.1:{first} within 0.5 s"
    check(error, Unreachable, words)


def test_passwords_of_servers_and_of_sentinels(make_sentinels) -> None:
    group = make_sentinels(password="geheim", own_password="top-secret")

    assert port_of(group.url()) == group.master.port
    first = group.ports[0]
    error = refusal(group.url(first).partition("&")[0])
    check(error, NotPermitted, f"no master 'jobs': 127.0.0.1:{first} asks for a password")
    error = refusal(group.url(first).replace("top-secret", "wrong"))
    check(error, NotPermitted, f"no master 'jobs': 127.0.0.1:{first} refused the password")
    error = refusal(group.url(first).replace(":geheim@", ":wrong@"))
    words = f"no master 'jobs': 127.0.0.1:{group.master.port} refused the password"
    check(error, NotPermitted, words)


def test_what_is_told_when_there_is_no_master(make_sentinels, redis_server, free_port) -> None:
    group = make_sentinels()
    first, second, _ = group.ports

    error = refusal(group.url(first, master="post"))
    words = f"no master 'post': the Sentinel 127.0.0.1:{first} knows no master 'post'"
    check(error, WrongSource, words)
    error = refusal(group.url(redis_server.port))
    check(error, WrongSource, f"no master 'jobs': 127.0.0.1:{redis_server.port} is no Sentinel")
    error = refusal(group.url(free_port, 1))
    words = f"connection refused by 127.0.0.1:{free_port}; connection refused by 127.0.0.1:1"
    check(error, Unreachable, f"no master 'jobs': {words}")

    group.stop(second)
    group.stop(group.ports[2])
    group.master.stop()
    error = refusal(group.url(first))
    words = f"no master 'jobs': connection refused by 127.0.0.1:{group.master.port}"
    check(error, Unreachable, words)


def test_a_named_master_that_is_a_replica(make_sentinels) -> None:
    """What a Sentinel says that was cut off from the others is not believed."""
    group = make_sentinels()
    group.stop(*group.ports[1:])
    with redis.Redis(port=group.master.port) as client:
        client.replicaof("127.0.0.1", group.replica.port)

    error = refusal(group.url(group.ports[0]))

    place = f"127.0.0.1:{group.master.port}"
    check(error, Unreachable, f"no master 'jobs': {place} is to be the master, and is a replica")


def test_all_systems_behind_sentinels(make_sentinels, make_rq, make_celery) -> None:
    group = make_sentinels()
    make_rq(group.master.url).put("default", 2)
    make_celery(group.master.url).put("default", 3)
    config = Config(sources=(SourceSpec(name="jobs/0", url=group.url()),))

    frame = take_frame(open_feeds(config), config, Wanted(), report=pytest.fail)

    assert [
        (source.info.system, source.reading.queues[0].depth)
        for source in frame.snapshot.sources
        if source.reading is not None
    ] == [("celery", 3), ("rq", 2)]
    assert {source.info.url for source in frame.snapshot.sources} == {group.url()}
