"""Names of any bytes, as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends.raw_names import configured_queues, labels, queue_named, quoted, text
from bgtop.contracts import NoSuchTarget


@given(st.binary(max_size=50))
def test_any_bytes_have_a_text(raw) -> None:
    shown = text(raw)

    assert bool(shown.encode("utf-8")) is bool(raw)


@given(st.lists(st.binary(max_size=6), unique=True))
def test_labels_are_unique_and_complete(names) -> None:
    shown = labels(names)

    assert set(shown) == set(names)
    assert len(set(shown.values())) == len(names)


def test_two_names_never_read_the_same() -> None:
    assert sorted(labels([b"\xff", b"\\xff", b"a"]).values()) == ["\\xff", "\\xff'", "a"]


def test_queues_of_the_address_are_percent_decoded_and_named_once() -> None:
    url = "huey+redis://h/0?queue=mail&ssl_cert_reqs=none&queue=a%2Fb&queue=mail#queue=no"

    assert configured_queues(url) == (b"mail", b"a/b")


def test_a_queue_is_found_by_what_it_is_shown_as() -> None:
    known = labels([b"mail", b"\xff", b"\\xff"])

    assert [queue_named(label, known) for label in known.values()] == [*known]
    with pytest.raises(NoSuchTarget, match=r"^there is no queue 'nail'$"):
        queue_named("nail", known)


def test_what_somebody_named_is_said_on_one_short_line() -> None:
    assert quoted("a\nb\u202e\udcff") == r"'a\nb\u202e\udcff'"
    assert quoted("x" * 80) == f"'{'x' * 80}'"
    assert quoted("x" * 1_000) == f"'{'x' * 79}…'"
