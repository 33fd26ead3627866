"""What is told of frames: nothing unknown, no count that goes back, no label without a bound."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from frames import T0, ago, source
from hypothesis import given
from hypothesis import strategies as st

from bgtop.contracts import ExportSettings
from bgtop.exporters.prometheus import Page
from bgtop.model import (
    Age,
    BackendInfo,
    Capability,
    Failure,
    Frame,
    QueueReading,
    Rates,
    Reading,
    Snapshot,
    Source,
    WorkerReading,
    WorkerState,
)
from bgtop.state.events import TaskEvent, TaskLog
from bgtop.state.label_bounds import MOST_QUEUES, MOST_TASKS, steady
from bgtop.state.measures import Family, shown
from bgtop.state.peer_measures import Peers
from bgtop.state.telling import Telling
from bgtop.task_events import BUCKETS, EventKind, EventsReading, HistogramReading, TaskEventsReading

ALL = frozenset(EventKind)


def frame_of(*sources: Source, **more: Any) -> Frame:
    return Frame(snapshot=Snapshot(taken_at=T0, sources=sources), **more)


def told(
    telling: Telling, frame: Frame, now: datetime = T0
) -> dict[str, dict[tuple[str, ...], Any]]:
    telling.take(frame)
    families = telling.bounded(telling.raw(now, {}, "1"))
    return by_name(families)


def by_name(families: list[Family]) -> dict[str, dict[tuple[str, ...], Any]]:
    return {family.spec.name: dict(family.rows) for family in families}


def with_events(events: EventsReading | None, **more: Any) -> Source:
    return source(replace(Reading(taken_at=T0), events=events, **more))


def events(*series: TaskEventsReading, since: int = 0, **more: Any) -> EventsReading:
    at = T0 + timedelta(seconds=since)
    return EventsReading(since=at, series=series, kinds=ALL, **more)


def test_what_is_unknown_is_not_told() -> None:
    reading = Reading(taken_at=T0, queues=(QueueReading(name="mail", depth=3),))

    found = told(Telling(), frame_of(source(reading)))

    assert found["bgtop_queue_depth"] == {("a", "celery", "mail"): 3}
    assert {name for name in found if name.startswith("bgtop_queue_")} == {"bgtop_queue_depth"}
    assert "bgtop_events_missed" not in found


def test_everything_of_a_queue_is_told() -> None:
    numbers = {name: number for number, name in enumerate(("depth", "unacked", "scheduled"))}
    numbers |= {"deferred": 3, "running": 4, "failed": 5, "dead": 6, "consumers": 7}
    queue = QueueReading(name="mail", **numbers, oldest=Age(8.5), paused=True, entered_total=90)
    frame = frame_of(
        source(Reading(taken_at=T0, queues=(queue,))),
        rates={("a", "mail"): Rates(drain_seconds=10.0)},
    )

    found = told(Telling(), frame)

    here = ("a", "celery", "mail")
    assert {
        name.removeprefix("bgtop_queue_"): values[here]
        for name, values in found.items()
        if name.startswith("bgtop_queue_")
    } == {**numbers, "oldest_age_seconds": 8.5, "drain_seconds": 10.0, "paused": 1, "entered": 90}


def test_names_that_are_no_unicode_are_told_escaped_and_once() -> None:
    """JSON can hold half a letter; two names that read the same then are one series."""
    names = ("\ud800", "\\ud800", "mail")
    runs = HistogramReading(counts=(2, *[0] * len(BUCKETS)), seconds=0.5)
    queues = tuple(QueueReading(name=name, depth=3) for name in names)
    series = tuple(
        TaskEventsReading(task=name, queue="q", counts={EventKind.SENT: 2}, runtime=runs)
        for name in names
    )
    reading = Reading(taken_at=T0, queues=queues, events=events(*series))
    page = Page(ExportSettings(compat=("flower", "celery-exporter")))
    page.take(frame_of(source(reading)))

    for accept in ("text/plain", "application/openmetrics-text"):
        lines = page.text(accept)[1].decode().splitlines()
        depths = [line for line in lines if line.startswith("bgtop_queue_depth{")]
        assert sorted(depths) == [
            'bgtop_queue_depth{queue="\\\\ud800",source="a",system="celery"} 6.0',
            'bgtop_queue_depth{queue="mail",source="a",system="celery"} 3.0',
        ]
        sums = [line for line in lines if line.startswith("bgtop_task_runtime_seconds_sum")]
        assert sorted(line.rpartition(" ")[2] for line in sums) == ["0.5", "1.0"]


def test_an_empty_queue_has_no_old_job_where_ages_are_known() -> None:
    reading = Reading(taken_at=T0, queues=(QueueReading(name="mail", depth=0),))
    info = BackendInfo(
        system="rq", broker="redis", url="", capabilities=frozenset({Capability.OLDEST_AGE})
    )

    found = told(Telling(), frame_of(replace(source(reading), info=info)))

    assert found["bgtop_queue_oldest_age_seconds"] == {("a", "rq", "mail"): 0}


def test_a_source_that_is_down_is_not_told_as_fresh() -> None:
    events_ = events(TaskEventsReading(task="t", counts={EventKind.SENT: 2}, in_flight=1))
    reading = Reading(
        taken_at=ago(50), queues=(QueueReading(name="mail", depth=3),), events=events_
    )
    down = source(reading, failure=Failure(message="refused", since=ago(40)))
    telling = Telling()

    recent = told(telling, frame_of(down))
    old = told(telling, frame_of(down), T0 + timedelta(seconds=11))

    assert recent["bgtop_source_up"] == old["bgtop_source_up"] == {("a", "celery"): 0}
    assert recent["bgtop_snapshot_age_seconds"] == {("a", "celery"): 50}
    assert old["bgtop_snapshot_age_seconds"] == {("a", "celery"): 61}
    assert "bgtop_queue_depth" in recent
    assert "bgtop_tasks_in_flight" in recent
    assert "bgtop_queue_depth" not in old
    assert "bgtop_tasks_in_flight" not in old
    assert old["bgtop_task_events"]["a", "celery", "", "t", "sent"] == 2


def test_a_source_that_was_never_reached_is_down_and_one_not_yet_asked_is_unknown() -> None:
    down = source(None, failure=Failure(message="refused", since=T0))

    assert told(Telling(), frame_of(down))["bgtop_source_up"] == {("a", "celery"): 0}
    assert "bgtop_source_up" not in told(Telling(), frame_of(source(None)))


def test_systems_at_one_place_are_told_apart_and_their_place_has_one_age() -> None:
    reading = Reading(taken_at=T0)
    here = [
        replace(source(reading), id="a\0celery", poll_seconds=0.1),
        replace(source(replace(reading, taken_at=ago(5))), id="a\0celery\0blue", poll_seconds=0.2),
    ]
    telling = Telling()
    telling.take(frame_of(*here))
    found = by_name([shown(each) for each in telling.raw(T0, {}, "1")])

    assert set(found["bgtop_source_up"]) == {("a", "celery"), ("a blue", "celery")}
    assert found["bgtop_poll_seconds"] == {("a",): 0.1, ("a blue",): 0.2}
    twice = [replace(here[0], id="a\0celery"), replace(here[1], id="a\0rq")]
    telling.take(frame_of(*twice))
    found = by_name([shown(each) for each in telling.raw(T0, {}, "1")])
    assert found["bgtop_snapshot_age_seconds"] == {("a",): 5}


def test_workers_are_counted_by_state_only_where_they_are_known() -> None:
    workers = (
        WorkerReading(name="w1", state=WorkerState.ACTIVE),
        WorkerReading(name="w2", state=WorkerState.DEAD),
    )
    unknowing = BackendInfo(system="x", broker="redis", url="")

    found = told(Telling(), frame_of(source(Reading(taken_at=T0, workers=workers))))
    silent = told(Telling(), frame_of(replace(source(Reading(taken_at=T0)), info=unknowing)))

    assert {labels[2]: count for labels, count in found["bgtop_workers"].items()} == {
        "active": 1,
        "idle": 0,
        "dead": 1,
        "unknown": 0,
    }
    assert "bgtop_workers" not in silent


def test_counts_go_on_when_counting_begins_anew() -> None:
    telling = Telling()
    first = TaskEventsReading(
        task="t",
        queue="q",
        counts={EventKind.RECEIVED: 5, EventKind.SUCCEEDED: 4},
        in_flight=1,
        runtime=HistogramReading(counts=(4, *[0] * len(BUCKETS)), seconds=0.01),
    )
    second = replace(first, counts={EventKind.RECEIVED: 1}, in_flight=1, runtime=None)

    told(telling, frame_of(with_events(events(first, missed=2))))
    found = told(telling, frame_of(with_events(events(second, since=60, missed=1))))

    here = ("a", "celery", "q", "t")
    assert found["bgtop_task_events"][(*here, "received")] == 6
    assert found["bgtop_task_events"][(*here, "succeeded")] == 4
    assert found["bgtop_task_runtime_seconds"][here].total == 4
    assert found["bgtop_tasks_in_flight"]["a", "celery", "t"] == 1
    assert found["bgtop_events_missed"] == {("a", "celery"): 3}
    # A task nobody has seen since: its counts stay, and what it has in flight is unknown.
    gone = told(telling, frame_of(with_events(events(since=120))))
    assert gone["bgtop_task_events"][(*here, "received")] == 6
    assert "bgtop_tasks_in_flight" not in gone


def test_counters_of_a_queue_that_was_reset_go_on() -> None:
    telling = Telling()

    def entered(count: int) -> Any:
        queue = QueueReading(name="q", entered_total=count)
        frame = frame_of(source(Reading(taken_at=T0, queues=(queue,))))
        return told(telling, frame)["bgtop_queue_entered"]["a", "celery", "q"]

    assert [entered(count) for count in (5, 7, 2, 3)] == [5, 7, 9, 10]


@pytest.mark.parametrize("compat", [(), ("flower", "celery-exporter", "rq-exporter")])
def test_ten_thousand_names_and_a_thousand_workers_are_less_than_two_thousand_series(
    compat: tuple[str, ...],
) -> None:
    from prometheus_client import generate_latest

    from bgtop.contracts import ExportSettings
    from bgtop.exporters.prometheus import FrameCollector

    log = TaskLog()
    for number in range(10_000):
        for step, kind in enumerate(list(EventKind)[:4]):
            log.take(
                TaskEvent(
                    kind=kind, id=str(number), at=number + step / 10, task=f"t{number}", queue="q"
                ),
                float(number),
            )
        for error in ("KeyError", "OSError") if number < 300 else ():
            event = TaskEvent(kind=EventKind.FAILED, id=f"{number} {error}", at=float(number))
            log.take(event._replace(task=f"t{number}", queue="q", exception=error), float(number))
    collector = FrameCollector(ExportSettings(compat=compat))
    for restart in range(1000):
        worker = WorkerReading(name=f"gen{restart}@h-{restart}", state=WorkerState.IDLE)
        reading = Reading(taken_at=T0, workers=(worker,), queues=(QueueReading(name="q", depth=0),))
        if restart in {0, 999}:
            reading = replace(reading, events=events(*log.readings()))
        collector.take(frame_of(source(reading)))

    class Registry:
        def collect(self) -> Any:
            return collector.collect()

    text = generate_latest(Registry()).decode()  # type: ignore[arg-type]
    series = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(series) <= 2_000
    counted = sum(
        float(line.rpartition(" ")[2])
        for line in series
        if line.startswith("bgtop_task_events_total") and 'event="succeeded"' in line
    )
    assert counted == 10_000
    runs = [line for line in series if line.startswith("bgtop_task_runtime_seconds_count")]
    assert sum(float(line.rpartition(" ")[2]) for line in runs) == 10_000
    assert "gen1@" not in text
    assert "h-1" not in text


def test_a_few_more_names_than_labels_are_other_and_who_had_a_label_keeps_it() -> None:
    telling = Telling()
    many = [
        TaskEventsReading(task=f"t{number:04}", counts={EventKind.SENT: 1})
        for number in range(MOST_TASKS + 1)
    ]

    before = told(telling, frame_of(with_events(events(*many[:10]))))["bgtop_task_events"]
    after = told(telling, frame_of(with_events(events(*many))))["bgtop_task_events"]

    sent = {labels[3]: count for labels, count in after.items() if labels[4] == "sent"}
    assert len(sent) == MOST_TASKS + 1
    assert sent["other"] == 1
    assert {labels[3] for labels in before} <= set(sent)


def test_queues_beyond_the_bound_are_added_up_and_ages_are_the_highest() -> None:
    queues = tuple(
        QueueReading(name=f"q{number:05}", depth=1, oldest=Age(float(number)))
        for number in range(MOST_QUEUES + 10)
    )
    telling = Telling()

    found = told(telling, frame_of(source(Reading(taken_at=T0, queues=queues))))

    assert len(found["bgtop_queue_depth"]) == MOST_QUEUES + 1
    assert found["bgtop_queue_depth"]["a", "celery", "other"] == 10
    assert found["bgtop_queue_oldest_age_seconds"]["a", "celery", "other"] == MOST_QUEUES + 9
    # Queues that are gone make room.
    found = told(telling, frame_of(source(Reading(taken_at=T0, queues=queues[-10:]))))
    assert ("a", "celery", "other") not in found["bgtop_queue_depth"]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),  # when counting began
            st.dictionaries(st.sampled_from(["s", "t", "u"]), st.integers(0, 9), max_size=3),
            st.booleans(),  # the source is down
        ),
        max_size=12,
    )
)
def test_no_counter_ever_goes_back(steps: list[tuple[int, dict[str, int], bool]]) -> None:
    telling, since, counts = Telling(), 0, dict[str, int]()
    last: dict[tuple[str, ...], float] = {}
    for later, added, down in steps:
        if later > 2:
            since, counts = since + 1, {}
        counts = {
            task: counts.get(task, 0) + added.get(task, 0) for task in counts.keys() | added.keys()
        }
        series = [
            TaskEventsReading(task=task, counts={EventKind.SENT: count})
            for task, count in sorted(counts.items())
        ]
        seen = with_events(events(*series, since=since))
        if down:
            seen = replace(seen, failure=Failure(message="gone", since=T0))
        now = told(telling, frame_of(seen)).get("bgtop_task_events", {})
        assert all(now.get(labels, -1) >= count for labels, count in last.items())
        last = now


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("celery@h1", "celery@h1"),
        ("gen9876@h1.example.org", "gen@h1.example.org"),
        ("celery@mail-7d9f8b6c5d-x2x4z", "celery@mail"),
        ("celery@10.0.0.12", "celery@10.0.0.12"),
        ("h1.12345", "h1"),
        ("0f3a9c0f3a9c0f3a9c0f3a9c0f3a9c12", "*"),
        ("w-6fa459ea-ee8a-3ca4-894e-db77e160355e", "w-*"),
        ("celery@worker-0", "celery@worker-0"),
        ("defaced@facade", "defaced@facade"),
    ],
)
def test_names_of_workers_are_steady(name: str, expected: str) -> None:
    assert steady(name) == expected


def test_rq_s_counts_stay_when_a_worker_leaves() -> None:
    telling = Telling()
    peers = Peers(["rq-exporter"], telling)

    def succeeded(at: int, **workers: int) -> float:
        reading = Reading(
            taken_at=T0 + timedelta(seconds=at),
            workers=tuple(
                WorkerReading(name=name, host="h", queues=("q",), processed=count, failed=1)
                for name, count in sorted(workers.items())
            ),
        )
        info = BackendInfo(system="rq", broker="redis", url="")
        frame = frame_of(replace(source(reading), info=info))
        telling.take(frame)
        peers.take(frame)
        return float(by_name(peers.families(frame, T0))["rq_workers_success"]["h", "q"])

    assert [succeeded(0, a=3), succeeded(1, a=5, b=2), succeeded(2, b=4), succeeded(3, c=1)] == [
        2,
        5,
        7,
        7,
    ]
