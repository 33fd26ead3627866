"""Events from the counters of workers: nobody is counted twice, and nothing from before."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import count

from bgtop.backends.worker_sums import WorkerSums, task_counts
from bgtop.model import WorkerReading
from bgtop.task_events import EventKind, TaskEventsReading

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


def test_who_is_missing_for_minutes_or_while_nobody_looks_is_not_counted_anew() -> None:
    sums = WorkerSums()
    sums.look([worker("a", 100, 10)], NOW)
    for minutes in (0, 2, 4):
        sums.look([worker("b", 0, 0)], NOW + timedelta(minutes=minutes))
    sums.look([worker("a", 101, 10)], NOW + timedelta(minutes=4.9))
    [series] = sums.look([worker("a", 103, 10)], NOW + timedelta(hours=9)).series
    assert series.counts == {SUCCEEDED: 3, FAILED: 0}


def test_workers_that_come_and_go_all_day_are_not_all_remembered() -> None:
    """What they did is; and that of a name that was forgotten begins anew."""
    sums, minutes = WorkerSums(), count()

    def at_next_minute(*names: str) -> list[TaskEventsReading]:
        workers = [worker(name, 2, 1) for name in names]
        return list(sums.look(workers, NOW + timedelta(minutes=next(minutes))).series)

    at_next_minute()
    for n in range(60):
        [series] = at_next_minute(f"pod-{n}")
    assert series.counts == {SUCCEEDED: 60, FAILED: 60}
    [series] = at_next_minute("pod-59", "pod-58", "pod-0")
    assert series.counts == {SUCCEEDED: 61, FAILED: 61}
    assert len(sums._seen) + len(sums._seen_before) <= 12


def test_a_counter_that_went_back_is_of_another_process() -> None:
    sums = WorkerSums()
    sums.look([worker("a", 100, 10)], NOW)
    [series] = sums.look([worker("a", 2, 0)], NOW).series
    assert series.counts == {SUCCEEDED: 2, FAILED: 0}


def test_who_has_counted_nothing_takes_no_memory_and_hides_no_restart() -> None:
    sums = WorkerSums()
    for n in range(1_000):
        sums.look([worker(f"pod-{n}", 0, 0)], NOW)
    sums.look([worker("a", 2, 0)], NOW)
    sums.look([worker("a", 0, 0)], NOW)
    [series] = sums.look([worker("a", 5, 0)], NOW).series
    assert series.counts == {SUCCEEDED: 7, FAILED: 0}
    assert len(sums._seen) + len(sums._seen_before) == 1


def test_what_an_agent_tells_is_counted_by_task() -> None:
    """Also the last words of a worker that is not listed any more."""
    sums = WorkerSums()

    def told(name: str, **counts: int) -> dict[str, object]:
        return {name: task_counts([["add", "mail", counts]])}

    sums.look([worker("a", 9, 1)], NOW, told("a", succeeded=8, failed=1))
    sums.look([worker("a", 12, 2, running=2)], NOW, told("a", succeeded=10, failed=2))
    reading = sums.look([], NOW, told("b", succeeded=1, failed=0))

    assert {(one.task, one.queue): dict(one.counts) for one in reading.series} == {
        (None, None): {},
        ("add", "mail"): {SUCCEEDED: 3, FAILED: 1},
    }
    assert reading.kinds == {SUCCEEDED, FAILED}


def test_what_an_agent_tells_is_believed_row_by_row() -> None:
    rubbish = [None, 7, ["a"], ["a", "b", None], ["a", 7, {}], ["a", "b", {"succeeded": -1}]]
    odd = [["a", "b", {"succeeded": True, "failed": 2**60, "lost": 3, "retried": 4}]]
    assert task_counts("words") is None
    assert task_counts(rubbish) == {}
    assert task_counts(odd) == {(("a", "b"), EventKind.RETRIED): 4}
    assert len(task_counts([[str(n), "q", {"failed": 1}] for n in range(9_999)]) or ()) == 200


def test_where_nobody_counts_nothing_is_told() -> None:
    reading = WorkerSums().look([worker("a", None, None)], NOW)
    assert (reading.series, reading.kinds, reading.missed) == ((), frozenset(), None)


def test_runs_whose_end_is_not_known_to_be_good_are_started() -> None:
    sums = WorkerSums(others=STARTED)
    sums.look([], NOW)
    reading = sums.look([worker("a", 5, 2)], NOW)
    assert reading.series[0].counts == {STARTED: 5, FAILED: 2}
    assert reading.kinds == {STARTED, FAILED}
