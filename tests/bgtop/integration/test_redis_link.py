"""The Redis connection against real servers, in every state a server can be in."""

from __future__ import annotations

import http.server
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import redis
from hiredis import ReplyError

from bgtop.backends import redis_connection, redis_link
from bgtop.backends.redis_errors import code_of
from bgtop.backends.redis_link import COMMANDS_PER_TRIP, RedisLink, RedisSubscription, pack
from bgtop.backends.redis_url import parse_redis_url
from bgtop.contracts import BackendError, NotPermitted, Unreachable, WrongSource

PASSWORD = "correct horse/#1"
QUOTED = "correct%20horse%2F%231"


@contextmanager
def linked(url: str, **limits: float) -> Iterator[RedisLink]:
    with closing(RedisLink(parse_redis_url(url), **limits)) as link:
        yield link


def refusal(url: str, **limits: float) -> BackendError:
    """The error of a PING there; its words are fit for an operator and hold no password."""
    with linked(url, **limits) as link, pytest.raises(BackendError) as failed:
        link.exchange(pack(("PING",)))
    words = str(failed.value)
    assert words.isprintable()
    assert PASSWORD not in words
    assert QUOTED not in words
    return failed.value


def check(error: BackendError, kind: type[BackendError], words: str) -> None:
    assert (type(error), str(error)) == (kind, words)


# What works


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


# What is refused, in words


def test_nobody_listens() -> None:
    check(refusal("redis://127.0.0.1:1/0"), Unreachable, "connection refused by 127.0.0.1:1")


def test_no_such_host() -> None:
    error = refusal("redis://no-such-host.invalid/0")

    check(error, Unreachable, "the host name 'no-such-host.invalid' cannot be resolved")


def test_a_host_name_no_resolver_takes() -> None:
    place = "x" * 70

    check(refusal(f"redis://{place}.y/0"), Unreachable, f"{place}.y:6379 is no valid host name")


def test_no_such_socket(tmp_path) -> None:
    path = tmp_path / "none.sock"

    check(refusal(f"redis+socket://{path}"), Unreachable, f"there is no socket {path}")


def test_no_password_where_one_is_needed(make_redis) -> None:
    server = make_redis("--requirepass", PASSWORD)

    check(refusal(server.url), NotPermitted, f"127.0.0.1:{server.port} asks for a password")


@pytest.mark.parametrize(
    ("login", "words"),
    [
        (f":{QUOTED}x", "refused the password"),
        (f"mon:{QUOTED}", "refused the password of user 'mon'"),
    ],
)
def test_a_wrong_password(make_redis, login, words) -> None:
    server = make_redis("--requirepass", PASSWORD)
    error = refusal(f"redis://{login}@127.0.0.1:{server.port}/0")

    check(error, NotPermitted, f"127.0.0.1:{server.port} {words}")


def test_a_password_nobody_asked_for(redis_server) -> None:
    error = refusal(f"redis://:{QUOTED}@127.0.0.1:{redis_server.port}/0")
    place = f"127.0.0.1:{redis_server.port}"

    check(error, NotPermitted, f"{place} refused the password: none is set there")


def test_no_such_database(redis_server) -> None:
    error = refusal(f"redis://127.0.0.1:{redis_server.port}/99")

    check(error, WrongSource, f"127.0.0.1:{redis_server.port} has no database 99")


def test_a_database_one_may_not_choose(make_redis) -> None:
    server = make_redis("--user", "mon", "on", ">hunter2", "~*", "+@read", "+auth")
    error = refusal(f"redis://mon:hunter2@127.0.0.1:{server.port}/2")

    place = f"127.0.0.1:{server.port}"
    check(error, NotPermitted, f"{place} does not let us choose database 2")


def test_a_full_server(make_redis) -> None:
    server = make_redis("--maxclients", "1")
    with redis.Redis(port=server.port) as other:
        other.ping()
        error = refusal(server.url)

    place = f"127.0.0.1:{server.port}"
    check(error, Unreachable, f"{place} accepts no further connection (maxclients)")


def test_a_server_still_loading(make_redis) -> None:
    server = make_redis()
    with redis.Redis(port=server.port) as client:
        client.mset({f"key{number}": "x" * 100 for number in range(2_000)})
        client.save()
    server.stop()
    # 20 s of loading, answering questions all the while.
    server.start("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")

    check(refusal(server.url), Unreachable, f"127.0.0.1:{server.port} is still loading its data")


def test_a_replica_without_master(make_redis) -> None:
    server = make_redis("--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "no")
    error = refusal_of(server.url, ("LLEN", "a"))

    place = f"127.0.0.1:{server.port}"
    check(error, Unreachable, f"{place} is a replica that has lost its master")


def refusal_of(url: str, command: tuple[str, ...]) -> BackendError:
    with linked(url) as link, pytest.raises(BackendError) as failed:
        link.exchange(pack(command))
    return failed.value


def test_a_cluster_node(make_redis) -> None:
    server = make_redis("--cluster-enabled", "yes")
    words = (
        f"127.0.0.1:{server.port} is a node of a Redis Cluster; only a single server can be read"
    )

    check(refusal(server.url), WrongSource, words)


def test_a_sentinel(make_redis, tmp_path) -> None:
    config = tmp_path / "sentinel.conf"
    config.touch()
    server = make_redis(str(config), "--sentinel")
    place = f"127.0.0.1:{server.port}"

    check(refusal(server.url), WrongSource, f"{place} is a Sentinel, which holds no data")


def test_another_protocol() -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        port = server.server_address[1]
        error = refusal(f"redis://127.0.0.1:{port}/0")
        server.shutdown()
        thread.join()

    check(error, WrongSource, f"127.0.0.1:{port} does not speak the Redis protocol")


# TLS


@pytest.fixture
def certificate(program, tmp_path) -> Path:
    subprocess.run(
        [
            program("openssl", "apt-get install openssl"),
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    return tmp_path / "cert.pem"


class TlsServer(NamedTuple):
    plain_port: int
    port: int


@pytest.fixture
def tls_server(make_redis, certificate, free_port) -> TlsServer:
    server = make_redis(
        *("--tls-port", str(free_port), "--tls-auth-clients", "no"),
        *(
            "--tls-cert-file",
            str(certificate),
            "--tls-key-file",
            str(certificate.parent / "key.pem"),
        ),
    )
    return TlsServer(server.port, free_port)


def test_tls_is_verified(tls_server, certificate) -> None:
    url = f"rediss://localhost:{tls_server.port}/0?ssl_ca_certs={certificate}"
    with linked(url) as link:
        assert link.exchange(pack(("SET", "a", b"x" * 300_000), ("GET", "a"))) == [
            b"OK",
            b"x" * 300_000,
        ]
        assert link.exchange(pack(("PING",))) == [b"PONG"]


@pytest.mark.parametrize(
    ("host", "query", "reason"),
    [
        ("localhost", "", "self-signed certificate"),
        ("127.0.0.1", "?ssl_ca_certs={}", "IP address mismatch"),
    ],
)
def test_an_untrusted_certificate_is_refused(tls_server, certificate, host, query, reason) -> None:
    place = f"{host}:{tls_server.port}"
    error = refusal(f"rediss://{place}/0{query.format(certificate)}")

    assert isinstance(error, WrongSource)
    assert str(error).startswith(f"the certificate of {place} was refused: ")
    assert reason in str(error)


def test_verification_is_off_only_when_asked_for(tls_server) -> None:
    with linked(f"rediss://127.0.0.1:{tls_server.port}/0?ssl_cert_reqs=none") as link:
        assert link.exchange(pack(("PING",))) == [b"PONG"]


def test_tls_to_a_server_without(redis_server) -> None:
    error = refusal(f"rediss://127.0.0.1:{redis_server.port}/0", read_timeout=0.3)
    words = f"no TLS from 127.0.0.1:{redis_server.port} within 0.3 s; is it redis:// there?"

    check(error, Unreachable, words)


def test_no_tls_to_a_server_with(tls_server) -> None:
    error = refusal(f"redis://127.0.0.1:{tls_server.port}/0")

    words = f"127.0.0.1:{tls_server.port} hung up at log-in; does it want rediss:// (TLS)?"

    check(error, Unreachable, words)


def test_certificate_files_that_are_not_there(tls_server) -> None:
    error = refusal(f"rediss://localhost:{tls_server.port}/0?ssl_ca_certs=/no/such.pem")

    place = f"localhost:{tls_server.port}"
    words = f"the certificate files for {place} cannot be read: No such file or directory"
    check(error, WrongSource, words)


def test_messages_over_tls(tls_server, certificate, wait_until) -> None:
    url = f"rediss://localhost:{tls_server.port}/0?ssl_ca_certs={certificate}"
    with closing(RedisSubscription(parse_redis_url(url))) as subscription:
        subscription.subscribe(b"c*")
        assert subscription.messages() == []
        with redis.Redis(port=tls_server.plain_port) as publisher:
            publisher.publish("c1", "x" * 100_000)

        assert subscription.messages(timeout=5) == [(b"c1", b"x" * 100_000)]


# Subscriptions


@pytest.fixture
def subscription(redis_server):
    address = parse_redis_url(redis_server.url)
    with closing(RedisSubscription(address, read_timeout=0.3)) as subscription:
        yield subscription


def test_messages_arrive_in_order_and_once(redis_server, subscription, wait_until) -> None:
    assert subscription.subscribe(b"a*") is None
    assert subscription.messages() == []
    with redis.Redis(port=redis_server.port) as publisher:
        for number in range(500):
            publisher.publish(f"a{number % 2}", f"message {number}")
        publisher.publish("b", "not for us")
        # What comes while another pattern is confirmed is kept.
        assert subscription.subscribe(b"c*") is None
        publisher.publish("c", "last")
    received: list[tuple[bytes, bytes]] = []

    def all_there() -> bool:
        received.extend(subscription.messages(timeout=0.1))
        return len(received) >= 501

    wait_until(all_there)
    expected = [(b"a%d" % (n % 2), b"message %d" % n) for n in range(500)]
    assert received == [*expected, (b"c", b"last")]
    assert subscription.messages() == []


def test_waiting_for_a_message_ends(subscription) -> None:
    subscription.subscribe(b"a*")
    began = time.monotonic()

    assert subscription.messages(timeout=0.2) == []
    assert 0.15 < time.monotonic() - began < 1


def test_a_pattern_may_be_refused(make_redis) -> None:
    server = make_redis("--user", "mon", "on", ">hunter2", "&news*", "+@connection", "+psubscribe")
    address = parse_redis_url(f"redis://mon:hunter2@127.0.0.1:{server.port}/0")
    with closing(RedisSubscription(address)) as subscription:
        refused = subscription.subscribe(b"news/*")
        assert isinstance(refused, ReplyError)
        assert code_of(refused) == "NOPERM"
        assert subscription.subscribe(b"news*") is None


def test_a_lost_subscription_says_so_once_and_can_be_renewed(redis_server, subscription) -> None:
    subscription.subscribe(b"a*")
    redis_server.stop()
    with pytest.raises(Unreachable, match="closed the connection"):
        subscription.messages()
    assert not subscription.connected
    redis_server.start()
    subscription.subscribe(b"a*")

    assert subscription.messages() == []


def test_silence_is_questioned(redis_server, subscription, wait_until, monkeypatch) -> None:
    """A frozen server or a dead network is told apart from having nothing to say."""
    monkeypatch.setattr(redis_link, "SILENCE_BEFORE_PING", 0.05)
    subscription.subscribe(b"a*")
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        assert subscription.messages(timeout=0.05) == []
    assert subscription.commands > 3
    redis_server.send_signal(signal.SIGSTOP)

    def fails() -> bool:
        try:
            subscription.messages(timeout=0.05)
        except Unreachable as error:
            return "no answer from" in str(error)
        return False

    wait_until(fails, seconds=3)
    assert not subscription.connected
