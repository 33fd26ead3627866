"""URLs of RabbitMQ: what an application's own broker URL means, and what may be shown of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends.rabbit_url import ManagementAddress, RabbitAddress, parse_rabbit_url
from bgtop.backends.url_parts import Tls


def without_management(address: RabbitAddress) -> RabbitAddress:
    return replace(address, management=None)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("amqp://", RabbitAddress()),
        ("amqp://h", RabbitAddress(host="h")),
        ("pyamqp://h", RabbitAddress(host="h")),
        ("amqp://h/", RabbitAddress(host="h")),
        ("amqp://h//", RabbitAddress(host="h", vhost="/")),
        ("amqp://h/%2F", RabbitAddress(host="h", vhost="/")),
        ("amqp://h//shop", RabbitAddress(host="h", vhost="/shop")),
        ("amqp://h/shop%2Fa", RabbitAddress(host="h", vhost="shop/a")),
        ("amqp://h:1/shop#x", RabbitAddress(host="h", port=1, vhost="shop")),
        ("amqp://[::1]:1/shop", RabbitAddress(host="::1", port=1, vhost="shop")),
        ("amqps://h", RabbitAddress(host="h", port=5671, tls=Tls())),
        (
            "amqps://h?ssl_ca_certs=/c%20a.pem&ssl_cert_reqs=none",
            RabbitAddress(host="h", port=5671, tls=Tls(verify=False, ca_certs="/c a.pem")),
        ),
        ("amqp://u:p%40%2F@h", RabbitAddress(host="h", username="u", password="p@/")),
        ("amqp://u@h", RabbitAddress(host="h", username="u")),
        ("amqp://h?queues=a,b%2Cc,,a,d%0Ae", RabbitAddress(host="h", queues=("a", "b,c", "de"))),
    ],
)
def test_what_a_url_means(url: str, address: RabbitAddress) -> None:
    assert without_management(parse_rabbit_url(url)) == without_management(address)


@pytest.mark.parametrize(
    ("url", "management"),
    [
        ("amqp://h?management=off", None),
        (
            "amqp://u:p@h",
            ManagementAddress(host="h", port=15672, username="u", password="p", guessed=True),
        ),
        (
            "amqp://u:p@h?management=http://m",
            ManagementAddress(host="m", port=15672, username="u", password="p"),
        ),
        (
            "amqp://u:p@h?management=https://v:q%2540@m:443/rabbit/api/",
            ManagementAddress(
                host="m", port=443, path="/rabbit", username="v", password="q@", tls=Tls()
            ),
        ),
    ],
)
def test_where_the_management_api_is(url: str, management: ManagementAddress | None) -> None:
    assert parse_rabbit_url(url).management == management


def test_a_password_that_travels_encrypted_is_guessed_nowhere_else() -> None:
    management = parse_rabbit_url("amqps://u:p@h?ssl_ca_certs=/ca.pem").management

    assert management is not None
    assert (management.port, management.tls) == (15671, Tls(ca_certs="/ca.pem"))


@given(
    user=st.text(min_size=1),
    password=st.text(min_size=1),
    vhost=st.text(min_size=1).filter(str.isprintable),
)
def test_any_login_and_vhost_can_be_written_and_no_password_is_shown(user, password, vhost) -> None:
    from urllib.parse import quote

    user, password = user.encode("utf-8", "replace").decode(), "secret" + password
    parts = [quote(part.encode("utf-8", "replace"), safe="") for part in (user, password, vhost)]
    address = parse_rabbit_url("amqp://{}:{}@h/{}".format(*parts))

    assert (address.username, address.vhost) == (user, vhost)
    assert address.password.encode() == password.encode("utf-8", "replace")
    assert "secret" not in address.url + repr(address)
    assert parse_rabbit_url(address.url).vhost == vhost
