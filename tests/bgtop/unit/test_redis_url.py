"""Redis URLs as people and brokers' settings write them, and as bgtop shows them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends.redis_url import RedisAddress, Sentinels, Tls, parse_redis_url

PLACES = (("a", 1), ("::1", 2), ("c", 26379))
FILES = "ssl_ca_certs=/c&sentinel_ssl_ca_certs=/s&sentinel_ssl_cert_reqs=none"
SENTINEL_URL = "a Sentinel URL is written sentinel://h1:26379,h2:26379/0?master=NAME"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", RedisAddress(host="h")),
        ("redis://", RedisAddress(host="localhost")),
        ("redis:///5", RedisAddress(host="localhost", db=5)),
        ("redis://h:7000/3", RedisAddress(host="h", port=7000, db=3)),
        ("redis://h:7000//", RedisAddress(host="h", port=7000)),
        ("redis://h//3", RedisAddress(host="h", db=3)),
        ("redis://h?db=4", RedisAddress(host="h", db=4)),
        ("redis://h/1#note", RedisAddress(host="h", db=1)),
        ("redis://:p%40ss%2F@h", RedisAddress(host="h", password="p@ss/")),
        ("redis://:@h", RedisAddress(host="h", password="")),
        ("redis://u:p@h", RedisAddress(host="h", username="u", password="p")),
        ("redis://u@h", RedisAddress(host="h", username="u")),
        ("redis://u:a:b@h", RedisAddress(host="h", username="u", password="a:b")),
        ("redis://[::1]:7000/1", RedisAddress(host="::1", port=7000, db=1)),
        ("redis://[fe80::1]", RedisAddress(host="fe80::1")),
        ("rediss://h", RedisAddress(host="h", tls=Tls())),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", RedisAddress(host="h", tls=Tls(verify=False))),
        ("rediss://h?ssl_cert_reqs=required", RedisAddress(host="h", tls=Tls())),
        (
            "rediss://h?ssl_ca_certs=/c%20a.pem&ssl_certfile=/c&ssl_keyfile=/k",
            RedisAddress(host="h", tls=Tls(ca_certs="/c a.pem", certfile="/c", keyfile="/k")),
        ),
        ("redis+socket:///run/r%20x.sock", RedisAddress(path="/run/r x.sock")),
        ("redis+socket:///r.sock?db=2", RedisAddress(path="/r.sock", db=2)),
        ("redis+socket:///r.sock?virtual_host=2", RedisAddress(path="/r.sock", db=2)),
        (
            "redis+socket://u:p@/r.sock",
            RedisAddress(path="/r.sock", username="u", password="p"),
        ),
        (
            "sentinel://a:1,[::1]:2,c/3?master=m%20x",
            RedisAddress(
                db=3, sentinels=Sentinels(places=PLACES, master="m x"), tls_switch="ssl=true"
            ),
        ),
        (
            "sentinel://a:1,[::1]:2,c?master=m&sentinel_ssl=true&ssl_ca_certs=/c",
            RedisAddress(
                sentinels=Sentinels(places=PLACES, master="m", tls=Tls(ca_certs="/c")),
                tls_switch="ssl=true",
            ),
        ),
        (
            f"sentinel://a:1,[::1]:2,c?master=m&ssl=1&sentinel_ssl=yes&{FILES}",
            RedisAddress(
                sentinels=Sentinels(
                    places=PLACES, master="m", tls=Tls(ca_certs="/s", verify=False)
                ),
                tls=Tls(ca_certs="/c"),
                tls_switch="ssl=true",
            ),
        ),
        (
            "sentinel://u:p@a:1,[::1]:2,c?master=m&sentinel_username=s&sentinel_password=q%26",
            RedisAddress(
                username="u",
                password="p",
                sentinels=Sentinels(places=PLACES, master="m", username="s", password="q&"),
                tls_switch="ssl=true",
            ),
        ),
    ],
)
def test_what_a_url_means(url, expected) -> None:
    assert parse_redis_url(url) == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (
            "http://:hunter2@h",
            "a Redis URL begins with redis://, rediss://, redis+socket:// or sentinel://",
        ),
        ("hunter2", "a Redis URL begins with redis://, rediss://, redis+socket:// or sentinel://"),
        ("redis://:hunter2:6379", "the port of a Redis URL is a number from 1 to 65535"),
        ("redis://:hunter2@h:0", "the port of a Redis URL is a number from 1 to 65535"),
        ("redis://:hunter2@h:٣", "the port of a Redis URL is a number from 1 to 65535"),
        ("redis://:hunter2@h:65536", "the port of a Redis URL is a number from 1 to 65535"),
        ("redis://h/hunter2", "the database of a Redis URL is a number, as in redis://host:6379/0"),
        ("redis://h/-1", "the database of a Redis URL is a number, as in redis://host:6379/0"),
        ("redis://:hunter2@[::1", "an IPv6 address is written [::1] or [::1]:6379"),
        ("redis://:hunter2@[::1]x", "an IPv6 address is written [::1] or [::1]:6379"),
        ("redis://:hunter/2@h", "the characters / ? # in a password are written %2F %3F %23"),
        ("redis://:hunter2@h%0a", "the URL holds characters that cannot be printed"),
        ("redis://h\x1b", "the URL holds characters that cannot be printed"),
        ("rediss://h?ssl_cert_reqs=hunter2", "ssl_cert_reqs is required, optional or none"),
        ("redis+socket://hunter2", "a unix socket is written redis+socket:///path/to.sock?db=0"),
        ("sentinel://h:1/0", SENTINEL_URL),
        ("sentinel:///0?master=m", SENTINEL_URL),
        ("sentinel://h/0?master=m&ssl=hunter2", "ssl is true or false"),
        ("sentinel://h/0?master=m&sentinel_ssl=", "sentinel_ssl is true or false"),
        (
            "sentinel://h/0?master=m&ssl_ca_certs=/c&ssl=false",
            "TLS behind sentinel:// takes ssl=true (servers) or sentinel_ssl=true",
        ),
        (
            "sentinel://h:1,h:hunter2?master=m",
            "the port of a Redis URL is a number from 1 to 65535",
        ),
        ("redis+socket://h/p", "a unix socket is written redis+socket:///path/to.sock?db=0"),
    ],
)
def test_why_a_url_is_refused(url, words) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        parse_redis_url(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h", "redis://h:6379/0"),
        ("redis://:secret@h:6379/0", "redis://:***@h:6379/0"),
        ("redis://u:secret@[::1]/1", "redis://u:***@[::1]:6379/1"),
        ("redis://u@h", "redis://u@h:6379/0"),
        ("rediss://:secret@h?ssl_cert_reqs=none", "rediss://:***@h:6379/0"),
        ("redis+socket://:secret@/r.sock?db=3", "redis+socket://:***@/r.sock?db=3"),
        (
            "sentinel://:secret@a,b:1/2?master=m&sentinel_password=secret",
            "sentinel://:***@a:26379,b:1/2?master=m",
        ),
        (
            "sentinel://a/2?ssl=true&sentinel_ssl=true&master=m&ssl_ca_certs=/c",
            "sentinel://a:26379/2?master=m&ssl=true&sentinel_ssl=true",
        ),
    ],
)
def test_how_a_url_is_shown(url, shown) -> None:
    assert parse_redis_url(url).url == shown


secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=12)


# What is shown of the same address without a password.
SHOWN = repr(parse_redis_url("redis://localhost:6379/0")) + "redis://***@localhost:6379/0"


@given(secrets.filter(lambda secret: secret not in SHOWN))
def test_a_password_is_read_back_and_shown_nowhere(password) -> None:
    quoted = "".join(f"%{ord(character):02X}" for character in password)
    address = parse_redis_url(f"redis://:{quoted}@localhost:6379/0")

    assert address.password == password
    assert password not in address.url
    assert password not in address.place
    assert password not in repr(address)


@given(
    st.text(max_size=60),
    st.sampled_from(["redis://", "rediss://", "redis+socket://", "sentinel://", ""]),
)
def test_any_text_is_an_address_or_a_clear_refusal(rest, scheme) -> None:
    try:
        address = parse_redis_url(scheme + rest)
    except ValueError as refused:
        words = str(refused)
    else:
        words = address.place
        assert 0 < address.port < 65536
        assert address.db >= 0
    assert words.isprintable()
