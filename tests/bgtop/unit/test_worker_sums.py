"""Events from the counters of workers: nobody is counted twice, and nothing from before."""

from __future__ import annotations

from datetime import datetime, timezone

from bgtop.backends.worker_sums import WorkerSums
from bgtop.model import WorkerReading
from bgtop.task_events import EventKind

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
STARTED, SUCCEEDED, FAILED = EventKind.STARTED, EventKind.SUCCEEDED, EventKind.FAILED


def worker(name: str, processed: int | None, failed: int | None, running: int = 0) -> WorkerReading:
    return WorkerReading(name=name, pid=1, processed=processed, failed=failed, running=running)


def test_what_was_done_before_the_first_look_is_not_counted() -> None:
    sums = WorkerSums()
    sums.look([worker("a", 100, 10)], NOW)
    [series] = sums.look([worker("a", 105, 12, running=3)], NOW).series
    assert series.counts == {SUCCEEDED: 3, FAILED: 2}
    assert (series.in_flight, series.task, series.queue) == (3, None, None)


def test_who_comes_later_is_counted_from_its_start_and_who_leaves_is_kept() -> None:
    sums = WorkerSums()
    sums.look([worker("a", 100, 10)], NOW)
    sums.look([worker("b", 4, 1)], NOW)
    [series] = sums.look([worker("a", 101, 10), worker("b", 5, 1)], NOW).series
    assert series.counts == {SUCCEEDED: 5, FAILED: 1}


def test_a_counter_that_went_back_is_of_another_process() -> None:
    sums = WorkerSums()
    sums.look([worker("a", 100, 10)], NOW)
    [series] = sums.look([worker("a", 2, 0)], NOW).series
    assert series.counts == {SUCCEEDED: 2, FAILED: 0}


def test_where_nobody_counts_nothing_is_told() -> None:
    reading = WorkerSums().look([worker("a", None, None)], NOW)
    assert (reading.series, reading.kinds, reading.missed) == ((), frozenset(), None)


def test_runs_whose_end_is_not_known_to_be_good_are_started() -> None:
    sums = WorkerSums(others=STARTED)
    sums.look([], NOW)
    reading = sums.look([worker("a", 5, 2)], NOW)
    assert reading.series[0].counts == {STARTED: 5, FAILED: 2}
    assert reading.kinds == {STARTED, FAILED}
