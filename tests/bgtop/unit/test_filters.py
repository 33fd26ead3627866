"""The language of filters: what it keeps, and what it says to what it does not understand."""

from __future__ import annotations

from typing import Any

import pytest
from frames import ANY_FRAME
from hypothesis import example, given
from hypothesis import strategies as st

from bgtop.model import Frame, QueueReading
from bgtop.state.filters import FIELDS, Facts, filter_of, quoted
from bgtop.state.intake import BadPattern
from bgtop.state.records import (
    ERROR_FACTS,
    JOB_FACTS,
    QUEUE_FACTS,
    SCHEDULE_FACTS,
    SOURCE_FACTS,
    TYPE_FACTS,
    WORKER_FACTS,
    queue_rows,
)

FACTS: Facts[dict[str, Any]] = {
    name: lambda row, name=name: row.get(name)  # type: ignore[misc]
    for name in ("name", "state", "queue", "depth", "age", "kwargs", "args")
}
ROWS = [
    {"name": "mail", "state": "failed", "depth": 5, "age": 90.0, "queue": ["a", "b"]},
    {"name": "mail.bulk", "state": "waiting", "depth": 12_000, "age": None},
    {"name": "push (x)", "state": "", "depth": None, "kwargs": '{"user": 7, "to": "ab"}'},
    {"name": "OR", "state": "dead", "depth": 0, "age": 3600.0},
]
ALL = ["mail", "mail.bulk", "push (x)", "OR"]


def kept(text: str) -> list[str]:
    keeps = filter_of(text, FACTS)
    return [str(row["name"]) for row in ROWS if keeps is None or keeps(row)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ALL),
        ("  ", ALL),
        ("!", ALL),
        ("mail", ["mail", "mail.bulk"]),
        ("^mail$", ["mail"]),
        ("!mail", ["push (x)", "OR"]),
        ("NOT mail", ["push (x)", "OR"]),
        ("! mail", ["push (x)", "OR"]),
        ("mail bulk", ["mail.bulk"]),
        ("mail AND bulk", ["mail.bulk"]),
        ("mail !bulk", ["mail"]),
        ("bulk OR push", ["mail.bulk", "push (x)"]),
        ("bulk OR push x", ["mail.bulk", "push (x)"]),
        ("(bulk OR push) x", ["push (x)"]),
        ("((bulk OR push) AND x)", ["push (x)"]),
        ("(x AND (bulk OR push))", ["push (x)"]),
        ("!(bulk OR push)", ["mail", "OR"]),
        ("(mail|push)", ["mail", "mail.bulk", "push (x)"]),
        ("(mail|push)$", ["mail"]),
        ("m(a)il", ["mail", "mail.bulk"]),
        ("[(]x", ["push (x)"]),
        (r"\(x", ["push (x)"]),
        ('"push (x)"', ["push (x)"]),
        ('"OR"', ["OR"]),
        ('!"."', ["mail", "push (x)", "OR"]),
        ("state:failed", ["mail"]),
        ("state:FAILURE", ["mail"]),
        ("state:PENDING", ["mail.bulk"]),
        ("state:fail", []),
        ("(state:failed)", ["mail"]),
        ("(state:failed OR state:dead) !OR$", ["mail"]),
        ("name:bulk", ["mail.bulk"]),
        ('name:"h (x"', ["push (x)"]),
        ("queue:^b$", ["mail"]),
        ("depth>5", ["mail.bulk"]),
        ("depth>=5", ["mail", "mail.bulk"]),
        ("depth<5", ["OR"]),
        ("depth<=5", ["mail", "OR"]),
        ("depth=0", ["OR"]),
        ("depth>10k", ["mail.bulk"]),
        ("!depth>5", ["mail", "push (x)", "OR"]),
        ("age>1.4m", ["mail", "OR"]),
        ("age>59m age<=1h", ["OR"]),
        ("age>-1", ["mail", "OR"]),
        ("state=dead", ["OR"]),
        ("kwargs:user=7", ["push (x)"]),
        ("kwargs:user=8", []),
        ("kwargs:to=ab", ["push (x)"]),
        ("kwargs:to=a", []),
        ("depth:12", ["mail.bulk"]),
        ("nobody:mail", []),
        ("a>b", []),
    ],
)
def test_what_a_filter_keeps(text: str, names: list[str]) -> None:
    assert kept(text) == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("4(", "not a pattern: missing )"),
        ("(mail OR", "not a pattern: missing )"),
        ("*", "not a pattern: nothing to repeat"),
        ("mail OR", "something is missing at the end"),
        ("mail AND", "something is missing at the end"),
        ("NOT", "something is missing at the end"),
        ("mail !", "something is missing at the end"),
        ("OR mail", "something is missing before OR"),
        ("mail OR AND x", "something is missing before AND"),
        ('"mail', 'missing "'),
        ("worker:a", "no field worker here, but name state queue depth age kwargs args"),
        ("depht>5", "no field depht here, but name state queue depth age kwargs args"),
        ("!oldest_age<=2m", "no field oldest_age here, but name"),
        ("depth>", "depth> of what?"),
        ("state:", "state: of what?"),
        ("depth>many", "depth> wants a number such as 10, 1.5, 2m or 10k"),
        ("x " * 65, "more than 64 terms"),
        ("x" * 501, "longer than 500 letters"),
        ("!" * 20 + "x", "more than 8 brackets inside each other"),
        ("(" * 30 + "a b" + ")" * 30, "more than 8 brackets inside each other"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, words: str) -> None:
    with pytest.raises(BadPattern) as fault:
        filter_of(text, FACTS)

    assert words in str(fault.value)
    assert "\n" not in str(fault.value)


@given(st.text(alphabet=st.sampled_from('ab ()!":=><[]\\|*+?.ORANDTdepth0'), max_size=60))
@example("((((((((((((((((((((")
@example("[[a]]")
@example("(?i)(?#")
@example('state:"a')
def test_whatever_is_typed_is_a_filter_or_a_line_of_words(text: str) -> None:
    try:
        keeps = filter_of(text, FACTS)
    except BadPattern:
        return
    for row in ROWS:
        assert keeps is None or keeps(row) in {True, False}


@given(st.text(min_size=1, max_size=80))
def test_quoted_text_finds_itself(text: str) -> None:
    keeps = filter_of(quoted(text), FACTS)

    assert keeps is not None
    assert keeps({"name": f"x{text}x"})


@given(ANY_FRAME, st.sampled_from(sorted(QUEUE_FACTS)), st.sampled_from([":x", ">0", "<9", "=1"]))
def test_any_field_can_be_asked_of_any_row(seen: Frame, field: str, question: str) -> None:
    keeps = filter_of(field + question, QUEUE_FACTS)
    assert keeps is not None
    for row in queue_rows(seen):
        assert keeps(row) in {True, False}


def test_every_fact_is_a_field_of_the_language() -> None:
    tables = (
        *(QUEUE_FACTS, WORKER_FACTS, JOB_FACTS, TYPE_FACTS),
        *(ERROR_FACTS, SCHEDULE_FACTS, SOURCE_FACTS),
    )

    assert {name for facts in tables for name in facts} <= FIELDS


def test_what_is_unknown_is_not_zero() -> None:
    assert QUEUE_FACTS["depth"](_row(QueueReading(name="a"))) is None
    keeps = filter_of("depth<1", QUEUE_FACTS)
    assert keeps is not None
    assert not keeps(_row(QueueReading(name="a")))
    assert keeps(_row(QueueReading(name="a", depth=0)))


def _row(queue: QueueReading) -> Any:
    from frames import T0, frame, source

    from bgtop.model import Reading

    return queue_rows(frame(source(Reading(taken_at=T0, queues=(queue,)))))[0]
