"""Which names betray which system, and how many are asked about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends import recognition
from bgtop.backends.recognition import Recognition
from bgtop.contracts import Finding, Mark

MARKS = {
    "post": (Mark("post:boxes", type="set"), Mark("*:post.*.box", type="list")),
    "mill": (Mark("mill.*"), Mark("*:wheels", type="zset", option="river")),
}


def asked(known: Recognition, **kinds: str) -> tuple[Finding, ...]:
    """Answer every question: these keys have these types, others are not there."""
    for key in known.questions():
        known.answer(key, kinds.get(key.decode(errors="replace").replace(":", "_"), "none"))
    return known.found


def test_a_known_name_counts_with_its_type() -> None:
    known = Recognition(MARKS)

    assert known.questions() == [b"post:boxes"]
    assert asked(known) == ()
    assert asked(known, post_boxes="string") == ()
    assert asked(known, post_boxes="set") == (Finding("post"),)
    assert known.questions() == []


@pytest.mark.parametrize(
    ("name", "is_suspect"),
    [
        (b"a:post.b.box", True),
        (b":post..box", True),
        (b"a:post.b.c.box", True),
        (b"a:post.box", False),
        (b"a:post.b.boxes", False),
        (b"post.b.box", False),
        (b"x" * 999 + b":post.b.box", False),
        (b"post:boxes", False),
        (b"", False),
    ],
)
def test_a_name_fits_part_by_part(name: bytes, is_suspect: bool) -> None:
    known = Recognition({"post": MARKS["post"]})

    known.look_at([name])

    assert known.suspects == ([name] if is_suspect else [])
    assert known.found == ()


def test_a_mark_without_type_needs_no_question() -> None:
    known = Recognition(MARKS)

    known.look_at([b"mill.", b"mill.a"])

    assert known.found == (Finding("mill"),)
    assert known.suspects == []


def test_what_the_star_stands_for_becomes_an_option() -> None:
    known = Recognition({"mill": MARKS["mill"][1:]})

    known.look_at([b"po:wheels", b"rhine:wheels", b"a:b:wheels", b"\xff:wheels"])

    assert asked(known, po_wheels="zset", a_b_wheels="zset") == (
        Finding("mill", (("river", "a:b"),)),
        Finding("mill", (("river", "po"),)),
    )
    assert known.suspects == []


def test_one_proof_is_enough() -> None:
    known = Recognition(MARKS)
    known.look_at([b"%d:post.x.box" % number for number in range(50)])
    [_, first, *others] = known.questions()

    known.answer(first, "list")

    assert known.found == (Finding("post"),)
    assert len(others) == 49
    assert known.suspects == []
    known.answer(others[0], "list")  # which was on its way
    assert known.found == (Finding("post"),)


def test_questions_and_findings_are_bounded() -> None:
    known = Recognition(MARKS)
    for start in range(0, 10_000, 1_000):
        known.look_at([b"%d:wheels" % number for number in range(start, start + 1_000)])

    assert len(known.suspects) == recognition.MOST_SUSPECTS
    for key in known.questions():
        known.answer(key, "zset")
    assert len(known.found) == recognition.MOST_FINDINGS


def test_two_systems_may_have_a_mark_in_common() -> None:
    known = Recognition({"a": (Mark("k"),), "b": (Mark("k"), Mark("k*"))})

    assert asked(known, k="hash") == (Finding("a"), Finding("b"))


@given(st.lists(st.binary(max_size=20)), st.text(alphabet="ab*:", max_size=6))
def test_any_names_and_any_pattern(names: list[bytes], pattern: str) -> None:
    known = Recognition({"x": (Mark(pattern, option="o"),)})

    known.look_at(names)
    for key in known.questions():
        known.answer(key, "set")

    assert len(known.found) <= recognition.MOST_FINDINGS
