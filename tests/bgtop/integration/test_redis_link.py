"""The Redis connection against a real server that restarts, freezes and closes on us."""

from __future__ import annotations

import signal
import socket
import threading
import time

import pytest
import redis
from hiredis import ReplyError
from redis_checks import PASSWORD, QUOTED, check, linked

from bgtop.backends import redis_connection
from bgtop.backends.redis_errors import code_of
from bgtop.backends.redis_link import COMMANDS_PER_TRIP, RedisLink, pack
from bgtop.backends.redis_url import parse_redis_url
from bgtop.contracts import BackendError, Unreachable


def test_a_pipeline_is_one_round_trip_and_errors_are_values(redis_server) -> None:
    with linked(redis_server.url) as link:
        replies = link.exchange(
            pack(("SET", "a", "text"), ("LPUSH", "b", b"\x00\xff", 3)),
            pack(("LLEN", "a")),
            pack(("LLEN", "b"), ("GET", "missing"), ("LRANGE", "b", 0, -1)),
        )

        assert replies[:2] == [b"OK", 2]
        assert isinstance(replies[2], ReplyError)
        assert code_of(replies[2]) == "WRONGTYPE"
        assert replies[3:] == [2, None, [b"3", b"\x00\xff"]]
        assert (link.commands, link.round_trips) == (6, 2)
        assert link.version is not None
        assert link.version[0].isdigit()


def test_a_long_pipeline_is_cut(redis_server) -> None:
    with linked(redis_server.url) as link:
        link.exchange(pack(("PING",)))
        before = link.round_trips
        requests = [pack(*(("ECHO", n) for n in range(i, i + 100))) for i in range(0, 12_000, 100)]
        replies = link.exchange(*requests)

        assert replies == [b"%d" % n for n in range(12_000)]
        assert link.round_trips - before == -(-12_000 // COMMANDS_PER_TRIP)


def test_what_is_done_meanwhile_takes_nothing_of_the_time_to_answer(redis_server) -> None:
    """The server has worked on the question before, and its answer is not late."""
    done: list[object] = []
    with linked(redis_server.url) as other, linked(redis_server.url, read_timeout=0.3) as link:

        def wait() -> None:
            assert done == []
            done.extend(other.exchange(pack(("BLPOP", "nothing", "0.5"))))

        link.ask(([pack(("PING",))], done.extend), meanwhile=wait)

        assert done == [None, b"PONG"]
        link.ask(meanwhile=lambda: done.append("nothing was asked"))
        assert done[-1] == "nothing was asked"


def test_big_values_arrive_whole(redis_server) -> None:
    value = bytes(range(256)) * 40_000
    with linked(redis_server.url) as link:
        assert link.exchange(pack(("SET", "big", value), ("GET", "big"))) == [b"OK", value]


def test_an_answer_beyond_memory_is_refused_and_the_next_one_is_right(
    redis_server, monkeypatch
) -> None:
    monkeypatch.setattr(redis_connection, "MOST_BYTES", 1_000_000)
    with linked(redis_server.url) as link:
        link.exchange(pack(("SET", "big", b"x" * 3_000_000)))
        with pytest.raises(BackendError, match="answers more than we can hold"):
            link.exchange(pack(("GET", "big")))
        assert link.exchange(pack(("STRLEN", "big"))) == [3_000_000]


def test_unix_socket_and_database(redis_server) -> None:
    url = f"redis+socket://{redis_server.socket_path}?db=3"
    with linked(url) as link, redis.Redis(port=redis_server.port, db=3) as other:
        link.exchange(pack(("SET", "a", "b")))

        assert other.get("a") == b"b"
        assert other.client_list()[0]["name"] == "bgtop"


def test_password_alone_and_with_a_user(make_redis) -> None:
    server = make_redis(
        *("--requirepass", PASSWORD),
        *("--user", "mon", "on", ">hunter2", "~jobs:*", "+@read", "+@connection"),
    )
    with linked(f"redis://:{QUOTED}@127.0.0.1:{server.port}") as link:
        assert link.exchange(pack(("PING",))) == [b"PONG"]
    with linked(f"redis://mon:hunter2@127.0.0.1:{server.port}") as link:
        replies = link.exchange(pack(("LLEN", "jobs:1"), ("LLEN", "other"), ("SET", "jobs:1", 1)))

    assert replies[0] == 0
    assert [code_of(reply) for reply in replies[1:]] == ["NOPERM", "NOPERM"]


def test_an_old_server_without_hello_is_read(make_redis) -> None:
    server = make_redis("--rename-command", "HELLO", "")
    with linked(server.url) as link:
        assert link.exchange(pack(("PING",))) == [b"PONG"]
        assert link.version is None


# A connection that was lost is replaced


def test_an_idle_connection_the_server_closed_is_replaced_unnoticed(redis_server) -> None:
    with linked(redis_server.url) as link, redis.Redis(port=redis_server.port) as admin:
        assert link.exchange(pack(("INCR", "n"))) == [1]
        (mine,) = [client for client in admin.client_list() if client["name"] == "bgtop"]
        admin.client_kill_filter(_id=mine["id"])

        assert link.exchange(pack(("INCR", "n"))) == [2]


def test_a_restart_is_survived(redis_server) -> None:
    with linked(redis_server.url) as link:
        link.exchange(pack(("PING",)))
        redis_server.stop()
        words = f"connection refused by 127.0.0.1:{redis_server.port}"
        for _ in range(2):
            with pytest.raises(Unreachable, match=words):
                link.exchange(pack(("PING",)))
        redis_server.start()

        assert link.exchange(pack(("PING",))) == [b"PONG"]


def test_a_frozen_server_costs_the_timeout_and_no_more(redis_server, wait_until) -> None:
    with linked(redis_server.url, read_timeout=0.3) as link:
        link.exchange(pack(("PING",)))
        redis_server.send_signal(signal.SIGSTOP)
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(Unreachable) as failed:
                link.exchange(pack(("PING",)))
            assert 0.25 < time.monotonic() - began < 1
            place = f"127.0.0.1:{redis_server.port}"
            check(failed.value, Unreachable, f"no answer from {place} within 0.3 s")
        redis_server.send_signal(signal.SIGCONT)

        # No late answer of the first connection is taken for one of ours.
        assert link.exchange(pack(("ECHO", "mine"))) == [b"mine"]


def test_a_slow_answer_counts_as_a_whole(redis_server) -> None:
    """Each byte in time does not make the call in time."""
    with linked(redis_server.url, read_timeout=0.3) as link, pytest.raises(Unreachable):
        link.exchange(*(pack(("BLPOP", "nothing", "0.1")) for _ in range(6)))


def test_closing_ends_a_call_in_another_thread(redis_server, wait_until) -> None:
    link = RedisLink(parse_redis_url(redis_server.url), read_timeout=30)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            link.exchange(pack(("BLPOP", "nothing", 0)))
        except BackendError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    with redis.Redis(port=redis_server.port) as admin:
        wait_until(lambda: admin.info("clients")["blocked_clients"] == 1)
        link.close()
        thread.join(2)
        wait_until(lambda: admin.info("clients")["connected_clients"] == 1)

    assert not thread.is_alive()
    check(errors[0], Unreachable, f"the connection to 127.0.0.1:{redis_server.port} was closed")
    link.close()


def test_closing_while_in_use_leaves_the_socket_to_its_user(redis_server) -> None:
    link = RedisLink(parse_redis_url(redis_server.url))
    with link._using():
        link._ready()
        link.close()
        assert link.connected

    assert not link.connected


def test_a_vanished_peer_is_noticed_by_the_kernel(redis_server) -> None:
    """Within 30 + 3 * 10 s, also while nobody asks anything."""
    with linked(redis_server.url) as link:
        link.exchange(pack(("PING",)))
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        held = link._connection._socket

        assert held.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        found = [held.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        assert found == [30, 10, 3]
