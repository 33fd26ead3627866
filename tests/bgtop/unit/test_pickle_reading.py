"""Pickles are read without being loaded: plain data comes out, code never runs, bombs end."""

from __future__ import annotations

import pickle
from collections import namedtuple
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bgtop.backends.job_text import LONGEST, ending_of, last_line, text_of
from bgtop.backends.pickle_reading import LARGEST, Made, Named, Unreadable, moment_in, read

PLAIN = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(),
    lambda inner: (
        some.lists(inner)
        | some.tuples(inner, inner)
        | some.dictionaries(some.text() | some.integers(), inner)
    ),
)
Message = namedtuple("Message", "id name")  # noqa: PYI024  # as Huey makes its own

THEN = datetime(2026, 11, 22, 3, 4, 5, 678_901)  # noqa: DTZ001  # Huey's have no zone
ran: list[str] = []


class Evil:
    """What loading it would run is in ``ran``."""

    def __reduce__(self) -> tuple[Any, ...]:
        return ran.append, ("loaded",)


@given(PLAIN, some.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_data_is_what_was_pickled(value: object, protocol: int) -> None:
    assert read(pickle.dumps(value, protocol)) == value


@given(some.binary(max_size=2_000))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with suppress(Unreadable):
        assert len(text_of(read(raw))) <= LONGEST + 1


@given(some.data())
def test_a_damaged_pickle_is_read_or_refused(data: some.DataObject) -> None:
    raw = bytearray(pickle.dumps([Message("a", {"b": (1, 2.5)}), THEN, {1, 2}]))
    for _ in range(data.draw(some.integers(1, 5))):
        raw[data.draw(some.integers(0, len(raw) - 1))] = data.draw(some.integers(0, 255))
    with suppress(Unreadable):
        assert len(text_of(read(bytes(raw)))) <= LONGEST + 1


def test_code_becomes_a_name_and_never_runs() -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        value = read(pickle.dumps([Evil(), print], protocol))
        assert isinstance(value, list)
        assert isinstance(value[0], Made)
        assert value[0].values == ("loaded",)
        assert value[1] in (Named("builtins.print"), Named("__builtin__.print"))
    assert ran == []
    assert read(b"cos\nsystem\n(S'true'\ntR.") == Made("os.system", ("true",))


def test_a_named_tuple_and_a_time_are_understood() -> None:
    value = read(pickle.dumps(Message("a", THEN)))

    assert isinstance(value, Made)
    assert value.name.endswith(".Message")
    assert moment_in(value.values[1]) == THEN
    assert text_of(THEN) == "<datetime>"
    assert text_of(value.values[1]) == '"2026-11-22T03:04:05.678901"'
    assert moment_in(Made("datetime.datetime", (b"\xff" * 10,))) is None
    assert moment_in(Made("datetime.datetime", ())) is None


def doubled(times: int) -> bytes:
    """A list of two lists of two lists …, in a few bytes: it would fill any memory as text."""
    return (
        b"]"
        + b"".join(b"2(l0]" for _ in range(0))
        + b"(" * 0
        + b"".join(
            # Put what there is aside, begin a new list, take it back twice.
            b"q%c0](h%ch%ce" % (n, n, n)
            for n in range(times)
        )
        + b"."
    )


def test_bombs_end() -> None:
    """Nesting, sharing, what holds itself, long programs, long data: little work for each."""
    deep = b"(" * 2_000 + b"t" * 2_000 + b"."
    assert len(text_of(read(deep))) < 100
    assert len(text_of(read(doubled(200)))) == LONGEST + 1
    itself: list[object] = []
    itself.append(itself)
    assert "…" in text_of(read(pickle.dumps(itself)))
    for raw in (
        b"\x80\x04" + b"N0" * 5_000 + b"N.",
        pickle.dumps(b"x" * 1_000_000),
        b"\x80\x04\x8e" + b"\xff" * 8 + b".",
        b"\x80\x04B\xff\xff\xff\x7f.",
        b"I" + b"9" * 50_000 + b"\n.",
        b"h\x05.",
        b"P1\n.",
        b"",
        b"\x80\x04]",
    ):
        with pytest.raises(Unreadable):
            read(raw)
    assert len(pickle.dumps(b"x" * 1_000_000)) > LARGEST


def test_keys_that_are_no_words_cost_nothing() -> None:
    """The hash of tuples that share their parts would be computed over and over."""
    program = b"}(" + b")" + b"".join(b"2\x86" for _ in range(100)) + b"K\x01u."
    assert read(program) == {"<tuple>": 1}


def test_texts_are_bounded_and_can_be_written_out() -> None:
    assert text_of({"a": [1, None, True], "b": "ä\n\ud800"}) == (
        '{"a": [1, null, true], "b": "ä\\n\\\\ud800"}'
    )
    assert text_of("x" * 10_000, 10) == '"xxxxxxxxx…'
    assert text_of([10**5_000]) == "[…]"
    assert text_of(b"\x00") == repr(b"\x00")
    assert text_of(ValueError("x")) == "<ValueError>"
    assert last_line("a\nb: c\n") == "b: c"
    assert last_line(" \n") is None
    assert ending_of("abc", 2) == "…bc"
