"""Declaring tasks, options for one call, and handles."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from bgworker import BgWorker, JobState, Retry, UnknownJob
from bgworker.engines.sqlite import SqliteEngine
from bgworker.errors import QueueUnavailable
from bgworker.model import JobId, JobRecord


@pytest.fixture
def bg(tmp_path: Path) -> Iterator[BgWorker]:
    found = BgWorker(f"sqlite:///{tmp_path}/jobs.db")
    yield found
    found.close()


def stored(bg: BgWorker, handle: Any) -> JobRecord:
    return bg.dispatcher.fetch(handle.id)


def now() -> int:
    return time.time_ns() // 1_000_000


# Declaring


def test_a_task_is_still_a_function(bg: BgWorker) -> None:
    @bg.task
    def add(a: int, b: int = 1) -> int:
        return a + b

    assert add(1, b=2) == 3
    assert add.name == f"{__name__}.test_a_task_is_still_a_function.<locals>.add"
    assert bg.tasks == {add.name: add}


def test_options_are_kept(bg: BgWorker) -> None:
    retry = Retry(max=2)
    task = bg.task(name="n", queue="q", priority=-1, retry=retry, timeout=1, hard_timeout=2)(len)

    assert (task.policy.name, task.policy.queue, task.policy.priority) == ("n", "q", -1)
    assert (task.policy.retry, task.policy.timeout, task.policy.hard_timeout) == (retry, 1, 2)
    assert bg.task(name="soft", timeout=1.5)(len).policy.hard_timeout == 11.5
    assert bg.task(name="none")(len).policy.hard_timeout is None


MAIN = """
from bgworker import BgWorker
bg = BgWorker("memory://")

@bg.task
def f():
    pass

class C:
    @staticmethod
    def g():
        pass

bg.task(C.g)
if __name__ == "__main__":
    print(*bg.tasks)
"""


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["jobs.py"], "jobs.f jobs.C.g"),
        (["./pkg/../jobs.py"], "jobs.f jobs.C.g"),
        (["-m", "jobs"], "jobs.f jobs.C.g"),
        (["-m", "pkg.jobs"], "pkg.jobs.f pkg.jobs.C.g"),
        (["-m", "pkg"], "pkg.__main__.f pkg.__main__.C.g"),
        (["-c", "import jobs; print(*jobs.bg.tasks)"], "jobs.f jobs.C.g"),
        (["-c", MAIN], "__main__.f __main__.C.g"),
    ],
)
def test_a_script_names_its_tasks_as_a_worker_would(
    tmp_path: Path, arguments: list[str], names: str
) -> None:
    (tmp_path / "pkg").mkdir()
    for path in ("jobs.py", "pkg/jobs.py", "pkg/__main__.py"):
        (tmp_path / path).write_text(MAIN)
    (tmp_path / "pkg" / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == names


# Options of one call


def test_options_change_a_copy(bg: BgWorker) -> None:
    task = bg.task(name="t", queue="q", priority=3)(lambda: None)
    changed = task.options(queue="other", priority=1, countdown=60)

    assert (task.policy.queue, task.policy.priority) == ("q", 3)
    assert (changed.policy.queue, changed.policy.priority) == ("other", 1)
    assert bg.tasks["t"] is task
    first, second = stored(bg, changed.delay()), stored(bg, task.delay())
    assert (first.queue, first.priority, first.state) == ("other", 1, JobState.SCHEDULED)
    assert (second.queue, second.priority, second.state) == ("q", 3, JobState.QUEUED)


def test_options_add_up(bg: BgWorker) -> None:
    task = bg.task(name="t")(lambda: None)
    found = stored(bg, task.options(queue="a").options(priority=1).options(countdown=9).delay())

    assert (found.queue, found.priority, found.state) == ("a", 1, JobState.SCHEDULED)
    eta = datetime(2030, 1, 1, tzinfo=timezone.utc)
    found = stored(bg, task.options(countdown=9).options(eta=eta).delay())
    assert found.run_at == round(eta.timestamp() * 1000)
    found = stored(bg, task.options(eta=eta).options(countdown=9).delay())
    assert found.run_at is not None
    assert found.run_at < now() + 10_000


def test_a_countdown_begins_when_the_job_is_stored(bg: BgWorker) -> None:
    """A task with options may be kept, in a module or in a loop."""
    later = bg.task(name="t")(lambda: None).options(countdown=60)
    began = time.monotonic()
    while time.monotonic() - began < 0.05:
        continue
    before = now()
    (handle,) = later.map([()])
    first, second = stored(bg, later.delay()), stored(bg, handle)

    for found in (first, second):
        assert found.run_at is not None
        assert before + 60_000 <= found.run_at <= now() + 60_000


@pytest.mark.parametrize("countdown", [0, -5, 0.0])
def test_a_countdown_that_is_over_means_now(bg: BgWorker, countdown: float) -> None:
    found = stored(bg, bg.task(name="t")(lambda: None).options(countdown=countdown).delay())

    assert found.state is JobState.QUEUED


def test_an_eta_has_a_time_zone(bg: BgWorker) -> None:
    task = bg.task(name="t")(lambda: None)
    naive = datetime(2030, 1, 1)  # noqa: DTZ001 - it is what is refused
    with pytest.raises(ValueError, match="time zone"):
        task.options(eta=naive)
    zone = timezone(timedelta(hours=-9, minutes=-30))
    found = stored(bg, task.options(eta=datetime(2030, 1, 1, 0, 0, 0, 1500, zone)).delay())

    assert found.run_at == 1_893_490_200_002
    assert stored(bg, task.options(eta=datetime(1970, 1, 1, tzinfo=zone)).delay()).state is (
        JobState.QUEUED
    )


@pytest.mark.parametrize(
    "options",
    [
        {"countdown": math.nan},
        {"countdown": math.inf},
        {"countdown": 1e300},
        {"countdown": 1e15},
        {"countdown": 1, "eta": datetime(2030, 1, 1, tzinfo=timezone.utc)},
        {"priority": 0.5},
        {"priority": 2**63},
        {"queue": ""},
        {"queue": "\ud800"},
        {"queue": 5},
        {"countdown": "5"},
        {"countdown": timedelta(seconds=5)},
        {"eta": "2030-01-01"},
        {"expires": "5"},
        {"expires": timedelta(seconds=5)},
    ],
)
def test_options_of_a_call_that_make_no_sense_are_refused(
    bg: BgWorker, options: dict[str, Any]
) -> None:
    """By an error that names them, before anything is stored."""
    task = bg.task(name="t")(lambda: None)
    with pytest.raises(ValueError, match="|".join(options)):
        task.options(**options)
    assert task.delay().id == "1"


def test_many_are_stored_at_once_or_not_at_all(bg: BgWorker) -> None:
    task = bg.task(name="t")(lambda *_: None)
    assert task.map([]) == []
    assert [handle.id for handle in task.map((i,) for i in range(3))] == ["1", "2", "3"]
    with pytest.raises(TypeError):
        task.map([(1,), (object(),), (2,)])

    assert task.delay().id == "4"


@pytest.mark.parametrize("call", ["ab", 1, {"a": 1}, None, {1}])
def test_a_call_of_many_is_a_tuple(bg: BgWorker, call: Any) -> None:
    """A forgotten comma must not become a job that no worker can read."""
    task = bg.task(name="t")(lambda *_: None)
    with pytest.raises(TypeError, match="tuple"):
        task.map([(1,), call])

    assert task.delay().id == "1"


def test_enqueuing_in_the_middle_of_enqueuing_is_an_error_and_does_no_harm(bg: BgWorker) -> None:
    """As by a signal's handler or a destructor: no deadlock, and the outer one is left alone."""
    task = bg.task(name="t")(lambda *_: None)
    task.delay()
    engine = bg.dispatcher
    assert isinstance(engine, SqliteEngine)
    with engine._store.write() as db:
        db.execute("INSERT INTO bgworker_counter VALUES ('before', 1)")
        with pytest.raises(QueueUnavailable, match="in the middle of another"):
            task.delay()
        db.execute("INSERT INTO bgworker_counter VALUES ('after', 1)")

    assert task.delay().id == "2"
    assert engine._store.read("SELECT name FROM bgworker_counter") == [("after",), ("before",)]


def test_an_app_may_be_used_by_many_threads(bg: BgWorker) -> None:
    """Opened by all of them at once; each job is stored once and every id is given once."""
    task = bg.task(name="t")(lambda *_: None)
    ready = threading.Barrier(8)
    ids: list[str] = []

    def produce() -> None:
        ready.wait()
        for _ in range(25):
            handle = task.delay()
            assert handle.status is JobState.QUEUED
            ids.append(handle.id)
        ids.extend(handle.id for handle in task.map([()] * 25))

    threads = [threading.Thread(target=produce) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(map(int, ids)) == list(range(1, 401))


# Handles


@pytest.mark.parametrize(
    "job",
    ["1", "0", "-1", "", "x", "1.5", " 1", "1\n", "\x00", "\ud800", "²", "٣", "9" * 30, "9" * 5000],
)
def test_an_unknown_job(bg: BgWorker, job: str) -> None:
    """Whatever the id looks like: numbers beyond every integer, and digits of other scripts."""
    handle = bg.job(job)
    with pytest.raises(UnknownJob):
        _ = handle.status
    with pytest.raises(UnknownJob):
        handle.result(0.1)
    with pytest.raises(LookupError):
        handle.result()


def test_a_handle_from_an_id(bg: BgWorker) -> None:
    job = bg.task(name="t")(lambda: None).delay()

    assert bg.job(job.id) == job
    assert bg.job(job.id).status is JobState.QUEUED
    assert isinstance(job.id, str)
    assert JobId(job.id) == "1"


@pytest.mark.parametrize("timeout", [0, -1, 0.01])
def test_waiting_without_a_worker_has_an_end(bg: BgWorker, timeout: float) -> None:
    job = bg.task(name="t")(lambda: None).delay()
    with pytest.raises(TimeoutError, match="job 1 is queued"):
        job.result(timeout)


def test_closing_is_not_the_end(bg: BgWorker) -> None:
    task = bg.task(name="t")(lambda: None)
    first = task.delay()
    bg.close()
    bg.close()

    assert task.delay().id == "2"
    assert bg.job(first.id).status is JobState.QUEUED


def test_the_url_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BGWORKER_URL", raising=False)
    assert BgWorker().url == "sqlite:///bgworker.db"
    monkeypatch.setenv("BGWORKER_URL", "sqlite:///other.db")
    assert BgWorker().url == "sqlite:///other.db"
    assert BgWorker("sqlite:///mine.db").url == "sqlite:///mine.db"
    with pytest.raises(
        TypeError, match=r"^url: expected text such as 'sqlite:///jobs.db', not .*Path$"
    ):
        BgWorker(Path("mine.db"))  # type: ignore[arg-type]


def test_declaring_tasks_opens_no_file(tmp_path: Path) -> None:
    bg = BgWorker(f"sqlite:///{tmp_path}/jobs.db")
    bg.task(name="t")(lambda: None).options(countdown=1)

    assert list(tmp_path.iterdir()) == []
