"""The figures of a task from its events: what is not told is not made up."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from math import ceil

import pytest
from frames import INFO
from hypothesis import given
from hypothesis import strategies as st

from bgtop.contracts import Interest
from bgtop.model import Frame, Rates, Reading, Snapshot, Source, TaskTypeReading
from bgtop.state.event_figures import figures_of
from bgtop.state.event_series import Histogram
from bgtop.state.fold import Polled
from bgtop.state.intake import Selection
from bgtop.state.knowledge import Knowledge, learn
from bgtop.state.record import Reader, Scribe
from bgtop.state.records import TypeRow
from bgtop.state.task_figures import figures_by_task, type_rows
from bgtop.task_events import BUCKETS, EventKind, EventsReading, TaskEventsReading
from bgtop.view.fields import Scene
from bgtop.view.job_records import task_type_record
from bgtop.view.pages import page_named
from bgtop.view.pages.tasks import TYPE_FIELDS
from bgtop.view.ui import Visit

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
SUCCEEDED, FAILED = EventKind.SUCCEEDED, EventKind.FAILED


def took(*seconds: float) -> Histogram:
    histogram = Histogram()
    for one in seconds:
        histogram.observe(one)
    return histogram


def test_the_queues_of_a_task_are_one_row() -> None:
    mail = TaskEventsReading(
        task="send",
        queue="mail",
        counts={SUCCEEDED: 3},
        in_flight=2,
        runtime=took(0.2, 0.2, 0.2).reading,
        exceptions={"ValueError": 1},
    )
    other = TaskEventsReading(
        task="send", queue="other", counts={SUCCEEDED: 1}, exceptions={"ValueError": 2}
    )
    nameless = TaskEventsReading(counts={SUCCEEDED: 9})
    kinds = frozenset({SUCCEEDED})
    [row] = figures_of(EventsReading(since=NOW, series=(nameless, mail, other), kinds=kinds))

    assert (row.name, row.succeeded, row.running, row.exceptions) == (
        *("send", 4, 2, {"ValueError": 3}),
    )
    assert row.runtime_mean_seconds == pytest.approx(0.2)
    assert row.failed is None, "this system does not tell"


def test_the_page_of_tasks_asks_for_events_and_the_others_do_not() -> None:
    usual, visit = Interest(), Visit(page="tasks")
    assert page_named("tasks").interest(visit, "s", usual).events
    assert not page_named("overview").interest(Visit(page="overview"), "s", usual).events


def test_quantiles_are_those_of_prometheus_where_the_longest_is_not_told() -> None:
    def by_counts(*seconds: float) -> float | None:
        return replace(took(*seconds).reading, longest=None).quantile(0.5)

    assert by_counts(*[0.2] * 10) == pytest.approx(0.175)
    assert by_counts() is None
    assert by_counts(9_999.0) is None


def test_no_quantile_is_above_the_longest() -> None:
    """From 5 to 7.5 s, evenly spread, 95 of 100 would take 7.4 s."""
    seconds = [5.5 + number / 400 for number in range(200)]
    assert max(seconds) - 0.01 < (took(*seconds).reading.quantile(0.99) or 0) <= max(seconds)
    assert took(*[9_999.0] * 3).reading.quantile(0.5) == pytest.approx(9_999.0)


def test_the_longest_of_both_is_that_of_their_sum_if_both_told_it() -> None:
    some, none, silent = took(1.0, 3.0).reading, took().reading, took(2.0).reading
    assert (some + took(2.0).reading).longest == 3.0
    assert (some + none).longest == (none + some).longest == 3.0
    assert (some + replace(silent, longest=None)).longest is None


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "~200ms"), (36_300.0, "~10h")])
def test_percentiles_made_of_events_are_told_as_estimates(seconds: float, words: str) -> None:
    series = TaskEventsReading(task="send", counts={SUCCEEDED: 1}, runtime=took(seconds).reading)
    events = EventsReading(since=NOW, series=(series,), kinds=frozenset({SUCCEEDED}))
    kept = TaskTypeReading(name="send", runtime_p50_seconds=0.1, runtime_p95_seconds=0.1)
    [counted] = figures_by_task(Reading(taken_at=NOW, events=events))
    [both] = figures_by_task(Reading(taken_at=NOW, events=events, task_types=(kept,)))

    [p50] = [field for field in TYPE_FIELDS if field.column.key == "p50"]
    source = Source(name="a", info=INFO)
    scene = Scene(Frame(snapshot=Snapshot(taken_at=NOW, sources=(source,))), NOW)
    told = [p50.cell(TypeRow(source, one), scene).text for one in (counted, both)]
    records = [task_type_record(source, one) for one in (counted, both, TaskTypeReading(name="x"))]

    assert told == [words, "100ms"]
    assert [record["runtime_percentiles_are"] for record in records] == ["estimated", "exact", None]


def test_a_single_run_is_its_own_quantile() -> None:
    """By its bucket alone, from 60 to 120 s, 95 of 100 runs would take 117 s."""
    once = took(61.0).reading
    assert once.quantile(0.95) == pytest.approx(61.0)
    assert once.quantile(0.5) == pytest.approx(61.0)


@given(st.lists(st.floats(0.001, 1_800), min_size=1, max_size=30), st.sampled_from([0.5, 0.95]))
def test_quantiles_are_no_nearer_the_bounds_than_the_sum_allows(
    seconds: list[float], share: float
) -> None:
    found = took(*seconds).reading.quantile(share)
    true = sorted(seconds)[max(1, ceil(len(seconds) * share)) - 1]
    edges = (0.0, *BUCKETS)
    at = bisect_left(BUCKETS, true)
    assert found is not None
    assert edges[at] * 0.999 <= found <= edges[at + 1] * 1.001
    assert found <= max(seconds)


RECEIVED = EventKind.RECEIVED
KINDS = frozenset({RECEIVED, SUCCEEDED, FAILED})


def counted(received: int, succeeded: int, failed: int, *, since: datetime = NOW) -> EventsReading:
    counts = {RECEIVED: received, SUCCEEDED: succeeded, FAILED: failed}
    series = (TaskEventsReading(task="send", queue="mail", counts=counts),)
    return EventsReading(since=since, series=series, kinds=KINDS)


def knowing(*readings: EventsReading | None) -> Knowledge:
    """After these, ten seconds apart."""
    known = Knowledge(snapshot=Snapshot(taken_at=NOW, sources=(Source(name="a", info=INFO),)))
    for number, events in enumerate(readings):
        known = then(known, events, number * 10.0)
    return known


def then(known: Knowledge, events: EventsReading | None, clock: float) -> Knowledge:
    reading = Reading(taken_at=NOW + timedelta(seconds=clock), events=events)
    sample = Polled(source="a", info=INFO, reading=reading, clock=clock, poll_seconds=0.0)
    return learn(known, sample, Selection())


def test_what_is_received_and_ends_a_second_is_told_by_task() -> None:
    known = knowing(counted(0, 0, 0), counted(50, 30, 10))

    assert known.task_rates == {("a", "send"): Rates(in_per_second=5.0, out_per_second=4.0)}
    [row] = type_rows(Frame(snapshot=known.snapshot, task_rates=known.task_rates))
    assert (row.rates.in_per_second, row.type.failed) == (5.0, 10)


def test_who_does_not_tell_what_was_received_has_no_rate_of_it() -> None:
    first, second = (replace(counted(0, done, 0), kinds=frozenset({SUCCEEDED})) for done in (0, 20))

    assert knowing(first, second).task_rates["a", "send"] == Rates(out_per_second=2.0)


@pytest.mark.parametrize(
    "readings",
    [
        [counted(1, 1, 0)],
        [counted(1, 1, 0), None, counted(9, 9, 0)],
        [counted(1, 1, 0), counted(9, 9, 0, since=NOW + timedelta(seconds=5))],
        [counted(9, 9, 0), counted(1, 1, 0)],
    ],
    ids=["one reading", "nobody listened", "counted anew", "went back"],
)
def test_counts_that_do_not_go_on_give_no_rate(readings: list[EventsReading | None]) -> None:
    assert knowing(*readings).task_rates == {}


def test_a_recording_plays_on_with_the_rates_it_had() -> None:
    known = knowing(counted(0, 0, 0), counted(50, 30, 10))
    played = Reader(Scribe().keyframe(known, 10.0)).known

    assert played.task_rates == known.task_rates
    later = [then(one, counted(80, 60, 10), 20.0).task_rates for one in (known, played)]
    assert later[0] == later[1] != known.task_rates


def test_a_recording_without_rates_of_tasks_is_read_as_well() -> None:
    keyframe = Scribe().keyframe(knowing(counted(0, 0, 0), counted(50, 30, 10)), 10.0)
    del keyframe["tasks"]

    assert Reader(keyframe).known.task_rates == {}


def test_what_a_system_keeps_is_completed_by_what_was_counted() -> None:
    kept = (
        TaskTypeReading(name="send", succeeded=900, failed=100),
        TaskTypeReading(name="grow", succeeded=1),
    )
    events = EventsReading(
        since=NOW, series=(TaskEventsReading(task="send", in_flight=3),), kinds=KINDS
    )

    grow, send = figures_by_task(Reading(taken_at=NOW, task_types=kept, events=events))

    assert (send.name, send.succeeded, send.failed, send.running) == ("send", 900, 100, 3)
    assert grow == kept[1]


def columns_of(known: Knowledge) -> list[str]:
    spec = page_named("tasks").tables[0]
    frame = Frame(snapshot=known.snapshot, task_rates=known.task_rates)
    rows = type_rows(frame)
    needed: list[Callable[..., bool] | None] = [field.needed for field in spec.fields]
    return [
        field.column.key
        for field, wants in zip(spec.fields, needed, strict=True)
        if field.column.key in {"in", "out"} and wants is not None and wants(frame, rows)
    ]


def test_the_page_has_columns_of_rates_where_there_are_rates() -> None:
    assert columns_of(knowing(counted(0, 0, 0))) == []
    assert columns_of(knowing(counted(0, 0, 0), counted(1, 1, 0))) == ["in", "out"]
