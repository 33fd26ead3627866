"""RQ's values in Redis, decoded: what is no such value is unknown, and nothing raises."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends.rq.wire import count, job_key, listened_to, moment, task_name, word

ANYTHING = st.one_of(st.binary(max_size=64), st.none(), st.integers(), st.text(max_size=8))


@pytest.mark.parametrize(
    ("written", "micros"),
    [(b"2026-11-21T04:00:00.123456Z", 123456), (b"2026-11-21T04:00:00Z", 0)],
)
def test_a_time_is_utc(written, micros) -> None:
    assert moment(written) == datetime(2026, 11, 21, 4, 0, 0, micros, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "written", [None, b"", b"soon", b"2026-11-21", b"2026-11-21T04:00:00+14:00", b"\xff" * 20, 7]
)
def test_what_is_no_time_of_rq_is_none(written) -> None:
    assert moment(written) is None


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (None, 0),
        (b"0", 0),
        (b"12", 12),
        (b"-1", None),
        (b"1.5", None),
        (b"9" * 16, None),
        (b"", None),
    ],
)
def test_a_counter_never_raised_is_zero_and_rubbish_is_unknown(written, number) -> None:
    assert count(written) == number


@pytest.mark.parametrize(
    ("description", "name"),
    [
        (b"app.send('secret')", "app.send"),
        (b"app.Class.method(1, 2)", "app.Class.method"),
        (b"app.<lambda>()", "app.<lambda>"),
        (b"send mail (urgent)", "send mail (urgent)"),
        (b"app.send(", "app.send("),
        (b" \n ", None),
        (None, None),
        (b"\xff()", "\\xff()"),
    ],
)
def test_a_task_is_named_by_its_function(description, name) -> None:
    assert task_name(description) == name


@given(ANYTHING)
def test_nothing_raises_and_names_are_one_short_line(value) -> None:
    moment(value)
    word(value)
    count(value)
    name = task_name(value)
    assert name is None or (name.isprintable() and 0 < len(name) <= 80)


@pytest.mark.parametrize(
    ("queues", "known", "names"),
    [
        (None, [], ()),
        (b"", [], ()),
        (b"b,a", [], (b"b", b"a")),
        (b"a,a", [], (b"a",)),
        (b"x,a,b", [b"a,b"], (b"x", b"a,b")),
        (b"a,b,c", [b"a,b", b"a,b,c"], (b"a,b,c",)),
        (b"a,bc", [b"a,b"], (b"a", b"bc")),
    ],
)
def test_queues_of_a_worker_are_split_at_commas_that_are_in_no_name(queues, known, names) -> None:
    assert listened_to(queues, known) == names


@pytest.mark.parametrize(("job", "key"), [(b"a", b"rq:job:a"), (b"", None), (b"x" * 513, None)])
def test_only_a_possible_id_has_a_key(job, key) -> None:
    assert job_key(job) == key
