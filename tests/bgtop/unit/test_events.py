"""The life of tasks from their events: exact where nothing is missing, never wrong where it is."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.state.event_series import MOST_SERIES, OTHER, Series
from bgtop.state.events import Bounds, TaskEvent, TaskLog
from bgtop.task_events import EventKind

SENT, RECEIVED, STARTED = EventKind.SENT, EventKind.RECEIVED, EventKind.STARTED
SUCCEEDED, FAILED, RETRIED = EventKind.SUCCEEDED, EventKind.FAILED, EventKind.RETRIED
REVOKED, REJECTED, LOST = EventKind.REVOKED, EventKind.REJECTED, EventKind.LOST
ENDINGS = (SUCCEEDED, FAILED, RETRIED, REVOKED, REJECTED, LOST)


def told(log: TaskLog, *events: TaskEvent) -> TaskLog:
    for event in events:
        log.take(event, now=event.at)
    return log


def of(kind: EventKind, at: float, id_: str = "a", **more: object) -> TaskEvent:
    worker = None if kind is SENT else "w"
    return TaskEvent(kind=kind, id=id_, at=at, **{"task": "add", "worker": worker, **more})  # type: ignore[arg-type]


def the(log: TaskLog) -> Series:
    [series] = log.series.values()
    return series


def counts(log: TaskLog) -> Counter[EventKind]:
    total: Counter[EventKind] = Counter()
    for series in log.series.values():
        total.update(series.counts)
    return total


def in_flight(log: TaskLog) -> int:
    return sum(series.in_flight for series in log.series.values())


def test_a_job_from_sent_to_succeeded() -> None:
    log = told(TaskLog(), of(SENT, 1.0), of(RECEIVED, 1.1), of(STARTED, 1.5))
    assert in_flight(log) == 1

    told(log, of(SUCCEEDED, 2.0, runtime=0.4))

    assert counts(log) == {SENT: 1, RECEIVED: 1, STARTED: 1, SUCCEEDED: 1}
    series = the(log)
    assert (series.in_flight, series.wait.total, series.runtime.total) == (0, 1, 1)
    assert series.wait.seconds == pytest.approx(0.5)
    assert series.runtime.seconds == pytest.approx(0.4)


def test_the_queue_is_known_from_sending_and_the_task_from_receiving() -> None:
    log = told(
        TaskLog(),
        of(SENT, 1.0, queue="mail", task=None),
        of(RECEIVED, 1.1),
        of(STARTED, 1.2, task=None),
        of(FAILED, 1.3, task=None, exception="ValueError('x')"),
    )

    series = log.series["add", "mail"]
    assert series.counts == {RECEIVED: 1, STARTED: 1, FAILED: 1}
    assert series.exceptions == {"ValueError('x')": 1}


@pytest.mark.parametrize("missing", [(RECEIVED,), (STARTED,), (RECEIVED, STARTED)])
def test_what_must_have_happened_is_counted(missing: tuple[EventKind, ...]) -> None:
    events = [of(RECEIVED, 1.0), of(STARTED, 2.0), of(SUCCEEDED, 3.0)]
    log = told(TaskLog(), *[event for event in events if event.kind not in missing])
    assert counts(log) == {RECEIVED: 1, STARTED: 1, SUCCEEDED: 1}

    told(log, *[event for event in events if event.kind in missing])
    assert counts(log) == {RECEIVED: 1, STARTED: 1, SUCCEEDED: 1}
    assert in_flight(log) == 0


def test_who_was_revoked_has_not_been_started() -> None:
    log = told(TaskLog(), of(REVOKED, 1.0))
    assert counts(log) == {RECEIVED: 1, REVOKED: 1}


def test_a_retry_is_sent_before_the_attempt_is_told_to_have_ended() -> None:
    log = told(
        TaskLog(),
        of(SENT, 1.0),
        of(RECEIVED, 1.1),
        of(STARTED, 1.2),
        of(SENT, 1.3),
        of(RETRIED, 1.4),
    )
    assert (in_flight(log), counts(log)[SENT], counts(log)[RETRIED]) == (0, 2, 1)

    log.expire(now=10_000.0)

    assert counts(log)[LOST] == 1, "the second message was never received"


def test_the_next_attempt_may_be_told_before_the_retry_that_made_it() -> None:
    """Another process takes the message before the first has told that it put it there."""
    log = told(
        TaskLog(),
        of(RECEIVED, 1.0, retries=0),
        of(STARTED, 1.1),
        of(SENT, 1.2),
        of(RECEIVED, 1.3, retries=1),
        of(STARTED, 1.4),
        of(RETRIED, 1.5, exception="ValueError"),
        of(SUCCEEDED, 1.6),
    )

    assert counts(log) == {SENT: 1, RECEIVED: 2, STARTED: 2, RETRIED: 1, SUCCEEDED: 1}
    assert (in_flight(log), the(log).exceptions) == (0, {"ValueError": 1})


def test_several_attempts_may_be_told_before_the_retries_between_them() -> None:
    log = told(TaskLog(), *[of(RECEIVED, at, retries=at) for at in (0, 1, 2)])
    told(log, of(STARTED, 2.1), of(RETRIED, 2.2), of(RETRIED, 2.3), of(SUCCEEDED, 2.4))
    assert counts(log) == {RECEIVED: 3, STARTED: 1, RETRIED: 2, SUCCEEDED: 1}
    assert in_flight(log) == 0


def test_a_message_that_is_delivered_again_was_lost_before() -> None:
    log = told(TaskLog(), of(RECEIVED, 1.0, retries=0), of(RECEIVED, 99.0, retries=0, worker="v"))
    assert counts(log) == {RECEIVED: 2, LOST: 1}


def test_an_end_told_in_two_words_is_one_end() -> None:
    log = told(TaskLog(), of(STARTED, 1.0), of(FAILED, 2.0), of(REJECTED, 2.1))
    assert counts(log) == {RECEIVED: 1, STARTED: 1, FAILED: 1}


def test_a_failure_told_twice_is_one_failure() -> None:
    """Celery says so of what it stops at its hard time limit: of the limit, and of the process."""
    log = told(
        TaskLog(),
        *(of(RECEIVED, 1.0), of(STARTED, 1.1)),
        *(of(FAILED, 2.1, exception="TimeLimitExceeded") for _ in range(2)),
        of(FAILED, 2.103, exception="TimeLimitExceeded"),
    )
    assert counts(log) == {RECEIVED: 1, STARTED: 1, FAILED: 1}
    assert the(log).failures == {"TimeLimitExceeded": 1}

    told(log, of(RECEIVED, 3.0), of(STARTED, 3.1), of(FAILED, 4.1))
    assert counts(log) == {RECEIVED: 2, STARTED: 2, FAILED: 2}


def test_why_attempts_were_made_again_is_no_failure() -> None:
    log = told(TaskLog(), of(STARTED, 1.0), of(RETRIED, 1.1, exception="OSError"))
    told(log, of(STARTED, 2.0), of(FAILED, 2.1, exception="KeyError"))
    assert the(log).exceptions == {"OSError": 1, "KeyError": 1}
    assert the(log).failures == {"KeyError": 1}


def test_nobody_knows_what_became_of_what_was_sent_where_workers_do_not_tell() -> None:
    log = told(TaskLog(Bounds(max_age=60)), of(SENT, 0.0), of(SENT, 9.0, "b"))
    log.expire(now=70.0, told_since=5.0)
    assert counts(log) == {SENT: 2, LOST: 1}
    assert (log.followed, log.forgotten) == (1, 0)


def test_what_an_idle_worker_had_started_has_ended() -> None:
    """And so has what it had received before we were deaf, unless that is still to come."""
    log = told(
        TaskLog(),
        of(STARTED, 1.0, "missed"),
        of(RECEIVED, 2.0, "before"),
        of(RECEIVED, 2.0, "due", due=500.0),
        of(RECEIVED, 20.0, "after"),
        of(STARTED, 31.0, "new"),
    )
    log.workers_idle({"w": 30.0}, heard_since=10.0)
    assert (in_flight(log), counts(log)[LOST]) == (3, 2)

    log.workers_idle({"v": 99.0}, heard_since=99.0)
    assert in_flight(log) == 3


def test_waiting_begins_when_it_is_due() -> None:
    log = told(TaskLog(), of(SENT, 1.0, due=10.0), of(STARTED, 12.0))
    assert the(log).wait.seconds == pytest.approx(2.0)


def test_a_second_attempt_counts_again_although_stragglers_of_the_first_come_late() -> None:
    log = told(
        TaskLog(),
        of(RECEIVED, 1.0),
        of(RETRIED, 3.0),
        of(RECEIVED, 4.0),
        of(STARTED, 2.0),
        of(STARTED, 5.0),
        of(SUCCEEDED, 6.0),
    )

    assert counts(log) == {RECEIVED: 2, STARTED: 2, RETRIED: 1, SUCCEEDED: 1}
    assert in_flight(log) == 0


def test_what_a_dead_worker_held_is_lost_and_may_come_back() -> None:
    log = told(TaskLog(), of(RECEIVED, 1.0), of(STARTED, 1.1), of(RECEIVED, 1.2, "b", worker="v"))
    log.worker_gone("w")
    assert (in_flight(log), counts(log)[LOST]) == (1, 1)

    told(log, of(RECEIVED, 9.0, worker="v"), of(STARTED, 9.1, worker="v"))
    assert in_flight(log) == 2
    told(log, of(SUCCEEDED, 9.2, worker="v"), of(SUCCEEDED, 9.3, "b", worker="v"))

    assert counts(log) == {RECEIVED: 3, STARTED: 3, LOST: 1, SUCCEEDED: 2}
    assert in_flight(log) == 0


def test_a_worker_that_was_only_silent_ends_what_was_given_up() -> None:
    log = told(TaskLog(), of(RECEIVED, 1.0), of(STARTED, 1.1))
    log.worker_gone("w")
    told(log, of(SUCCEEDED, 90.0))

    assert counts(log) == {RECEIVED: 1, STARTED: 1, LOST: 1, SUCCEEDED: 1}
    assert in_flight(log) == 0


def test_a_message_nobody_received_is_lost_once() -> None:
    log = told(
        TaskLog(Bounds(max_age=60)), of(SENT, 0.0), of(SENT, 50.0, "b"), of(RECEIVED, 51, "b")
    )
    log.expire(now=59.0)
    assert counts(log)[LOST] == 0
    log.expire(now=61.0)
    log.expire(now=1000.0)
    assert counts(log)[LOST] == 1

    told(log, of(RECEIVED, 1001.0), of(SUCCEEDED, 1002.0), of(SUCCEEDED, 1003.0, "b"))
    assert in_flight(log) == 0


def test_clocks_that_differ_make_no_negative_time() -> None:
    log = told(TaskLog(), of(SENT, 100.0), of(STARTED, 40.0), of(FAILED, 30.0))
    assert (the(log).wait.seconds, the(log).runtime.seconds) == (0.0, 0.0)
    assert (the(log).wait.total, the(log).runtime.total) == (1, 1)


def test_the_oldest_that_have_ended_make_room_first() -> None:
    log = TaskLog(Bounds(bytes=800 * 100))
    for number in range(50):
        told(log, of(RECEIVED, number, f"open {number}"))
    for number in range(10_000):
        told(log, of(RECEIVED, 100 + number, f"{number}"), of(SUCCEEDED, 100 + number, f"{number}"))
        assert log.followed <= 120

    assert (in_flight(log), log.forgotten) == (50, 0)
    for number in range(10_000):
        told(log, of(RECEIVED, 100 + number, f"more {number}"))
    assert log.followed <= 120
    assert in_flight(log) == log.followed
    assert log.forgotten == 10_050 - log.followed
    assert counts(log)[RECEIVED] == 20_050


def test_tasks_without_end_share_a_series() -> None:
    log = told(
        TaskLog(), *[of(SUCCEEDED, n, str(n), task=f"t{n}") for n in range(MOST_SERIES + 500)]
    )
    assert len(log.series) == MOST_SERIES + 1
    assert log.series[OTHER, OTHER].counts[SUCCEEDED] == 500
    assert counts(log)[SUCCEEDED] == MOST_SERIES + 500


# What happens by itself: jobs with attempts, told by a client and by workers

attempts = st.lists(st.sampled_from([RETRIED]), max_size=3).flatmap(
    lambda retries: st.sampled_from([SUCCEEDED, FAILED, REVOKED, REJECTED]).map(
        lambda last: (*retries, last)
    )
)


def stream(number: int, endings: tuple[EventKind, ...]) -> list[TaskEvent]:
    """The events of one job in the order in which they happen."""
    events, at = [], float(number) / 7
    for attempt, ending in enumerate(endings):
        more = {"id_": f"job {number}", "queue": "q"}
        events += [of(SENT, at := at + 1, **more)] if attempt == 0 else []  # type: ignore[arg-type]
        events.append(of(RECEIVED, at := at + 1, **more))  # type: ignore[arg-type]
        if ending not in {REVOKED, REJECTED}:
            events.append(of(STARTED, at := at + 1, **more))  # type: ignore[arg-type]
        if ending is RETRIED:
            events.append(of(SENT, at := at + 1, **more))  # type: ignore[arg-type]
        events.append(of(ending, at := at + 1, **more))  # type: ignore[arg-type]
    return events


def interleaved(streams: list[list[TaskEvent]], chance: random.Random) -> list[TaskEvent]:
    queues = [list(events) for events in streams if events]
    told_in_order = []
    while queues:
        queue = chance.choice(queues)
        told_in_order.append(queue.pop(0))
        queues = [each for each in queues if each]
    return told_in_order


@given(st.lists(attempts, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_what_is_told_twice_and_by_two_tellers_is_counted_exactly(
    jobs: list[tuple[EventKind, ...]], chance: random.Random
) -> None:
    """A client's words and a worker's may overtake each other; each keeps its own order."""
    truth = [event for number, job in enumerate(jobs) for event in stream(number, job)]
    client = [event for event in truth if event.kind is SENT]
    workers = [event for event in truth if event.kind is not SENT]
    doubled = [
        event
        for event in interleaved([client, workers], chance)
        for _ in range(chance.choice((1, 1, 2)))
    ]
    log = TaskLog()
    for now, event in enumerate(doubled):
        log.take(event, now=float(now))
        assert in_flight(log) >= 0

    assert counts(log) == Counter(event.kind for event in truth)
    assert in_flight(log) == 0


@given(st.lists(attempts, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_retry_told_late_is_counted_exactly(
    jobs: list[tuple[EventKind, ...]], chance: random.Random
) -> None:
    """Each attempt is at another process, which tells its end whenever it comes to it."""
    log, truth = TaskLog(), Counter[EventKind]()
    queues = []
    for number, job in enumerate(jobs):
        more = {"id_": f"job {number}", "queue": "q"}
        at, events, late = float(number) / 7, [], []
        for attempt, ending in enumerate(job):
            events.append(of(RECEIVED, at := at + 1, retries=attempt, **more))  # type: ignore[arg-type]
            if ending is RETRIED:
                late.append(of(RETRIED, at := at + 1, **more))  # type: ignore[arg-type]
            else:
                events.append(of(ending, at := at + 1, **more))  # type: ignore[arg-type]
            if late and chance.random() < 0.5:
                events.append(late.pop(0))
        queues.append([*events, *late])
    for now, event in enumerate(interleaved(queues, chance)):
        truth[event.kind] += 1
        log.take(event, now=float(now))
        assert in_flight(log) >= 0

    truth[STARTED] = counts(log)[STARTED]  # concluded, where the end says so
    assert counts(log) == +truth
    assert in_flight(log) == 0


@given(
    st.lists(attempts, min_size=1, max_size=8),
    st.floats(0, 0.7),
    st.randoms(use_true_random=False),
)
def test_missing_doubled_and_shuffled_events_never_make_nonsense(
    jobs: list[tuple[EventKind, ...]], missing: float, chance: random.Random
) -> None:
    events = [event for number, job in enumerate(jobs) for event in stream(number, job)]
    events = [event for event in events if chance.random() >= missing]
    events += [event for event in events if chance.random() < 0.3]
    chance.shuffle(events)
    log = TaskLog(Bounds(max_age=5, memory=5))
    seen = [Counter[EventKind]()]
    for now, event in enumerate(events):
        log.take(event, now=float(now))
        if chance.random() < 0.1:
            log.expire(now=float(now))
        if chance.random() < 0.05:
            log.worker_gone("w")
        seen.append(counts(log))
        assert all(series.in_flight >= 0 for series in log.series.values())

    assert all(not before - after for before, after in pairwise(seen)), "a count went back"
    log.worker_gone("w")
    assert in_flight(log) == 0
    assert sum(counts(log)[kind] for kind in ENDINGS) >= counts(log)[RECEIVED]
    log.expire(now=1e9)
    log.expire(now=2e9)
    assert log.followed == 0
