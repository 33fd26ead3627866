"""Snapshots and frames for tests, and strategies that make any of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from bgtop.actions import Verb
from bgtop.model import (
    Age,
    AgeKind,
    BackendInfo,
    Capability,
    Failure,
    Frame,
    JobList,
    JobQuery,
    JobReading,
    JobState,
    QueueReading,
    Rates,
    Reading,
    ScheduleReading,
    Snapshot,
    Source,
    TaskTypeReading,
    WorkerReading,
    WorkerState,
)
from bgtop.state.fold import Polled
from bgtop.state.history import places_of
from bgtop.state.intake import Selection, take_in
from bgtop.state.trends import Memory, keep

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


TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/mail.py", line 41, in send
    address = book[user]
KeyError: 'ann'"""


def looked_into(**answers: Any) -> Frame:
    """The usual frame of a system that can be looked into, with the answers to what was asked."""
    seen = usual_frame()
    [source] = seen.snapshot.sources
    assert source.reading is not None
    info = replace(
        source.info,
        capabilities=frozenset(Capability),
        verbs=frozenset(Verb) - {Verb.PAUSE, Verb.RESUME},
    )
    workers = tuple(
        replace(
            worker, queues=("mail", "push"), concurrency=4, cpu_percent=12.5, rss_bytes=41 << 20
        )
        for worker in source.reading.workers
    )
    reading = replace(source.reading, workers=workers, commands=45, round_trips=2, **answers)
    memory = Memory()
    for at in range(30):
        earlier = tuple(
            replace(queue, depth=(queue.depth or 0) * (at + 5) // 34) for queue in reading.queues
        )
        rates = {key: Rates(in_per_second=at % 7, out_per_second=3.0) for key in seen.rates}
        sample = polled(replace(reading, queues=earlier), at * 5.0)
        memory = keep(memory, sample, rates, places_of([q.name for q in earlier], {}))
    sources = (replace(source, info=info, reading=reading),)
    return replace(seen, snapshot=replace(seen.snapshot, sources=sources), trends=memory)


def some_jobs(query: JobQuery) -> JobList:
    """One job of each kind."""
    jobs = (
        JobReading(
            id="0f3a9c", state=JobState.WAITING, name="shop.send", args="[7]", enqueued_at=ago(70)
        ),
        JobReading(
            id="77ab12",
            state=JobState.RUNNING,
            name="shop.grow",
            started_at=ago(3),
            worker="celery@web-01.example.org",
            attempts=1,
        ),
        JobReading(
            id="9d00e1", state=JobState.SCHEDULED, name="shop.remind", due_at=ago(-3600), attempts=0
        ),
        JobReading(
            id="beef42",
            state=JobState.FAILED,
            name="shop.send",
            queue="mail",
            args='["ann", 7]',
            kwargs='{"token": "***"}',
            enqueued_at=ago(100),
            started_at=ago(99),
            ended_at=ago(98.5),
            attempts=3,
            attempts_left=0,
            error="KeyError: 'ann'",
            traceback=TRACEBACK,
            worker="celery@web-02.example.org",
            parents=("0f3a9c",),
            children=("9d00e1",),
            facts=(("reply to", "b7c1"),),
        ),
        JobReading(
            id="dead01",
            state=JobState.DEAD,
            name="shop.bill",
            ended_at=ago(7200),
            error="TimeoutError: the bank does not answer",
            malformed=True,
        ),
    )
    chosen = [job for job in jobs if query.id in {None, job.id} and job.state in query.states]
    return JobList(query=query, rows=tuple(chosen), more=query.id is None)


def some_types() -> tuple[TaskTypeReading, ...]:
    """Figures of two tasks, one of which fails in two ways."""
    return (
        TaskTypeReading(
            name="shop.grow", waiting=3, running=1, succeeded=70, failed=0, runtime_mean_seconds=2.5
        ),
        TaskTypeReading(
            name="shop.send",
            waiting=148,
            running=0,
            succeeded=9000,
            failed=1000,
            runtime_mean_seconds=0.02,
            runtime_p50_seconds=0.01,
            runtime_p95_seconds=0.4,
            exceptions={"KeyError": 12, "TimeoutError": 988},
            last_ended_at=ago(2),
            sampled=1000,
        ),
    )


def some_schedules() -> tuple[ScheduleReading, ...]:
    """One on time, one late, one switched off."""
    return (
        ScheduleReading(
            name="hourly", task="shop.count", rule="0 * * * *", next_at=ago(70), last_at=ago(3670)
        ),
        ScheduleReading(
            name="nightly",
            task="shop.bill",
            queue="billing",
            rule="0 3 * * *",
            next_at=ago(-82_800),
            last_at=ago(3600),
            enabled=True,
        ),
        ScheduleReading(name="old", task="shop.sweep", rule="every 30s", enabled=False),
    )


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

ANY_JOB = st.builds(
    JobReading,
    id=NAMES,
    state=st.sampled_from(JobState),
    name=st.none() | NAMES,
    queue=st.none() | NAMES,
    args=st.none() | NAMES,
    enqueued_at=MOMENTS,
    due_at=MOMENTS,
    started_at=MOMENTS,
    ended_at=MOMENTS,
    attempts=COUNTS,
    error=st.none() | NAMES,
    traceback=st.none() | NAMES,
    parents=st.lists(NAMES, max_size=2).map(tuple),
)
ANY_TYPE = st.builds(
    TaskTypeReading,
    name=NAMES,
    succeeded=COUNTS,
    failed=COUNTS,
    runtime_p95_seconds=st.none() | st.floats(0, 1e12),
    exceptions=st.none() | st.dictionaries(NAMES, st.integers(0, 10**20), max_size=3),
)
ANY_SCHEDULE = st.builds(
    ScheduleReading,
    name=NAMES,
    rule=st.none() | NAMES,
    next_at=MOMENTS,
    last_at=MOMENTS,
    enabled=st.none() | st.booleans(),
)


@st.composite
def _any_sight(draw: st.DrawFn) -> Frame:
    """A frame in which everything was asked for, whatever was answered."""
    seen: Frame = draw(ANY_FRAME)
    sources = []
    for source in seen.snapshot.sources:
        reading = source.reading
        if reading is not None:
            states = frozenset({JobState.FAILED, JobState.DEAD})
            jobs = tuple(draw(st.lists(ANY_JOB, max_size=4)))
            reading = replace(
                reading,
                jobs=JobList(query=JobQuery(states=states), rows=jobs, more=draw(st.booleans())),
                task_types=tuple(draw(st.lists(ANY_TYPE, max_size=3))),
                schedules=tuple(draw(st.lists(ANY_SCHEDULE, max_size=3))),
            )
        verbs = frozenset(draw(st.sets(st.sampled_from(Verb))))
        info = replace(source.info, verbs=verbs, capabilities=frozenset(Capability))
        sources.append(replace(source, reading=reading, info=info))
    return replace(seen, snapshot=replace(seen.snapshot, sources=tuple(sources)))


ANY_SIGHT = _any_sight()
