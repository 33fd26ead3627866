"""Arguments and results as JSON text: what is refused, and that nothing is changed silently."""

from __future__ import annotations

import enum
import json
import sqlite3
from collections import OrderedDict, UserDict
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgworker import BgWorker, NotJson, PayloadTooLarge
from bgworker.codec import (
    dump_args,
    dump_error,
    dump_result,
    headers_of,
    load_args,
    load_error,
    with_headers,
)
from bgworker.model import PAYLOAD_CAP, Takes, with_results

text = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | text
    | st.floats(allow_nan=False).filter(lambda x: x not in {float("inf"), float("-inf")})
)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=4) | st.dictionaries(text, v, max_size=4), max_leaves=20
)


@given(st.lists(values, max_size=4), st.dictionaries(text, values, max_size=4))
def test_what_is_accepted_comes_back_the_same(args: list[Any], kwargs: dict[str, Any]) -> None:
    """Type and value, lone surrogates and control characters included; the text is ASCII."""
    found = dump_args(args, kwargs)

    assert found.isascii()
    assert "\n" not in found
    assert load_args(found) == (args, kwargs)
    assert repr(load_args(found)) == repr((args, kwargs))


@given(values)
def test_a_result_comes_back_the_same(value: Any) -> None:
    found = dump_result(value)

    assert repr(json.loads(found)) == repr(value)


class Colour(enum.Enum):
    RED = 1


def circle() -> list[object]:
    found: list[object] = []
    found.append({"again": found})
    return found


def tower(height: int) -> object:
    found: object = 1
    for _ in range(height):
        found = [found]
    return found


REFUSED = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "circle": circle(),
    "tower": tower(10_000),
    "tower of dicts": json.loads('{"a":' * 500 + "1" + "}" * 500) and {"deep": tower(5_000)},
    "integer key": {1: "one"},
    "none key": {None: 1},
    "true key": {True: 1},
    "float key": {1.5: 1},
    "tuple key": {(1, 2): 1},
    "bytes key": {b"a": 1},
    "deep integer key": [[{"a": [{2: 1}]}]],
    "key in a tuple": ({3: 1},),
    "key in a mapping": OrderedDict([(4, 1)]),
    "a mapping that is no dict": UserDict({"a": 1}),
    "bytes": b"abc",
    "set": {1, 2},
    "object": object(),
    "function": len,
    "type": int,
    "enum": Colour.RED,
    "datetime": datetime.now(timezone.utc),
    "decimal": Decimal(1),
    "complex": 1j,
    "generator": (i for i in range(2)),
    "exception": ValueError("x"),
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED.keys())
def test_what_json_cannot_say_is_refused(value: object) -> None:
    """A ``TypeError``, with what it is about; as argument, keyword argument and result."""
    with pytest.raises(NotJson, match=r"^arguments must be JSON") as caught:
        dump_args([value], {})
    assert isinstance(caught.value, TypeError)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count("must be JSON") == 1
    with pytest.raises(NotJson):
        dump_args([], {"key": value})
    with pytest.raises(NotJson, match=r"^the result must be JSON"):
        dump_result(value)


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED.keys())
def test_nothing_is_stored_of_a_refused_call(value: object, tmp_path: Path) -> None:
    bg = BgWorker(f"sqlite:///{tmp_path}/jobs.db")
    task = bg.task(name="t")(lambda *args, **kwargs: None)
    task.delay()
    with pytest.raises(TypeError):
        task.delay(value)
    with pytest.raises(TypeError):
        task.map([(1,), (value,)])
    with pytest.raises(ValueError, match="over the cap"):
        task.delay("x" * PAYLOAD_CAP)

    db = sqlite3.connect(tmp_path / "jobs.db")
    assert db.execute("SELECT count(*) FROM bgworker_job").fetchone() == (1,)
    db.close()
    bg.close()


@given(st.integers(0, 2_000))
def test_what_can_be_stored_can_be_read(height: int) -> None:
    """No value is accepted so deeply nested that a worker fails to read it."""
    try:
        found = dump_args([tower(height)], {})
    except NotJson:
        return
    assert load_args(found)[0] == [tower(height)]


def test_the_cap_is_in_bytes_of_json() -> None:
    """1 MiB exactly is accepted; a character beyond ASCII counts as it is stored."""
    room = PAYLOAD_CAP - len('[[""],{}]')

    assert len(dump_args(["x" * room], {})) == PAYLOAD_CAP
    with pytest.raises(PayloadTooLarge, match="1,048,577 bytes"):
        dump_args(["x" * (room + 1)], {})
    assert len(dump_args(["é" * (room // 6)], {})) <= PAYLOAD_CAP
    with pytest.raises(PayloadTooLarge):
        dump_args(["é" * (room // 6 + 1)], {})
    assert len(dump_result("x" * (PAYLOAD_CAP - 2))) == PAYLOAD_CAP
    with pytest.raises(PayloadTooLarge, match="the result"):
        dump_result("x" * (PAYLOAD_CAP - 1))


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "nonsense",
        "{}",
        "[]",
        "[[]]",
        "[{},[]]",
        "[[],{},1]",
        "null",
        "3",
        '"ab"',
        "[1,2]",
        "[" * 100_000,
    ],
)
def test_text_that_holds_no_arguments_is_an_error_of_ours(stored: str) -> None:
    with pytest.raises(NotJson, match="stored arguments"):
        load_args(stored)


@given(text, text, text)
def test_an_error_comes_back_the_same(kind: str, message: str, traceback: str) -> None:
    found = dump_error(kind, message, traceback)

    assert found.isascii()
    assert load_error(found) == (kind, message, traceback)


def test_a_long_error_keeps_the_end_of_its_traceback() -> None:
    found = dump_error("T" * 100_000, "m" * 100_000, "a" * 100_000 + "the end")
    kind, message, traceback = load_error(found)

    assert len(found) < 100_000
    assert set(kind) == {"T"}
    assert set(message) == {"m"}
    assert traceback.endswith("the end")


@pytest.mark.parametrize("stored", [None, "", "{}"])
def test_an_error_that_says_nothing(stored: str | None) -> None:
    assert load_error(stored) == ("unknown", "", "")


def test_what_travels_beside_arguments_is_neither_lost_nor_an_argument() -> None:
    plain = dump_args([1], {"a": 2})
    loaded = with_headers(plain, {"traceparent": "00-é"})

    assert load_args(loaded) == ([1], {"a": 2})
    assert headers_of(loaded) == {"traceparent": "00-é"}
    assert headers_of(plain) == {}
    assert headers_of(with_results(loaded, Takes.RESULT, ["7"])) == {"traceparent": "00-é"}
    assert load_args(with_results(loaded, Takes.RESULT, ["7"]))[0] == [7, 1]
