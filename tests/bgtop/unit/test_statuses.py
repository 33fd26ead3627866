"""The lines about the sources: the worst first, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from frames import T0, frame, queues, source

from bgtop.model import Failure, Reading
from bgtop.view.statuses import statuses_of

NOW = T0 + timedelta(seconds=2.4)


def failure(**more: object) -> Failure:
    return replace(Failure(message="connection refused by h:1", since=T0), **more)


def texts(*sources: object, **limits: int) -> list[tuple[str, str]]:
    seen = replace(frame(*sources), **limits)  # type: ignore[arg-type]
    return [(status.tag, status.text) for status in statuses_of(seen, NOW)]


def test_all_is_well() -> None:
    assert texts(source(queues("mail"))) == [("OK", "a · data 2s old · read in 4ms")]


def test_several_that_are_well_share_a_line() -> None:
    assert texts(source(queues(), "a"), source(queues(), "b")) == [
        ("OK", "2 sources · data at most 2s old")
    ]


def test_with_detail_each_has_a_line_with_what_it_cost() -> None:
    read = replace(queues(), round_trips=2, commands=45)
    seen = frame(source(read, "a"), source(replace(queues(), round_trips=1), "b"))

    assert [status.text for status in statuses_of(seen, NOW, detail=True)] == [
        "a · data 2s old · read in 4ms · 2 round trips · 45 commands",
        "b · data 2s old · read in 4ms · 1 round trip",
    ]


def test_not_heard_yet() -> None:
    assert texts(source(None)) == [("WAIT", "waiting for the first reading")]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (failure(), "connection refused by h:1"),
        (failure(retry_at=NOW + timedelta(seconds=2.1)), "connection refused by h:1 · retry in 3s"),
        (failure(retry_at=NOW), "connection refused by h:1 · retrying"),
        (
            failure(retry_at=NOW + timedelta(seconds=30), attempts=7),
            "connection refused by h:1 · retry in 30s · attempt 7",
        ),
    ],
)
def test_down(fault: Failure, words: str) -> None:
    assert texts(source(None, failure=fault)) == [("DOWN", words)]


def test_down_with_old_data() -> None:
    [(_, words)] = texts(source(queues("mail"), failure=failure()))

    assert words == "connection refused by h:1 · data 2s old"


def test_the_worst_comes_first() -> None:
    warned = replace(queues("mail"), warnings=("events are off", "\x1b[2J"))

    assert texts(source(warned, "a"), source(None, "b"), source(None, "c", failure=failure())) == [
        ("DOWN", "c: connection refused by h:1"),
        ("WAIT", "b: waiting for the first reading"),
        ("WARN", "a: events are off"),
        ("WARN", r"a: \x1b[2J"),
        ("OK", "a · data 2s old · read in 4ms"),
    ]


def test_limits_are_told() -> None:
    assert texts(source(queues("a", "b", "c")), max_queues=1, max_workers=9)[0] == (
        "WARN",
        "2 more queues hidden by max_queues; totals count them",
    )


def test_a_clock_that_runs_behind_gives_no_negative_age() -> None:
    late = Reading(taken_at=NOW + timedelta(hours=1))

    assert texts(source(late))[0][1].startswith("a · data 0s old")
