"""Huey's bytes, decoded without trust."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends.huey.wire import (
    AGENT_FIELDS,
    NO_SIGNS,
    connected_clients,
    enqueued_at,
    name_in,
    read_beat,
    signs_of,
)

CLIENT = "id={id} addr=h:5 name= age=9 idle={idle} flags={flags} db={db}{size} cmd={cmd} user=x"


def clients(*rows: tuple[str, str, int, int]) -> bytes:
    """Rows of command, flags, idle seconds and database; ids count from 0."""
    lines = (
        CLIENT.format(id=at, cmd=c, flags=f, idle=i, db=d, size="")
        for at, (c, f, i, d) in enumerate(rows)
    )
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (b"huey.redis.mail", b"mail"),
        (b"huey.schedule.a.b", b"a.b"),
        (b"huey.results.\xff", b"\xff"),
        (b"huey.redis.", None),
        (b"huey.r.mail.4711", None),
        (b"other", None),
    ],
)
def test_the_name_of_a_queue_is_the_rest_of_its_key(key: bytes, name: bytes | None) -> None:
    assert name_in(key) == name


@pytest.mark.parametrize(
    ("member", "seconds"),
    [
        ((1_700_000_000_000_000).to_bytes(8, "big") + b"pickle", 1_700_000_000.0),
        (b"short", None),
        (bytes(8) + b"older than Huey", None),
        (b"\xff" * 9, None),
    ],
)
def test_only_a_plausible_prefix_is_a_time(member: bytes, seconds: float | None) -> None:
    assert enqueued_at(member) == seconds


def test_signs_are_blocked_and_scripting_connections_of_this_database() -> None:
    listed = clients(
        ("brpop", "b", 1, 4),
        ("bzpopmin", "b", 0, 4),
        ("brpop", "N", 1, 4),
        ("brpop", "b", 1, 5),
        ("evalsha", "N", 1, 4),
        ("evalsha", "N", 60, 4),
        ("get", "N", 0, 4),
    )

    signs = signs_of(listed, 4)

    assert (signs.waiting, signs.scheduling) == ({b"0", b"1"}, 1)
    assert signs.there == {b"0", b"1", b"2", b"4", b"5", b"6"}


@pytest.mark.parametrize(
    ("size", "waits"),
    [
        (len("BRPOP") + len("huey.redis.mail") + len("1"), True),
        (len("BRPOP") + len("huey.redis.mail") + len("2.75"), True),
        (len("BRPOP") + len("celery") * 4 + len("..3..6..9") + len("1"), False),
        (len("BRPOP") + len("huey.redis.mail"), False),
        (0, True),
    ],
)
def test_who_waits_for_another_key_is_known_by_the_length_of_the_command(
    size: int, waits: bool
) -> None:
    """A server before Redis 7 tells none."""
    listed = CLIENT.format(id=7, cmd="brpop", flags="b", idle=0, db=4, size=f" argv-mem={size}")

    assert bool(signs_of(listed.encode(), 4, [b"mail", b"a-longer-one"]).waiting) is waits


@given(st.binary())
def test_any_list_of_connections_can_be_read(raw: bytes) -> None:
    assert signs_of(raw, 0) == NO_SIGNS


@pytest.mark.parametrize(
    ("info", "count"),
    [
        (b"# Clients\r\nconnected_clients:17\r\nmaxclients:9\r\n", 17),
        (b"connected_clients:many", None),
        (b"", None),
        (None, None),
    ],
)
def test_connections_are_counted_or_not_known(info: object, count: int | None) -> None:
    assert connected_clients(info) == count


def beat_of(**fields: object) -> list[object]:
    known: dict[str, object] = {"queue": b"mail", "ttl": b"15", **fields}
    return [known.get(name) for name in AGENT_FIELDS]


def test_what_an_agent_says_is_read() -> None:
    tasks = json.dumps([["1", "send", 1700.5], ["2", 5, 1.0], "junk"]).encode()
    beat = read_beat(beat_of(running=b"2", processed=b"10", host=b"web1", current=tasks))

    assert beat is not None
    assert (beat.queue, beat.host, beat.running, beat.processed) == ("mail", "web1", 2, 10)
    assert beat.failed is None
    assert beat.current == (("1", "send", 1700.5),)


@pytest.mark.parametrize(
    "fields",
    [{"queue": None}, {"ttl": None}, {"ttl": b"0"}, {"ttl": b"nan"}, {"queue": b"x" * 20_000}],
)
def test_a_hash_that_no_agent_wrote_is_no_worker(fields: dict[str, object]) -> None:
    assert read_beat(beat_of(**fields)) is None


@pytest.mark.parametrize("field", ["running", "processed", "pid", "started", "current"])
@pytest.mark.parametrize("value", [b"-1", b"1e999", b"x", b"\xff", b"[" * 5_000, b"9" * 40])
def test_a_field_that_makes_no_sense_is_not_known(field: str, value: bytes) -> None:
    beat = read_beat(beat_of(**{field: value}))

    assert beat is not None
    assert getattr(beat, field) is None
