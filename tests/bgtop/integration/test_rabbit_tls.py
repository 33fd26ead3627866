"""TLS to a real RabbitMQ: verified, and in clear words when it cannot be."""

from __future__ import annotations

from contextlib import closing

import pytest
from rabbit_server import RabbitNode

from bgtop.backends.rabbit_link import RabbitLink
from bgtop.backends.rabbit_management import Management
from bgtop.backends.rabbit_url import parse_rabbit_url
from bgtop.contracts import BackendError, WrongSource


@pytest.fixture
def node(rabbit_node: RabbitNode) -> RabbitNode:
    return rabbit_node


def knock(url: str) -> str | None:
    """The version the broker told, after a question was answered."""
    with closing(RabbitLink(parse_rabbit_url(url))) as link:
        assert link.sizes(["none"], ["none at all"]).found == {}
        return link.version


def refusal(url: str) -> BackendError:
    with pytest.raises(BackendError) as failed:
        knock(url)
    return failed.value


def test_tls_is_verified(node) -> None:
    place = f"localhost:{node.tls_port}"
    version = knock(f"amqps://{place}?ssl_ca_certs={node.certificate}")
    error = refusal(f"amqps://{place}")

    assert version == node.get("/overview")["rabbitmq_version"]
    assert type(error) is WrongSource
    assert str(error).startswith(f"the certificate of {place} was refused: ")


def test_the_name_in_the_certificate_counts(node) -> None:
    error = refusal(f"amqps://127.0.0.1:{node.tls_port}?ssl_ca_certs={node.certificate}")

    assert type(error) is WrongSource
    assert "was refused: IP address mismatch" in str(error)


def test_no_check_only_where_the_url_says_so(node) -> None:
    version = knock(f"amqps://127.0.0.1:{node.tls_port}?ssl_cert_reqs=none")

    assert version == node.get("/overview")["rabbitmq_version"]


def test_a_certificate_file_that_is_not_there(node) -> None:
    error = refusal(f"amqps://localhost:{node.tls_port}?ssl_ca_certs=/none.pem")

    assert "certificate files" in str(error)


def test_tls_where_none_is_spoken(node) -> None:
    error = refusal(f"amqps://localhost:{node.port}")

    assert type(error) is WrongSource
    assert str(error).startswith(f"no TLS connection to localhost:{node.port}: ")


def test_no_tls_where_it_is_wanted(node) -> None:
    assert "does it want amqps:// (TLS)?" in str(refusal(f"amqp://localhost:{node.tls_port}"))


def test_the_management_api_over_tls(node) -> None:
    place = f"https://localhost:{node.tls_management_port}"
    for more, works in ((f"&ssl_ca_certs={node.certificate}", True), ("", False)):
        address = parse_rabbit_url(f"amqps://localhost:{node.tls_port}?management={place}{more}")
        assert address.management is not None
        with closing(Management(address.management, address)) as management:
            if works:
                assert management.queues() == []
                continue
            with pytest.raises(WrongSource, match="the certificate of https://localhost"):
                management.queues()
