"""Single jobs of arq: what is shown of them, and what actions really do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from job_lists import by_state, listed, one
from redis_rights import operator_url

from bgtop.actions import (
    CancelJob,
    DeleteJob,
    PurgeQueue,
    RequeueFailed,
    ResumeQueue,
    RetryJob,
    Verb,
)
from bgtop.backends.arq import plugin
from bgtop.contracts import Backend, NoSuchTarget, Settings, Unsupported
from bgtop.model import JobReading, JobState
from bgtop.testing import wait_until

QUEUE = "arq:mail"


@pytest.fixture
def backend(redis_server, admin) -> Iterator[Backend]:
    """With the rights that are documented, and no others."""
    url = "arq+" + operator_url(admin, redis_server.port, "arq")
    with closing(plugin.open(url, Settings())) as backend:
        yield backend
    assert [entry["object"] for entry in admin.acl_log()] == []


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The file in which jobs leave their word."""
    path = tmp_path / "trace"
    path.touch()
    return path


def put(arq: Any, trace: Path, *words: str, **options: Any) -> None:
    """Jobs whose id is the word they leave."""
    for word in words:
        arq.put(QUEUE, task="write", _job_id=word, file=str(trace), word=word, **options)


def test_jobs_are_shown_in_their_states(arq, backend, trace, admin) -> None:
    put(arq, trace, "runs", seconds=60)
    arq.start_worker(QUEUE)
    running = {JobState.RUNNING: ["runs"]}
    wait_until(lambda: by_state(listed(backend)) == running, seconds=20, why="it runs")
    # arq says that it runs before it counts the attempt.
    wait_until(lambda: one(backend, "runs").attempts == 1, why="the attempt is counted")
    arq.kill(QUEUE)
    put(arq, trace, "a", "b", "c")
    put(arq, trace, "later", _defer_by=3600)
    jobs = listed(backend)
    assert by_state(jobs) == {
        JobState.WAITING: ["a", "b", "c"],
        JobState.RUNNING: ["runs"],
        JobState.SCHEDULED: ["later"],
    }
    assert jobs.unreadable == {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
    few = listed(backend, queue=QUEUE, limit=2, states=frozenset({JobState.WAITING}))
    assert (by_state(few), few.more) == ({JobState.WAITING: ["a", "b"]}, True)
    assert listed(backend, queue="other").rows == ()
    row = one(backend, "a")
    now = datetime.now(timezone.utc)
    assert (row.name, row.queue, row.attempts) == ("write", QUEUE, 0)
    assert (row.args, row.kwargs) == ("[]", f'{{"file": "{trace}", "word": "a"}}')
    assert now - timedelta(minutes=1) < row.enqueued_at <= now
    assert timedelta(minutes=55) < one(backend, "later").due_at - now < timedelta(minutes=61)
    assert one(backend, "none") is None


def test_what_is_cancelled_deleted_or_purged_never_runs(arq, backend, trace, admin) -> None:
    put(arq, trace, "a", "b", "c", "d")
    put(arq, trace, "soon", _defer_by=2)
    assert backend.perform(CancelJob(id="a")).changed == 1
    assert backend.perform(DeleteJob(id="b")).changed == 1
    assert backend.perform(CancelJob(id="soon")).changed == 1
    for action in (CancelJob(id="a"), DeleteJob(id="b"), CancelJob(id="")):
        with pytest.raises(NoSuchTarget):
            backend.perform(action)
    arq.start_worker(QUEUE)
    wait_until(lambda: len(trace.read_text().split()) == 2, seconds=20, why="two have run")
    wait_until(lambda: not admin.zcard(QUEUE), seconds=20, why="nothing is left")
    assert trace.read_text().split() == ["c", "d"]
    arq.stop(QUEUE)

    put(arq, trace, "e", "f", "g")
    put(arq, trace, "later", _defer_by=3600)
    with pytest.raises(NoSuchTarget, match="no queue 'nobody'"):
        backend.perform(PurgeQueue(queue="nobody"))
    assert backend.perform(PurgeQueue(queue=QUEUE)).changed == 3
    assert by_state(listed(backend)) == {JobState.SCHEDULED: ["later"]}
    assert admin.keys("arq:job:*") == [b"arq:job:later"]
    for action in (RetryJob(id="c"), RequeueFailed(), ResumeQueue(queue=QUEUE)):
        with pytest.raises(Unsupported, match="arq"):
            backend.perform(action)
    assert backend.info.verbs == {Verb.CANCEL, Verb.DELETE, Verb.PURGE}


def test_what_runs_is_left_alone_or_aborted(arq, backend, trace) -> None:
    """A purge passes it over, and its worker stops it where the application allows that."""
    put(arq, trace, "runs", seconds=3600)
    arq.start_worker(QUEUE, allow_abort_jobs=True)
    running = {JobState.RUNNING: ["runs"]}
    wait_until(lambda: by_state(listed(backend)) == running, seconds=20, why="it runs")
    # arq says so before the task has begun.
    wait_until(trace.exists, why="its task has begun")
    for action in (CancelJob(id="runs"), DeleteJob(id="runs")):
        with pytest.raises(NoSuchTarget, match="runs"):
            backend.perform(action)
    assert backend.perform(PurgeQueue(queue=QUEUE)).changed == 0
    outcome = backend.perform(CancelJob(id="runs", terminate=True))
    assert (outcome.changed, "allow_abort_jobs" in outcome.words) == (None, True)

    def ended() -> JobReading | None:
        row = one(backend, "runs")
        # It may end between two questions of one look: still queued, and run by nobody any more.
        return row if row and row.state not in {JobState.RUNNING, JobState.WAITING} else None

    row = wait_until(ended, seconds=20, why="it is stopped")
    assert (row.state, row.name, row.queue) == (JobState.CANCELLED, "write", QUEUE)
    assert trace.read_text().split() == ["runs"]


def test_results_are_found_by_id_and_forgotten(arq, backend) -> None:
    arq.put(QUEUE, _job_id="sum")
    arq.put(QUEUE, task="fail", _job_id="bad")
    arq.start_worker(QUEUE)
    good = {JobState.SUCCEEDED}
    wait_until(lambda: (row := one(backend, "sum")) and row.state in good, seconds=20, why="done")
    row = one(backend, "sum")
    assert (row.result, row.args, row.queue, row.error, row.attempts) == (
        *("3", "[1, 2]", QUEUE),
        *(None, 1),
    )
    assert row.enqueued_at <= row.started_at <= row.ended_at <= datetime.now(timezone.utc)
    bad = {JobState.FAILED}
    wait_until(lambda: (row := one(backend, "bad")) and row.state in bad, seconds=20, why="done")
    assert one(backend, "bad").error == "ValueError: as asked for"
    assert backend.perform(DeleteJob(id="bad")).words == "its result is forgotten"
    assert one(backend, "bad") is None


def test_hostile_data_is_shown_as_such(arq, backend, admin) -> None:
    arq.put(QUEUE, _job_id="good")
    bodies = {
        "code": b"cos\nsystem\n(S'touch ran'\ntR.",
        "odd": b"\x93\x01\x02",
        "huge": b"x" * 200_000,
        "none": b"",
        "\udcff": b"\x80\x04N.",
    }
    for number, (name, body) in enumerate(bodies.items()):
        raw = name.encode("utf-8", "surrogateescape")
        admin.zadd(QUEUE, {raw: number + 1})
        admin.set(b"arq:job:" + raw, body)
    admin.zadd(QUEUE, {"type": 100})
    admin.lpush("arq:job:type", "x")
    rows = {row.id: row for row in listed(backend).rows}

    assert {name for name, row in rows.items() if row.malformed} == {"code", "odd", "\\xff"}
    assert rows["good"].name == "add"
    assert "200,000 bytes" in dict(rows["huge"].facts)["size"]
    assert "expired" in dict(rows["none"].facts)
    assert backend.perform(DeleteJob(id="huge")).changed == 1
    assert not admin.exists("arq:job:huge")

    admin.zadd(QUEUE, {"x" * 100_000: 101})
    jobs = listed(backend)
    assert jobs.rows == ()
    assert JobState.WAITING in jobs.unreadable
