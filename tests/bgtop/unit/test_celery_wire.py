"""Decoders of what Celery writes into Redis: right on real bytes, harmless on any others."""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends.celery.wire import (
    LONGEST_EVENT,
    SEPARATOR,
    Binding,
    TaskResult,
    WorkerEvent,
    delivered_by,
    due_at,
    read_binding,
    result_of,
    routes_to,
    worker_events,
)

names = st.binary(min_size=1, max_size=20).filter(lambda name: SEPARATOR not in name)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=20,
)

HEARTBEAT = {
    "type": "worker-heartbeat",
    "hostname": "w1@h",
    "pid": 77,
    "clock": 12,
    "utcoffset": 0,
    "timestamp": 1795250000.5,
    "freq": 2.0,
    "active": 1,
    "processed": 1042,
    "loadavg": [0.1, 0.2, 0.3],
    "sw_ident": "py-celery",
    "sw_ver": "5.7.0",
    "sw_sys": "Linux",
}


def envelope(content: object, **changes: object) -> bytes:
    message = {
        "body": b64encode(json.dumps(content).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"hostname": "w1@h"},
        "properties": {"delivery_mode": 1, "body_encoding": "base64"},
    }
    return json.dumps(message | changes).encode()


# Bindings


@given(routing_key=names | st.just(b""), pattern=names | st.just(b""), queue=names)
def test_a_binding_is_split_into_its_three_fields(routing_key, pattern, queue) -> None:
    member = SEPARATOR.join((routing_key, pattern, queue))
    binding = read_binding(member, [SEPARATOR])

    # A name may end in one half of the separator; then kombu itself cannot tell.
    if member.split(SEPARATOR) == [routing_key, pattern, queue]:
        assert binding == Binding(routing_key, pattern, queue, SEPARATOR)


@pytest.mark.parametrize(
    ("member", "queue", "separator"),
    [
        (b"celery::celery", b"celery", b":"),
        (b"my:own::my:own", b"my:own", b":"),
        (b"celery--//--//celery", b"celery", b"--//"),
        (b"::w1@h.celery.pidbox", b"w1@h.celery.pidbox", b":"),
        (b"--//--//w1@h.celery.pidbox", b"w1@h.celery.pidbox", b"--//"),
    ],
)
def test_an_unknown_separator_is_guessed(member, queue, separator) -> None:
    binding = read_binding(member, [SEPARATOR])

    assert binding is not None
    assert (binding.queue, binding.separator) == (queue, separator)


def test_a_learnt_separator_reads_what_cannot_be_guessed() -> None:
    assert read_binding(b"key::queue", [SEPARATOR]) is None
    assert read_binding(b"key::queue", [SEPARATOR, b":"]) == Binding(b"key", b"", b"queue", b":")


@given(st.binary(max_size=80), st.lists(st.binary(min_size=1, max_size=3), max_size=3))
def test_any_bytes_are_a_binding_with_a_queue_or_none(member, separators) -> None:
    binding = read_binding(member, [SEPARATOR, *separators])

    assert binding is None or (binding.queue in member and binding.queue and binding.separator)


# Routing


@pytest.mark.parametrize(
    ("topic", "routing_key", "matches"),
    [
        (b"a.#", b"a", True),
        (b"a.#", b"a.b.c", True),
        (b"a.#", b"b.a", False),
        (b"a.*", b"a.b", True),
        (b"a.*", b"a", False),
        (b"a.*", b"a.b.c", False),
        (b"#.z", b"x.y.z", True),
        (b"*.b.#", b"a.b", True),
        (b"a.b", b"a.b", True),
        (b"a.b", b"a.c", False),
        (b"a.b", b"a", False),
    ],
)
def test_topics_match_as_in_amqp(topic, routing_key, matches) -> None:
    assert routes_to(Binding(topic, b"^stored$", b"q", SEPARATOR), routing_key) is matches


words = st.sampled_from(["a", "b", "*", "#"])


@given(
    st.lists(words, min_size=1, max_size=6), st.lists(st.sampled_from("ab"), min_size=1, max_size=6)
)
def test_topics_match_as_a_regex_would(topic, key) -> None:
    pattern = ""
    for word in topic:
        pattern += {"*": r"\.[^.]+", "#": r"(\.[^.]+)*"}.get(word, r"\." + word)
    expected = re.fullmatch(pattern, "." + ".".join(key)) is not None
    binding = Binding(".".join(topic).encode(), b"p", b"q", SEPARATOR)

    assert routes_to(binding, ".".join(key).encode()) is expected


def test_without_a_pattern_only_the_same_key_matches() -> None:
    direct = Binding(b"#", b"", b"q", SEPARATOR)

    assert routes_to(direct, b"#")
    assert not routes_to(direct, b"a")


@pytest.mark.timeout(5)
def test_a_hostile_topic_costs_little() -> None:
    binding = Binding(b"#." * 400 + b"x", b"p", b"q", SEPARATOR)

    assert not routes_to(binding, b"a." * 100 + b"a")
    assert not routes_to(binding, b"a." * 100_000)


# Deliveries


@given(
    message=json_values,
    exchange=st.text(max_size=20),
    routing_key=st.text(max_size=20),
    ascii_only=st.booleans(),
)
def test_route_is_read_from_the_end_of_a_delivery(
    message, exchange, routing_key, ascii_only
) -> None:
    entry = json.dumps([message, exchange, routing_key], ensure_ascii=ascii_only)
    raw = entry.encode("utf-8", "replace")
    expected = tuple(word.encode("utf-8", "replace") for word in (exchange, routing_key))

    assert delivered_by(raw) == expected


def test_a_missing_exchange_is_the_default_one() -> None:
    assert delivered_by(b'[{"body": "x"}, null, "mail"]') == (b"", b"mail")


@given(st.binary(max_size=200) | st.text('\\"[], nul', max_size=60).map(str.encode))
def test_any_bytes_are_a_route_or_none(entry) -> None:
    route = delivered_by(entry)

    assert route is None or all(isinstance(part, bytes) for part in route)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("tail", [b'"' * 10**7 + b"]", b'\\"' * 10**7 + b'"]', b"," * 10**7 + b"]"])
def test_a_hostile_delivery_costs_little(tail) -> None:
    for _ in range(20):
        assert delivered_by(b"[{}" + tail) in {None, (b"", b"")}


# Events


def test_a_heartbeat_is_read() -> None:
    expected = WorkerEvent(
        "heartbeat",
        "w1@h",
        1795250000.5,
        active=1,
        processed=1042,
        pid=77,
        version="5.7.0",
        load=(0.1, 0.2, 0.3),
        platform="Linux",
    )

    assert worker_events(envelope(HEARTBEAT)) == [expected]
    for wrong in ([1, 2], [1, 2, "3"], [1, 2, -3], [float("inf"), 1, 1], 7, None):
        (event,) = worker_events(envelope({**HEARTBEAT, "loadavg": wrong}))
        assert event.load is None
    assert worker_events(envelope([HEARTBEAT, HEARTBEAT])) == [expected, expected]
    plain = envelope(HEARTBEAT, body=json.dumps(HEARTBEAT), properties={})
    assert worker_events(plain) == [expected]


@pytest.mark.parametrize(
    "changes",
    [
        {"content-type": "application/x-python-serialize"},
        {"body": 7},
        {"body": "not base64!"},
        {"properties": None},
        {"body": b64encode(b"\xff").decode()},
    ],
)
def test_other_contents_are_left_alone(changes) -> None:
    assert worker_events(envelope(HEARTBEAT, **changes)) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("active", True), ("active", -1), ("active", 2**60), ("active", "3"), ("active", 1.5)],
)
def test_numbers_that_are_none_are_unknown(field, value) -> None:
    (event,) = worker_events(envelope(HEARTBEAT | {field: value}))

    assert event.active is None
    assert event.processed == 1042


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300, 2**2000, "now", True, None])
def test_a_time_that_is_none_is_unknown(value) -> None:
    (event,) = worker_events(envelope(HEARTBEAT | {"timestamp": value}))

    assert event.timestamp is None


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "task-received"},
        {"type": "worker-elect"},
        {"type": ["worker-heartbeat"]},
        {"hostname": ""},
        {"hostname": "x" * 1000},
        {"hostname": None},
    ],
)
def test_what_is_no_event_of_a_worker_is_left_out(fields) -> None:
    assert worker_events(envelope([HEARTBEAT | fields, HEARTBEAT])) == worker_events(
        envelope(HEARTBEAT)
    )


def test_a_monstrous_message_is_not_even_parsed() -> None:
    assert worker_events(b" " * LONGEST_EVENT + envelope(HEARTBEAT)) == []


@given(
    st.binary(max_size=300)
    | st.builds(envelope, json_values)
    | json_values.map(json.dumps).map(str.encode)
)
def test_any_message_is_a_list_of_valid_events(payload) -> None:
    for event in worker_events(payload):
        assert event.node
        assert event.kind in {"online", "heartbeat", "offline"}


@given(st.fixed_dictionaries(dict.fromkeys(HEARTBEAT, json_values)))
def test_any_fields_give_an_event_with_plain_values(fields) -> None:
    body = HEARTBEAT | fields | {"type": "worker-heartbeat", "hostname": "w1@h"}
    (event,) = worker_events(envelope(body))

    for count in (event.active, event.processed, event.pid):
        assert count is None or count >= 0
    assert event.timestamp is None or math.isfinite(event.timestamp)


def test_nesting_without_end_is_survived() -> None:
    assert worker_events(b"[" * 60_000) == []
    assert worker_events(envelope({}, body=b64encode(b"[" * 40_000).decode())) == []


ETA = "2026-11-21T19:00:00+00:00"
AT = 1_795_287_600.0


def entry(message: object) -> bytes:
    return json.dumps([message, "", "mail"]).encode()


@pytest.mark.parametrize("eta", [ETA, "2026-11-21T19:00:00", "2026-11-21T20:00:00+01:00"])
def test_an_eta_is_read_from_headers_and_else_from_a_json_body(eta) -> None:
    in_body = {"body": b64encode(json.dumps({"eta": eta}).encode()).decode(), "headers": {}}
    in_body |= {"content-type": "application/json", "properties": {"body_encoding": "base64"}}

    assert due_at(entry({"headers": {"eta": eta}})) == AT
    assert due_at(entry(in_body)) == AT
    assert due_at(entry(in_body | {"content-type": "application/x-python-serialize"})) is None


@pytest.mark.parametrize("eta", [None, "", "soon", 5, [ETA], {}, "9999-99-99", "0001-01-01T00:00"])
def test_an_eta_that_is_none_or_rubbish_is_no_due_time(eta) -> None:
    found = due_at(entry({"headers": {"eta": eta}}))
    assert found is None or found < 0


@given(st.binary(max_size=200))
def test_no_entry_or_result_makes_the_reader_fail(raw) -> None:
    assert due_at(raw) is None
    assert result_of(raw) is None


def test_a_result_that_ended_tells_queue_and_time() -> None:
    fields = {"status": "FAILURE", "queue": "mail", "date_done": ETA, "result": {}}

    assert result_of(json.dumps(fields).encode()) == TaskResult(b"mail", AT)
    for status in ("STARTED", "RETRY", "PENDING", None, 5):
        assert result_of(json.dumps(fields | {"status": status}).encode()) is None
    for queue in (None, "", 5, ["mail"]):
        assert result_of(json.dumps(fields | {"queue": queue}).encode()) is None
    assert result_of(json.dumps(fields | {"result": "x" * 100_000}).encode()) is None
