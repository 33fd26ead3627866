"""TLS to a real server: verified, and in clear words when it cannot be."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
import redis
from redis_checks import check, linked, refusal

from bgtop.backends.redis_link import RedisSubscription, pack
from bgtop.backends.redis_url import parse_redis_url
from bgtop.contracts import Unreachable, WrongSource


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

        received = wait_until(lambda: subscription.messages(timeout=0.1), why="all of it is here")
        assert received == [(b"c1", b"x" * 100_000)]
