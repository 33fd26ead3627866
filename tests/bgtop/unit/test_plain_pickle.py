"""Pickles of plain values are read; nothing a pickle asks for is ever done."""

from __future__ import annotations

import contextlib
import os
import pickle
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends.plain_pickle import LONGEST, NotPlain, plain_value

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(value=PLAIN, protocol=st.integers(2, 5))
def test_what_is_plain_is_read(value: Any, protocol: int) -> None:
    pickled = pickle.dumps(value, protocol)
    # Bytes are made by a call up to protocol 2; one container may stand in two places.
    with contextlib.suppress(NotPlain):
        assert plain_value(pickled) == value


def test_a_call_of_a_task_is_read() -> None:
    call = ("app.send", None, (7, "x", ["y"], None), {"urgent": True, "rate": 1.5})

    assert plain_value(pickle.dumps(call, 5)) == call


class Evil:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_called(tmp_path: Path, protocol: int) -> None:
    made = tmp_path / "made"
    with pytest.raises(NotPlain):
        plain_value(pickle.dumps(Evil(str(made)), protocol))

    assert not made.exists()


def doubling(levels: int) -> list[Any]:
    found: list[Any] = ["x"]
    for _ in range(levels):
        found = [found, found]
    return found


def nested(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


def itself() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "pickled",
    [
        b"",
        b".",
        b"(.",
        b"\x80\x05K\x01",
        b"\x80\x05aaaa.",
        b"\x80\x05]K\x01s.",
        pickle.dumps({1, 2}),
        pickle.dumps(datetime(2026, 11, 21, tzinfo=timezone.utc)),
        pickle.dumps("x" * LONGEST),
        pickle.dumps(10**1000),
        pickle.dumps(doubling(30)),
        pickle.dumps(nested(100)),
        pickle.dumps(itself()),
        # Many times a list that is filled only after that.
        b"\x80\x05]q\x00(]q\x01h\x00h\x00h\x00ee.",
    ],
)
def test_all_the_rest_is_refused(pickled: bytes) -> None:
    with pytest.raises(NotPlain):
        plain_value(pickled)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(pickled: bytes) -> None:
    with contextlib.suppress(NotPlain):
        plain_value(pickled)
