"""URLs of sources: names for them, and no secrets in what is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.source_url import (
    is_rabbitmq,
    name_of,
    port_fault,
    redacted,
    redacted_in,
    redis_url,
    scheme_of,
    url_of,
)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://localhost:6379/0", "localhost:6379/0"),
        ("celery+redis://user:secret@h:6379/3", "h:6379/3"),
        ("redis://:p@ss@h/0", "h/0"),
        ("redis://", "localhost"),
        ("redis+socket:///run/redis/redis.sock?db=2", "redis.sock/2"),
        ("sqlite:///jobs.db", "jobs.db"),
        ("sqlite:////srv/app/jobs.db?durability=process", "jobs.db"),
        ("amqp://guest:guest@rabbit//", "rabbit"),
        ("sentinel://:secret@a:1,b:2/3?master=jobs", "jobs/3"),
        ("rq+sentinel://a?x=1&master=jobs", "jobs/0"),
        ("redis://h/0?master=jobs", "h/0"),
    ],
)
def test_sources_are_called_by_their_place(url: str, name: str) -> None:
    assert name_of(url) == name


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://:secret@h/0", "redis://:***@h/0"),
        ("redis://user:secret@h/0", "redis://user:***@h/0"),
        ("redis://user@h/0", "redis://user@h/0"),
        ("redis://u:s@cr@t:with/slash@h/0", "redis://u:***@h/0"),
        ("amqp://h/v?password=secret&x=1", "amqp://h/v?password=***&x=1"),
        ("sentinel://h?sentinel_password=secret&x=1", "sentinel://h?sentinel_password=***&x=1"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str) -> None:
    assert redacted(url) == shown


@given(st.text(min_size=3), st.sampled_from(["redis://:{}@h/0", "amqp://u:{}@h//"]))
def test_no_password_survives(password: str, url: str) -> None:
    assert redacted(url.format(password)) == url.format("***")


def test_redis_keys_become_a_url_whatever_the_password_is_made_of() -> None:
    values = {
        "redis_host": "h",
        "redis_db": 2,
        "redis_username": "u",
        "redis_password": "a/b@c:d#%",
    }

    assert redis_url(values) == "redis://u:a%2Fb%40c%3Ad%23%25@h:6379/2"
    assert redis_url({"redis_host": "::1"}) == "redis://[::1]:6379/0"
    assert redis_url({"redis_port": 7000}) == "redis://localhost:7000/0"


def test_a_word_has_no_scheme() -> None:
    assert (scheme_of("production"), scheme_of("Redis://h")) == ("", "redis")


def test_messages_lose_passwords_and_nothing_else() -> None:
    words = "no answer from redis://u:s3cr@t@h:6379/0 at 04:00, ask me@example.org"

    assert redacted_in(words) == (
        "no answer from redis://u:***@h:6379/0 at 04:00, ask me@example.org"
    )
    assert redacted_in("refused by h:1 (redis://h:6379/0)") == "refused by h:1 (redis://h:6379/0)"


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("redis://h/0", (), "rq+redis://h/0"),
        ("redis://h/0", (("ns", "a&b"),), "rq+redis://h/0?ns=a%26b"),
        ("redis+socket:///s?db=1#x", (("ns", "a"),), "rq+redis+socket:///s?db=1&ns=a#x"),
    ],
)
def test_what_is_found_is_opened_at_the_same_address(
    url: str, options: tuple[tuple[str, str], ...], expected: str
) -> None:
    assert url_of("rq", url, options) == expected


def test_rabbitmq_is_known_by_each_of_its_schemes() -> None:
    wanted = ("amqp://h", "amqps://h", "pyamqp://h", "AMQP://h")

    assert all(map(is_rabbitmq, wanted))
    assert not any(map(is_rabbitmq, ("redis://amqp", "amqp", "celery+amqp://h", "")))


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://h:/0",
        "redis://:12x@h:6379/0",
        "redis://[::1]:6379/0",
        "redis://[::1]/0",
        "sentinel://a:26379,b:26379/0?master=m:x",
        "sqlite:////srv/a:b.db",
        "redis+unix:///run/redis:x.sock",
    ],
)
def test_ports_are_numbers_or_not_there(url: str) -> None:
    assert port_fault(url) is None


@pytest.mark.parametrize(
    "url",
    ["redis://h:x", "redis://u:p@h:0/0", "amqp://h:65536//", "sentinel://a:1,b:y/0", "redis://h:²"],
)
def test_what_is_no_port_is_told_without_it(url: str) -> None:
    assert port_fault(url) == "the port is not a number from 1 to 65535"
