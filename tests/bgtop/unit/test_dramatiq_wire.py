"""Dramatiq's key names and messages, decoded without trusting them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends.dramatiq.wire import Keys, Trace, namespace_of, trace_in, waiting_since

KEYS = Keys(b"dramatiq")
PROCESS = b"01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(
    ("key", "trace"),
    [
        (b"mail.msgs", Trace(b"mail")),
        (b"mail.DQ.msgs", Trace(b"mail")),
        (b"mail.XQ", Trace(b"mail")),
        (b"mail.XQ.msgs", Trace(b"mail")),
        (b"v1.mail.high.msgs", Trace(b"v1.mail.high")),
        (b"__acks__." + PROCESS + b".mail", Trace(b"mail", PROCESS)),
        (b"__acks__." + PROCESS + b".v1.mail.DQ", Trace(b"v1.mail", PROCESS)),
        (b"__acks__." + PROCESS, None),
        (b"__acks__." + PROCESS + b".", None),
        (b"__acks__." + PROCESS + b"-mail", None),
        (b"__acks__.mail", None),
        (b"__bgtop__." + PROCESS, None),
        (b"__heartbeats__", None),
        (b"mail", None),
        (b"mail.DQ", None),
        (b".msgs", None),
        (b"", None),
    ],
)
def test_what_a_key_tells(key: bytes, trace: Trace | None) -> None:
    assert trace_in(KEYS, b"dramatiq:" + key) == trace


@given(st.binary(min_size=1).filter(lambda name: not name.startswith(b"__")))
def test_any_name_is_found_by_its_messages(name: bytes) -> None:
    """Unless it ends as a delayed or a dead queue does, which Dramatiq cannot tell apart either."""
    trace = trace_in(KEYS, KEYS.queue(name) + b".msgs")
    if not name.endswith((b".DQ", b".XQ")):
        assert trace == Trace(name)


@pytest.mark.parametrize(
    ("url", "namespace"),
    [
        ("dramatiq+redis://h/0", b"dramatiq"),
        ("dramatiq+redis://h/0?namespace=shop", b"shop"),
        ("dramatiq+redis+socket:///s?db=3&namespace=a%3Ab#namespace=c", b"a:b"),
    ],
)
def test_the_namespace_is_an_option_of_the_url(url: str, namespace: bytes) -> None:
    assert namespace_of(url) == namespace


@pytest.mark.parametrize("option", ["", "%0A", "a%00"])
def test_a_namespace_that_cannot_be_meant(option: str) -> None:
    with pytest.raises(ValueError, match="namespace=NAME"):
        namespace_of(f"dramatiq+redis://h/0?namespace={option}")


@pytest.mark.parametrize(
    ("fields", "since"),
    [
        ({"message_timestamp": 2_000, "options": {}}, 2.0),
        ({"message_timestamp": 2_000}, 2.0),
        ({"message_timestamp": 2_000, "options": {"requeue_timestamp": 5_000}}, 5.0),
        ({"message_timestamp": 2_000, "options": {"eta": 7_000.5}}, 7.0005),
        ({"message_timestamp": 2_000, "options": {"eta": None, "requeue_timestamp": "x"}}, 2.0),
        ({"message_timestamp": 2_000, "options": []}, 2.0),
        ({"message_timestamp": True, "options": {}}, None),
        ({"message_timestamp": -1, "options": {}}, None),
        ({"options": {"eta": 1}}, None),
    ],
)
def test_since_when_a_message_waits(fields: object, since: float | None) -> None:
    assert waiting_since(json.dumps(fields).encode()) == since


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_without_an_age_at_worst(body: bytes) -> None:
    for message in (body, b"{" + body, b'{"message_timestamp":' + body + b"}"):
        since = waiting_since(message)
        assert since is None or since > 0
