"""What bgtop counts of bgworker's jobs is what happened to them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bgtop.backends.bgworker import plugin
from bgtop.contracts import Backend, Interest, Settings
from bgtop.task_events import EventKind, EventsReading
from bgworker import trail
from bgworker.codec import dump_error
from bgworker.engines.sqlite import SqliteEngine
from bgworker.model import (
    Claim,
    Dead,
    Ended,
    Failed,
    JobSpec,
    Retrying,
    Succeeded,
    WorkerProfile,
)

SENT, RECEIVED, STARTED = EventKind.SENT, EventKind.RECEIVED, EventKind.STARTED
SUCCEEDED, FAILED, RETRIED = EventKind.SUCCEEDED, EventKind.FAILED, EventKind.RETRIED
REVOKED, LOST = EventKind.REVOKED, EventKind.LOST
ERROR = dump_error("ValueError", "as asked", "Traceback …\nValueError: as asked")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SqliteEngine]:
    with closing(SqliteEngine(str(tmp_path / "jobs.db"))) as engine:
        engine.policy_of("creates the file")
        yield engine


@pytest.fixture
def backend(engine: SqliteEngine, tmp_path: Path) -> Iterator[Backend]:
    with closing(plugin.open(f"sqlite:///{tmp_path / 'jobs.db'}", Settings())) as backend:
        yield backend


def events(backend: Backend) -> EventsReading:
    reading = backend.poll(Interest(events=True)).events
    assert reading is not None
    return reading


def counted(reading: EventsReading) -> dict[tuple[str | None, str | None], dict[EventKind, int]]:
    return {(one.task, one.queue): dict(one.counts) for one in reading.series}


def now() -> int:
    return time.time_ns() // 1_000_000


def end(engine: SqliteEngine, seat, claim: Claim, how, seconds: float = 0.5) -> None:
    engine.exchange(seat, [Ended(claim, how, now() - int(seconds * 1000), now())], 0)


def claimed(engine: SqliteEngine, seat, count: int = 1) -> list[Claim]:
    return list(engine.exchange(seat, [], count).claims)


@pytest.fixture
def seat(engine):
    seat = engine.join(WorkerProfile(name="w", host="here", pid=1, concurrency=9), [])
    yield seat
    engine.leave(seat)


def test_every_outcome_is_counted_exactly(engine, backend, seat) -> None:
    engine.enqueue([JobSpec(task="old", queue="a")])
    [old] = claimed(engine, seat)
    end(engine, seat, old, Succeeded("1"))
    assert counted(events(backend)) == {}, "counting begins now"

    engine.enqueue([JobSpec(task="good", queue="a")] * 3)
    for claim in claimed(engine, seat, 3):
        end(engine, seat, claim, Succeeded("1"), 0.5)
    engine.enqueue([JobSpec(task="bad", queue="a")])
    [claim] = claimed(engine, seat)
    end(engine, seat, claim, Retrying(ERROR, now()))
    [claim] = again(engine, seat)
    end(engine, seat, claim, Retrying(ERROR, now(), crashed=True))
    [claim] = again(engine, seat)
    end(engine, seat, claim, Failed(ERROR))
    engine.enqueue([JobSpec(task="deadly", queue="b")])
    [claim] = claimed(engine, seat)
    end(engine, seat, claim, Retrying(ERROR, now(), crashed=True))
    [claim] = again(engine, seat)
    end(engine, seat, claim, Dead(ERROR, crashed=True))
    [unwanted] = engine.enqueue([JobSpec(task="unwanted", queue="b")])
    engine.cancel([unwanted], ERROR)
    reading = events(backend)

    assert counted(reading) == {
        ("good", "a"): {SENT: 3, RECEIVED: 3, STARTED: 3, SUCCEEDED: 3},
        ("bad", "a"): {SENT: 1, RECEIVED: 3, STARTED: 3, RETRIED: 1, LOST: 1, FAILED: 1},
        ("deadly", "b"): {SENT: 1, RECEIVED: 2, STARTED: 2, LOST: 1, FAILED: 1},
        ("unwanted", "b"): {SENT: 1, RECEIVED: 1, REVOKED: 1},
    }
    good = next(one for one in reading.series if one.task == "good")
    assert (good.runtime.total, round(good.runtime.seconds, 2), good.in_flight) == (3, 1.5, 0)
    assert next(one for one in reading.series if one.task == "bad").exceptions == {"ValueError": 1}
    assert (reading.missed, reading.forgotten) == (0, 0)
    assert events(backend).series == reading.series, "nothing is counted twice"


def again(engine: SqliteEngine, seat) -> list[Claim]:
    """The claim of a job that waits for its next try."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = claimed(engine, seat)
        if found:
            return found
    raise AssertionError("it is not tried again")


def test_a_run_that_is_written_down_late_is_counted(engine, backend, seat) -> None:
    """Its worker was stopped between its end and the transaction that says so."""
    engine.enqueue([JobSpec(task="late")] * 2)
    late, other = claimed(engine, seat, 2)
    events(backend)
    ended_at = now() + 10
    end(engine, seat, other, Succeeded("1"))
    later = Ended(other, Succeeded("1"), ended_at, ended_at)
    engine.exchange(seat, [later], 0)
    events(backend)
    trail_end = now() + trail.OVERLAP * 3
    engine.enqueue([JobSpec(task="newer")])
    [newer] = claimed(engine, seat)
    engine.exchange(seat, [Ended(newer, Succeeded("1"), trail_end, trail_end)], 0)
    events(backend)
    engine.exchange(seat, [Ended(late, Succeeded("1"), ended_at, ended_at)], 0)
    looks = [events(backend) for _ in range(3)]

    assert counted(looks[-1])["late", "default"][SUCCEEDED] == 2
    assert looks[-1].missed == 0


def test_one_look_is_bounded_and_the_next_goes_on(engine, backend, seat, monkeypatch) -> None:
    monkeypatch.setattr(trail, "MOST_PER_LOOK", 20)
    monkeypatch.setattr(trail, "_PAGE", 10)
    events(backend)
    engine.enqueue([JobSpec(task="many")] * 50)
    for claim in claimed(engine, seat, 50):
        end(engine, seat, claim, Succeeded("1"), 0.001)
    looks = [counted(events(backend))["many", "default"] for _ in range(4)]

    assert [look[SENT] for look in looks] == [20, 40, 50, 50]
    assert looks[0][SUCCEEDED] == 20
    assert looks[-1][SUCCEEDED] == 50
