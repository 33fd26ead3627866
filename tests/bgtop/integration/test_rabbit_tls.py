"""TLS to a real RabbitMQ: verified, and in clear words when it cannot be."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from certificates import make_certificate
from rabbit_server import RabbitNode, quiet_ports

from bgtop.backends.rabbit_link import RabbitLink
from bgtop.backends.rabbit_management import Management
from bgtop.backends.rabbit_url import parse_rabbit_url
from bgtop.contracts import BackendError, WrongSource


class Secured(NamedTuple):
    node: RabbitNode
    port: int
    management_port: int
    certificate: Path


@pytest.fixture(scope="module")
def secured(make_rabbit, tmp_path_factory) -> Secured:
    certificate, key = make_certificate(tmp_path_factory.mktemp("certificates"))
    port, management_port = quiet_ports(2)
    node = make_rabbit(
        listeners__ssl__1=f"127.0.0.1:{port}",
        ssl_options__certfile=str(certificate),
        ssl_options__keyfile=str(key),
        ssl_options__verify="verify_none",
        management__ssl__ip="127.0.0.1",
        management__ssl__port=str(management_port),
        management__ssl__certfile=str(certificate),
        management__ssl__keyfile=str(key),
    )
    return Secured(node, port, management_port, certificate)


def knock(url: str) -> str | None:
    """The version the broker told, after a question was answered."""
    with closing(RabbitLink(parse_rabbit_url(url))) as link:
        assert link.sizes(["none"], ["none at all"]).found == {}
        return link.version


def refusal(url: str) -> BackendError:
    with pytest.raises(BackendError) as failed:
        knock(url)
    return failed.value


def test_tls_is_verified(secured) -> None:
    place = f"localhost:{secured.port}"
    version = knock(f"amqps://{place}?ssl_ca_certs={secured.certificate}")
    error = refusal(f"amqps://{place}")

    assert version == secured.node.get("/overview")["rabbitmq_version"]
    assert type(error) is WrongSource
    assert str(error).startswith(f"the certificate of {place} was refused: ")


def test_the_name_in_the_certificate_counts(secured) -> None:
    error = refusal(f"amqps://127.0.0.1:{secured.port}?ssl_ca_certs={secured.certificate}")

    assert type(error) is WrongSource
    assert "was refused: IP address mismatch" in str(error)


def test_no_check_only_where_the_url_says_so(secured) -> None:
    version = knock(f"amqps://127.0.0.1:{secured.port}?ssl_cert_reqs=none")

    assert version == secured.node.get("/overview")["rabbitmq_version"]


def test_a_certificate_file_that_is_not_there(secured) -> None:
    error = refusal(f"amqps://localhost:{secured.port}?ssl_ca_certs=/none.pem")

    assert "certificate files" in str(error)


def test_tls_where_none_is_spoken(secured) -> None:
    error = refusal(f"amqps://localhost:{secured.node.port}")

    assert type(error) is WrongSource
    assert str(error).startswith(f"no TLS connection to localhost:{secured.node.port}: ")


def test_no_tls_where_it_is_wanted(secured) -> None:
    assert "does it want amqps:// (TLS)?" in str(refusal(f"amqp://localhost:{secured.port}"))


def test_the_management_api_over_tls(secured) -> None:
    place = f"https://localhost:{secured.management_port}"
    for more, works in ((f"&ssl_ca_certs={secured.certificate}", True), ("", False)):
        address = parse_rabbit_url(f"amqps://localhost:{secured.port}?management={place}{more}")
        assert address.management is not None
        with closing(Management(address.management, address)) as management:
            if works:
                assert management.queues() == []
                continue
            with pytest.raises(WrongSource, match="the certificate of https://localhost"):
                management.queues()
