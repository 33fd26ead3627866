"""Rows of one kind: chosen, ordered, and written."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest
from frames import ANY_FRAME, T0, ago, frame, source
from hypothesis import given, settings

from bgtop.model import (
    Age,
    AgeKind,
    Frame,
    JobList,
    JobQuery,
    JobReading,
    JobState,
    QueueReading,
    Reading,
    ScheduleReading,
)
from bgtop.state.filters import filter_of
from bgtop.view.lists import (
    QUEUES,
    SCHEDULES,
    TASKS,
    WORKERS,
    BadColumn,
    Kind,
    in_order,
    list_document,
    sheet_of,
    text_of,
)


def names(found: list[dict[str, object]]) -> list[object]:
    return [row["name"] for row in found]


def found(kind: Kind, seen: Frame, text: str) -> list[object]:
    """The names of the rows a filter keeps."""
    return names(kind.records(seen, filter_of(text, kind.facts)))


@pytest.fixture
def three() -> Frame:
    queues = (
        QueueReading(name="bulk", depth=7, last_completed_at=ago(60)),
        QueueReading(name="mail", depth=900),
        QueueReading(name="push", last_completed_at=ago(5)),
    )
    return frame(source(Reading(taken_at=T0, queues=queues)))


@pytest.mark.parametrize(
    ("column", "order"),
    [
        (None, ["bulk", "mail", "push"]),
        ("depth", ["mail", "bulk", "push"]),
        ("!DEPTH", ["bulk", "mail", "push"]),
        ("name", ["bulk", "mail", "push"]),
        ("!queue", ["push", "mail", "bulk"]),
        ("last", ["push", "bulk", "mail"]),
    ],
)
def test_order(three: Frame, column: str | None, order: list[str]) -> None:
    assert names(in_order(QUEUES.records(three), QUEUES, column)) == order


def test_a_column_that_is_none_names_those_there_are(three: Frame) -> None:
    with pytest.raises(BadColumn, match="'colour' is no column of queues; known: source, "):
        in_order([], QUEUES, "colour")


def test_names_are_filtered(three: Frame) -> None:
    assert found(QUEUES, three, "l$|p") == ["mail", "push"]
    assert found(QUEUES, three, "!l") == ["push"]
    assert found(QUEUES, three, "") == ["bulk", "mail", "push"]


def test_fields_of_a_filter_are_those_of_the_screen() -> None:
    reading = Reading(
        taken_at=T0,
        queues=(QueueReading(name="mail", paused=True), QueueReading(name="push")),
        schedules=(
            ScheduleReading(name="nightly", task="report", next_at=ago(90), enabled=True),
            ScheduleReading(name="report", task="clean", enabled=False),
        ),
    )
    seen = frame(source(reading))

    assert found(QUEUES, seen, "state:paused") == ["mail"]
    assert found(SCHEDULES, seen, "task:report") == ["nightly"]
    assert found(SCHEDULES, seen, "late>60") == found(SCHEDULES, seen, "enabled:yes") == ["nightly"]
    assert found(SCHEDULES, seen, "name:report") == ["report"]


def test_text_leaves_out_what_nothing_is_known_of(three: Frame) -> None:
    text = text_of(QUEUES, QUEUES.records(three), three)

    assert [line.split() for line in text.splitlines()] == [
        ["QUEUE", "DEPTH", "LAST"],
        ["bulk", "7", "60s"],
        ["mail", "900", "–"],
        ["push", "–", "5s"],
    ]


def test_a_row_of_one_of_several_sources_says_which() -> None:
    reading = Reading(taken_at=T0, queues=(QueueReading(name="mail", depth=1),))
    both = frame(source(reading), source(Reading(taken_at=T0), name="b"))

    text = text_of(QUEUES, QUEUES.records(both), both)

    assert [line.split() for line in text.splitlines()] == [
        ["QUEUE", "SOURCE", "DEPTH"],
        ["mail", "a", "1"],
    ]


def test_an_age_that_was_only_watched_is_a_lower_bound() -> None:
    ages = Age(3.0, AgeKind.AT_LEAST), Age(4.0)
    queues = tuple(QueueReading(name=f"q{n}", depth=1, oldest=age) for n, age in enumerate(ages))
    seen = frame(source(Reading(taken_at=T0, queues=queues)))

    text = text_of(QUEUES, QUEUES.records(seen), seen)

    assert [line.split()[-1] for line in text.splitlines()] == ["OLDEST", "≥3.0s", "4.0s"]


def test_a_job_that_is_due_later_says_so() -> None:
    job = JobReading(id="1", state=JobState.SCHEDULED, due_at=T0 + timedelta(seconds=30))
    jobs = JobList(query=JobQuery(), rows=(job,))
    seen = frame(source(Reading(taken_at=T0, jobs=jobs)))

    assert "in 30s" in text_of(TASKS, TASKS.records(seen), seen)


def test_csv_has_a_header_even_without_rows() -> None:
    assert sheet_of(WORKERS, []).startswith("source,system,name,state,")


def test_what_is_cut_off_is_counted(three: Frame) -> None:
    document = list_document(three, QUEUES, QUEUES.records(three)[:1], hidden=2)

    assert list(document) == ["schema", "taken_at", "sources", "queues", "hidden"]
    assert (len(document["queues"]), document["hidden"]) == (1, 2)


def test_what_a_system_cannot_list_is_said() -> None:
    jobs = JobList(query=JobQuery(), more=True, unreadable=frozenset({JobState.FAILED}))
    document = list_document(frame(source(Reading(taken_at=T0, jobs=jobs))), TASKS, [], hidden=0)

    assert document["more"] is True
    assert document["unreadable"] == [{"source": "a", "system": "celery", "states": ["failed"]}]


@settings(max_examples=30)
@given(ANY_FRAME)
def test_any_frame_can_be_listed(seen: Frame) -> None:
    for kind in (QUEUES, WORKERS):
        rows = in_order(kind.records(seen), kind, kind.columns[1].key)
        lines = text_of(kind, rows, seen).splitlines()
        parsed = list(csv.reader(io.StringIO(sheet_of(kind, rows))))

        assert len(lines) == len(rows) + 1 == len(parsed)
        assert all(line.isprintable() for line in lines)
