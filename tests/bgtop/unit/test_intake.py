"""What is kept of a reading, and how alive a worker is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from frames import T0, ago, queues

from bgtop.model import QueueReading, Reading, WorkerReading, WorkerState
from bgtop.state.intake import BadPattern, Selection, judge, name_filter, take_in


@pytest.mark.parametrize(
    ("worker", "state"),
    [
        (WorkerReading(name="w", last_heartbeat_at=ago(1), running=2), WorkerState.ACTIVE),
        (WorkerReading(name="w", last_heartbeat_at=ago(1), running=0), WorkerState.IDLE),
        (WorkerReading(name="w", last_heartbeat_at=ago(1)), WorkerState.IDLE),
        (WorkerReading(name="w", last_heartbeat_at=ago(30), running=2), WorkerState.ACTIVE),
        (WorkerReading(name="w", last_heartbeat_at=ago(30.1), running=2), WorkerState.DEAD),
        (WorkerReading(name="w", last_heartbeat_at=ago(-60), running=0), WorkerState.IDLE),
        (WorkerReading(name="w", running=2), WorkerState.UNKNOWN),
        (
            WorkerReading(name="w", state=WorkerState.DEAD, last_heartbeat_at=ago(0)),
            WorkerState.DEAD,
        ),
        (
            WorkerReading(name="w", state=WorkerState.IDLE, last_heartbeat_at=ago(999)),
            WorkerState.IDLE,
        ),
    ],
)
def test_a_worker_is_judged(worker: WorkerReading, state: WorkerState) -> None:
    assert judge(worker, T0, dead_after=30) is state


def test_nobody_dies_because_a_source_is_down() -> None:
    """The state is judged by the time of the reading, which stays as it is."""
    worker = WorkerReading(name="w", last_heartbeat_at=ago(1), running=0)

    kept = take_in(Reading(taken_at=T0, workers=(worker,)), Selection(dead_after=2))

    assert [w.state for w in kept.workers] == [WorkerState.IDLE]
    late = take_in(
        Reading(taken_at=T0 + timedelta(seconds=5), workers=(worker,)), Selection(dead_after=2)
    )
    assert [w.state for w in late.workers] == [WorkerState.DEAD]


def test_rows_are_sorted_whatever_the_backend_did() -> None:
    kept = take_in(queues("mail", "billing", "cleanup"), Selection())

    assert [queue.name for queue in kept.queues] == ["billing", "cleanup", "mail"]


def test_internal_queues_are_kept_only_when_asked_for() -> None:
    reading = Reading(taken_at=T0, queues=(QueueReading(name="celeryev.1", internal=True),))

    assert take_in(reading, Selection()).queues == ()
    assert len(take_in(reading, Selection(internal=True)).queues) == 1


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("", ["mail", "mail.bulk", "push"]),
        ("mail", ["mail", "mail.bulk"]),
        ("^mail$", ["mail"]),
        ("!mail", ["push"]),
        ("!", ["mail", "mail.bulk", "push"]),
        ("MAIL", []),
        ("(?i)MAIL", ["mail", "mail.bulk"]),
        ("k$|sh", ["mail.bulk", "push"]),
    ],
)
def test_names_are_filtered(pattern: str, kept: list[str]) -> None:
    selection = Selection(queues=name_filter(pattern))

    reading = take_in(queues("mail", "mail.bulk", "push"), selection)

    assert [queue.name for queue in reading.queues] == kept


def test_a_pattern_that_python_may_read_otherwise_one_day_warns_nobody() -> None:
    """The screen belongs to the renderer; warnings are errors in tests."""
    found = name_filter("[[a]")

    assert found is not None
    assert found.keeps("mail")


def test_workers_have_a_filter_of_their_own() -> None:
    workers = tuple(WorkerReading(name=name) for name in ("celery@a", "celery@b"))
    selection = Selection(workers=name_filter("@b"))

    reading = take_in(Reading(taken_at=T0, workers=workers, queues=queues("q").queues), selection)

    assert [worker.name for worker in reading.workers] == ["celery@b"]
    assert len(reading.queues) == 1


@pytest.mark.parametrize("pattern", ["(", "[", "*", "a{2,1}", "!(?P<x"])
def test_a_bad_pattern_is_explained_in_words(pattern: str) -> None:
    with pytest.raises(BadPattern, match=r"^not a pattern: \w"):
        name_filter(pattern)
