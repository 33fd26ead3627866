"""The figures of a task from its events: what is not told is not made up."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from bgtop.contracts import Interest
from bgtop.state.event_figures import figures_of, quantile
from bgtop.state.event_series import Histogram
from bgtop.task_events import EventKind, EventsReading, TaskEventsReading
from bgtop.view.pages import page_named
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


def test_quantiles_are_those_of_prometheus() -> None:
    assert quantile(took(*[0.2] * 10).reading, 0.5) == pytest.approx(0.175)
    assert quantile(took(*[0.001] * 9, 3.0).reading, 0.95) == pytest.approx(3.75)
    assert quantile(took().reading, 0.5) is None
    assert quantile(took(9_999.0).reading, 0.5) is None
