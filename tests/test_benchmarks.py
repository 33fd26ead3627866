"""That the benchmarks start, and make what bgworker and Celery themselves would make."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from bgtop.backends.celery.redis_events import listener
from bgtop.backends.redis_url import parse_redis_url
from bgtop.contracts import Settings
from bgtop.task_events import EventsReading
from bgtop.testing import wait_until
from bgworker.engines.sqlite.engine import SqliteEngine
from bgworker.model import JobSpec, WorkerProfile
from bgworker.report import look
from bgworker.states import JobState

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports one of the benchmarks' modules."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_one_program_takes_the_options_of_all() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "queue_all.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )

    for option in ("--quick", "--json", "--peers", "--only", "--measure", "--rows"):
        assert option in done.stdout


def test_a_peer_that_is_not_installed_is_a_line_with_the_reason(
    module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    peers = module("queue_peers")

    missing = {one.name: peers.missing(one) for one in peers.peers(str(tmp_path))}
    table = module("queue_report").table([], {}, missing)

    assert {"huey", "snappea", "honker", "celery", "rq", "dramatiq", "taskiq"} <= missing.keys()
    assert all(why is not None and "No such file" in why for why in missing.values())
    assert len([line for line in table.splitlines() if "missing: " in line]) == len(missing)


def test_the_bare_queue_wakes_for_a_job_and_stores_results(
    module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    bare, _ = module("queue_subjects").bare()

    with module("queue_site").site(bare, str(tmp_path), 50) as here:
        here.drive("fill", 47)
        with here.worker():
            assert len(here.drive("latency", 47, 3, 0, 0.01)) == 3
            here.stamps.wait(10)
            here.wait_stored(97, 10)


def test_the_profile_tells_which_functions_take_the_supervisors_time(
    module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    profile = module("queue_profile")

    with module("queue_site").site(profile.sampled("process"), str(tmp_path), 4_000) as here:
        found = profile.drained(here, 4_000)

    assert sum(found["parts_us"].values()) == pytest.approx(found["supervisor_us"])
    assert any(part.startswith("engines/sqlite/") for part in found["parts_us"])
    assert "us a job in the supervisor" in profile.told("process", found)


def test_a_bar_moves_with_what_the_bare_queue_does_here(
    module: Callable[[str], ModuleType],
) -> None:
    bar = module("bars").Bar("drain", 30_000, "jobs/s", ceiling=False, bare=60_000)

    slow = bar.judge(12_000, bare=20_000)
    assert not slow["met"]
    assert slow["here"] == {"at_least": 10_000, "met": True}
    assert not bar.judge(9_000, bare=20_000)["here"]["met"]
    assert "here" not in bar.judge(12_000)
    assert bar.judge(None, bare=20_000)["here"]["met"] is None


def test_old_jobs_made_by_sql_are_what_the_engine_would_have_stored(
    module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    path = str(tmp_path / "jobs.db")
    module("queue_old_jobs").make(path, ended=200, days_ago=40, delayed=30)
    engine = SqliteEngine(path)

    (queue,) = look(f"sqlite:///{path}").queues
    assert queue.states[JobState.SUCCEEDED] == queue.succeeded_total == 198
    assert queue.states[JobState.FAILED] == queue.failed_total == 2
    assert queue.states[JobState.SCHEDULED] == 30
    (job,) = engine.enqueue([JobSpec(task="noop")])
    assert int(job) == 231
    seat = engine.join(WorkerProfile(name="w", host="h", pid=1, concurrency=1), ())
    assert [claim.id for claim in engine.exchange(seat, [], 10).claims] == [job]
    now = module("queue_old_jobs").now()
    deleted = 0
    while some := engine.expire(now - 39 * 86_400_000):
        deleted += some
    assert deleted == 200
    engine.close()


def test_the_stream_of_events_is_understood(redis_server) -> None:  # type: ignore[no-untyped-def]
    """It is made by hand, and has to be what Celery says."""
    listening = listener(
        parse_redis_url(redis_server.url), b"/0.celeryev", Settings(), lambda: [b""]
    )
    with closing(listening):
        wait_until(listening.reading)
        source = [sys.executable, BENCHMARKS / "event_source.py", str(redis_server.port)]
        said = subprocess.run([*source, "4000", "400"], capture_output=True, text=True, check=True)

        def heard() -> EventsReading | None:
            reading = listening.reading()
            counted = reading and sum(sum(one.counts.values()) for one in reading.series)
            return reading if counted == 400 else None

        reading = wait_until(heard)

    assert json.loads(said.stdout)["said"] == 400
    assert reading.missed == 0
    assert {one.in_flight for one in reading.series} == {0}
    assert all(one.queue and one.wait and one.wait.total for one in reading.series)
