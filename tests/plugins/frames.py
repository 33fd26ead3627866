"""Snapshots and frames for tests, and strategies that make any of them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import strategies as st

from bgtop.model import (
    Age,
    AgeKind,
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
from bgtop.state.fold import Polled
from bgtop.state.intake import Selection, take_in

T0 = datetime(2026, 11, 21, 4, 0, tzinfo=timezone.utc)
INFO = BackendInfo(
    system="celery",
    broker="redis",
    url="redis://:***@localhost:6379/0",
    capabilities=frozenset({Capability.DEPTH, Capability.WORKERS}),
)


def ago(seconds: float) -> datetime:
    return T0 - timedelta(seconds=seconds)


def polled(reading: Reading, clock: float = 0.0, source: str = "a") -> Polled:
    return Polled(source=source, info=INFO, reading=reading, clock=clock, poll_seconds=0.004)


def source(reading: Reading | None, name: str = "a", failure: Failure | None = None) -> Source:
    if reading is not None:
        reading = take_in(reading, Selection())
    return Source(name=name, info=INFO, reading=reading, poll_seconds=0.004, failure=failure)


def frame(*sources: Source, rates: dict[tuple[str, str], Rates] | None = None) -> Frame:
    return Frame(snapshot=Snapshot(taken_at=T0, sources=sources), rates=rates or {})


def queues(*names: str) -> Reading:
    return Reading(taken_at=T0, queues=tuple(QueueReading(name=name, depth=1) for name in names))


def usual_frame() -> Frame:
    """What a small shop sees: most of the columns, one dead worker, one queue nobody reads."""
    names = ["billing", "default", "mail", "mail.bulk", "media.transcode", "push", "webhooks"]
    readings = tuple(
        QueueReading(
            name=name,
            depth=number * number * 37 % 5000,
            unacked=number % 3,
            oldest=Age(0.2 * 7**number, AgeKind.AT_LEAST if number % 2 else AgeKind.EXACT),
            runtime_mean_seconds=0.004 * 5**number,
            last_completed_at=ago(number * 37),
            consumers=0 if name == "push" else 2,
        )
        for number, name in enumerate(names)
    )
    workers = tuple(
        WorkerReading(
            name=f"celery@web-{number:02}.example.org",
            last_heartbeat_at=ago(44 if number == 3 else number * 0.7),
            running=number % 3,
            processed=number * 12_345,
        )
        for number in range(6)
    )
    reading = Reading(taken_at=T0, queues=readings, workers=workers, broker_version="7.0.15")
    rates = {
        ("a", name): Rates(in_per_second=number * 1.5, out_per_second=number * 1.4 + 0.04)
        for number, name in enumerate(names)
    }
    return frame(source(reading), rates=rates)


def _optional(values: st.SearchStrategy[int]) -> st.SearchStrategy[int | None]:
    return st.none() | values


NAMES = st.text(max_size=40) | st.sampled_from(
    [
        "\x1b[31mred",
        "a\nb",
        "\u202egnp",
        "日本語キュー",
        "e" + "\u0301" * 60,
        "\ud800",
        "x" * 999,
        "",
    ]
)
COUNTS = _optional(st.integers(0, 10**20))
MOMENTS = st.none() | st.integers(-(10**6), 10**9).map(lambda s: T0 - timedelta(seconds=s))

ANY_QUEUE = st.builds(
    QueueReading,
    name=NAMES,
    depth=COUNTS,
    unacked=COUNTS,
    oldest=st.none() | st.builds(Age, st.floats(0, 1e12), st.sampled_from(AgeKind)),
    runtime_mean_seconds=st.none() | st.floats(0, 1e12),
    last_completed_at=MOMENTS,
    consumers=_optional(st.integers(0, 3)),
    paused=st.none() | st.booleans(),
)
ANY_WORKER = st.builds(
    WorkerReading,
    name=NAMES,
    state=st.none() | st.sampled_from(WorkerState),
    last_heartbeat_at=MOMENTS,
    running=COUNTS,
    processed=COUNTS,
)
ANY_READING = st.builds(
    Reading,
    taken_at=st.just(T0),
    queues=st.lists(ANY_QUEUE, max_size=30, unique_by=lambda q: q.name).map(tuple),
    workers=st.lists(ANY_WORKER, max_size=10, unique_by=lambda w: w.name).map(tuple),
    broker_version=st.none() | NAMES,
    warnings=st.lists(NAMES, max_size=3).map(tuple),
)
ANY_FAILURE = st.none() | st.builds(
    Failure, message=NAMES, since=st.just(T0), retry_at=MOMENTS, attempts=st.integers(1, 99)
)
ANY_FRAME = st.lists(
    st.builds(source, st.none() | ANY_READING, NAMES, ANY_FAILURE),
    min_size=1,
    max_size=3,
    unique_by=lambda s: s.name,
).map(lambda sources: frame(*sources))
