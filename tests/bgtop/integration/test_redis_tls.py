"""TLS to a real server: verified, and in clear words when it cannot be."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
import redis
from certificates import make_certificate
from rabbit_server import quiet_ports
from redis_checks import check, linked, refusal

from bgtop.backends.redis_link import RedisSubscription, pack
from bgtop.backends.redis_url import parse_redis_url
from bgtop.contracts import Unreachable, WrongSource


@pytest.fixture
def certificate(tmp_path) -> Path:
    return make_certificate(tmp_path).path


class TlsServer(NamedTuple):
    plain_port: int
    port: int


def tls_words(certificate: Path, port: int) -> tuple[str, ...]:
    key = str(certificate.parent / "key.pem")
    return (
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(certificate), "--tls-key-file", key),
        *("--tls-ca-cert-file", str(certificate)),
    )


@pytest.fixture
def tls_server(make_redis, certificate, free_port) -> TlsServer:
    server = make_redis(*tls_words(certificate, free_port))
    return TlsServer(server.port, free_port)


class TlsSentinel(NamedTuple):
    """A Sentinel that watches ``server``, itself with TLS and without."""

    server: TlsServer
    port: int
    plain_port: int

    def url(self, port: int, *options: str) -> str:
        return f"sentinel://localhost:{port}/0?" + "&".join(["master=jobs", *options])


@pytest.fixture
def tls_sentinel(make_redis, certificate, tls_server, tmp_path) -> TlsSentinel:
    """It speaks TLS with the server, and names it by a name that is in the certificate."""
    (port,) = quiet_ports(1)
    config = tmp_path / "sentinel.conf"
    config.write_text(
        "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\ntls-replication yes\n"
        f"sentinel monitor jobs localhost {tls_server.port} 1\n"
    )
    node = make_redis(str(config), "--sentinel", *tls_words(certificate, port))
    return TlsSentinel(tls_server, port, node.port)


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


def test_tls_to_a_sentinel_and_to_the_master(tls_sentinel, certificate) -> None:
    files = f"ssl_ca_certs={certificate}"
    both = tls_sentinel.url(tls_sentinel.port, "ssl=true", "sentinel_ssl=true", files)
    with linked(both) as link:
        assert link.exchange(pack(("PING",))) == [b"PONG"]
        [clients] = link.exchange(pack(("CLIENT", "LIST")))
    assert f"laddr=127.0.0.1:{tls_sentinel.server.port} " in clients.decode()


def test_tls_to_the_master_only(tls_sentinel, certificate) -> None:
    url = tls_sentinel.url(tls_sentinel.plain_port, "ssl=true", f"ssl_ca_certs={certificate}")
    with linked(url) as link:
        assert link.exchange(pack(("PING",))) == [b"PONG"]


def test_certificates_of_sentinels_are_verified_by_themselves(tls_sentinel, certificate) -> None:
    own = f"sentinel_ssl_ca_certs={certificate}"
    trusting = tls_sentinel.url(
        *(tls_sentinel.port, "ssl=true", "ssl_cert_reqs=none", "sentinel_ssl=true", own),
        "sentinel_ssl_cert_reqs=required",
    )
    with linked(trusting) as link:
        assert link.exchange(pack(("PING",))) == [b"PONG"]

    error = refusal(trusting.replace(own, "x=y"))

    words = f"no master 'jobs': the certificate of localhost:{tls_sentinel.port} was refused: "
    assert isinstance(error, WrongSource)
    assert str(error).startswith(words)


def test_which_side_of_a_sentinel_wants_tls_is_told(tls_sentinel, certificate) -> None:
    files = f"ssl_ca_certs={certificate}"
    secret, plain = tls_sentinel.port, tls_sentinel.plain_port

    error = refusal(tls_sentinel.url(secret))
    words = f"localhost:{secret} hung up at log-in; does it want sentinel_ssl=true (TLS)?"
    check(error, Unreachable, f"no master 'jobs': {words}")
    error = refusal(tls_sentinel.url(secret, "sentinel_ssl=true", files))
    master = tls_sentinel.server.port
    words = f"localhost:{master} hung up at log-in; does it want ssl=true (TLS)?"
    check(error, Unreachable, f"no master 'jobs': {words}")
    error = refusal(tls_sentinel.url(plain, "sentinel_ssl=true", files), read_timeout=0.5)
    words = f"no TLS from localhost:{plain} within 0.5 s; is it without sentinel_ssl=true?"
    check(error, Unreachable, f"no master 'jobs': {words}")


def test_messages_over_tls(tls_server, certificate, wait_until) -> None:
    url = f"rediss://localhost:{tls_server.port}/0?ssl_ca_certs={certificate}"
    with closing(RedisSubscription(parse_redis_url(url))) as subscription:
        subscription.subscribe(b"c*")
        assert subscription.messages() == []
        with redis.Redis(port=tls_server.plain_port) as publisher:
            publisher.publish("c1", "x" * 100_000)

        received = wait_until(lambda: subscription.messages(timeout=0.1), why="all of it is here")
        assert received == [(b"c1", b"x" * 100_000)]
