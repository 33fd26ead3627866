"""Single jobs of bgworker: their order, what is said of one, and what a look at many costs."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import pytest
from specimens import WORKER

from bgtop.actions import CancelJob, DeleteJob, PurgeQueue, RequeueFailed, RetryJob
from bgtop.backends.bgworker import plugin
from bgtop.backends.bgworker.queue_file import reading_of
from bgtop.contracts import Backend, Interest, NoSuchTarget, Settings, Unsupported, WrongSource
from bgtop.model import JobList, JobQuery, JobReading, JobState
from bgworker import browse
from bgworker.codec import dump_error
from bgworker.engines.sqlite import SqliteEngine
from bgworker.inspector import Inspector, Stats
from bgworker.model import (
    Dead,
    Ended,
    Failed,
    JobSpec,
    Progress,
    Retrying,
    Said,
    Schedule,
    Succeeded,
    TaskPolicy,
    WorkerProfile,
)

ERROR = dump_error("ValueError", "as asked\nfor", "Traceback …\nValueError: as asked\nfor")
PROFILE = WorkerProfile(name="w", host="here", pid=1, concurrency=9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def engine(path: Path) -> Iterator[SqliteEngine]:
    with closing(SqliteEngine(str(path))) as engine:
        engine.policy_of("creates the file")
        yield engine


@pytest.fixture
def backend(engine: SqliteEngine, path: Path) -> Iterator[Backend]:
    with closing(plugin.open(f"sqlite:///{path}", Settings())) as backend:
        yield backend


def listed(backend: Backend, *states: JobState, **query: object) -> JobList:
    if states:
        query["states"] = frozenset(states)
    jobs = backend.poll(Interest(jobs=JobQuery(**query))).jobs
    assert jobs is not None
    return jobs


def ids(jobs: JobList) -> list[str]:
    return [row.id for row in jobs.rows]


def look(backend: Backend, id_: str) -> JobReading:
    (row,) = listed(backend, id=id_).rows
    return row


def now() -> int:
    return time.time_ns() // 1_000_000


def test_what_waits_is_in_the_order_of_the_claims(engine, backend) -> None:
    """By priority over all queues, jobs of limited tasks among the others."""
    specs = [
        JobSpec(task="t", queue=queue, priority=priority, lane=lane)
        for queue, priority, lane in (
            *(("a", 5, None), ("b", 1, None), ("a", 1, "t"), ("b", 9, "t"), ("a", 0, None)),
            *(("b", 5, "t"), ("c", 5, None)),
        )
    ]
    one, two, three, four, five, six, seven = engine.enqueue(specs)
    order = [five, two, three, one, six, seven, four]

    assert ids(listed(backend, JobState.WAITING)) == order
    for limit in range(1, 8):
        some = listed(backend, JobState.WAITING, limit=limit)
        assert (ids(some), some.more) == (order[:limit], limit < 7)
    assert ids(listed(backend, queue="b")) == [two, six, four]


def test_one_job_is_told_whole(engine, backend) -> None:
    (parent,) = engine.enqueue([JobSpec(task="up", args='[[1,"é"],{"a":null}]')])
    (child,) = engine.enqueue([JobSpec(task="down", after=(parent,))])
    seat = engine.join(PROFILE, [])
    (claim,) = engine.exchange(seat, [], 1).claims
    engine.exchange(seat, [], 0, [Said(claim, Progress(3, 10, "rows", now()))])
    taken = look(backend, parent)

    assert (taken.args, taken.kwargs) == ('[1, "é"]', '{"a": null}')
    assert (taken.state, taken.worker, taken.attempts) == (JobState.RUNNING, "w", 1)
    assert taken.facts == (
        ("begun", "no: its worker has taken it, and is still at others"),
        ("progress", "3 of 10 rows"),
    )
    assert (taken.children, look(backend, child).parents) == ((child,), (parent,))
    later = now() + 60_000
    engine.exchange(seat, [Ended(claim, Retrying(ERROR, later), now() - 5, now())], 0)
    again = look(backend, parent)
    assert (again.state, again.error) == (JobState.SCHEDULED, "ValueError: as asked for")
    assert again.due_at is not None
    assert again.due_at.timestamp() == later / 1000
    assert again.facts[:2] == (("waits for", "its next try"), ("retries", "1"))
    engine.retry([parent])
    (claim,) = engine.exchange(seat, [], 1).claims
    engine.exchange(seat, [Ended(claim, Succeeded('{"n": 1}'), now() - 5, now())], 0)
    assert look(backend, parent).result == '{"n": 1}'
    engine.leave(seat)


def test_failures_and_figures(engine, backend) -> None:
    engine.enqueue([JobSpec(task="good")] * 4 + [JobSpec(task="bad")] * 3)
    seat = engine.join(PROFILE, [])
    claims = engine.exchange(seat, [], 7).claims
    began = now() - 100_000
    endings = [Succeeded("1")] * 4 + [Failed(ERROR), Dead(dump_error("KeyError", "")), Failed("?")]
    pairs = enumerate(zip(claims, endings, strict=True), start=1)
    ended = [Ended(claim, how, began, began + n * 1000) for n, (claim, how) in pairs]
    engine.exchange(seat, ended, 0)
    engine.leave(seat)
    bad, good = backend.poll(Interest(task_types=True)).task_types or ()

    assert (good.name, good.succeeded, good.failed, good.waiting, good.sampled) == (
        *("good", 4, 0, 0, None),
    )
    assert (good.runtime_mean_seconds, good.runtime_p50_seconds) == (2.5, 2.0)
    assert good.runtime_p95_seconds == 4.0
    assert (bad.failed, bad.exceptions) == (3, {"ValueError": 1, "KeyError": 1, "unknown": 1})
    first, last = (listed(backend, JobState.FAILED)).rows
    assert (first.error, last.error) == (None, "ValueError: as asked for")
    assert (look(backend, first.id).error, look(backend, first.id).malformed) == ("?", True)
    assert look(backend, last.id).traceback == "Traceback …\nValueError: as asked\nfor"
    assert {row.worker for row in listed(backend, worker="w").rows} == {"w"}
    assert len(listed(backend, worker="w").rows) == 7


def test_schedules_are_told(engine, backend) -> None:
    at_night = Schedule(cron="0 3 * * *", tz="Europe/Rome")
    tasks = [
        TaskPolicy(name="often", queue="a", priority=5, schedule=Schedule(every=1_500)),
        TaskPolicy(name="rome", queue="b", priority=5, schedule=at_night),
    ]
    engine.leave(engine.join(PROFILE, tasks))
    often, rome = backend.poll(Interest(schedules=True)).schedules or ()

    assert (often.rule, often.queue, often.enabled) == ("every 1.5s", "a", True)
    assert (rome.rule, rome.task, rome.last_at) == ("0 3 * * * Europe/Rome", "rome", None)
    assert rome.next_at is not None


def test_broken_and_huge_arguments_are_rows_that_say_so(engine, backend, path) -> None:
    huge, broken = engine.enqueue([JobSpec(task="t", args=f'[["{"x" * 500_000}"],{{}}]')] * 2)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE bgworker_job SET args = '[[[' WHERE id = ?", (broken,))
    rows = {row.id: row for row in listed(backend).rows}

    assert (rows[broken].malformed, rows[huge].malformed) == (True, False)
    assert [len(rows[huge].args or ""), len(look(backend, huge).args or "")] == [400, 8192]
    assert look(backend, broken).malformed


@pytest.fixture
def long_history(engine, path: Path) -> None:
    """Three spans of jobs: all succeeded but for the very oldest of each other kind."""
    count = 3 * browse.SPAN
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN")
        db.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            "INSERT INTO bgworker_history (id, task, queue, priority, state, run_at, enqueued_at,"
            " started_at, finished_at, attempts, retries, crashes, claim, args, error)"
            "SELECT i, 't', 'q' || (i > 9), 5, CASE i WHEN 1 THEN 'failed' WHEN 2 THEN 'cancelled'"
            " ELSE 'succeeded' END, i, i, i, i + 10, 1, 0, 0, 1, '[[],{}]', NULL FROM n",
            (count,),
        )
        db.execute(
            "INSERT INTO bgworker_tally SELECT queue, priority, state, count(*)"
            " FROM bgworker_history GROUP BY 1, 2, 3"
        )
        db.execute("COMMIT")


@pytest.mark.usefixtures("long_history")
def test_a_long_history_is_not_searched_to_its_end(backend, monkeypatch) -> None:
    """The list says that there may be more; failures are found however long ago they were."""
    assert ids(listed(backend, JobState.FAILED)) == ["1"]
    far = listed(backend, JobState.CANCELLED)
    assert (ids(far), far.more) == ([], True)
    newest = listed(backend, JobState.SUCCEEDED, limit=3)
    assert ids(newest) == [str(3 * browse.SPAN - n) for n in range(3)]
    (task,) = backend.poll(Interest(task_types=True)).task_types or ()
    assert (task.succeeded, task.sampled) == (browse.SAMPLE, browse.SAMPLE)
    monkeypatch.setattr(browse, "SPAN", 10 * browse.SPAN)
    near = listed(backend, JobState.CANCELLED)
    assert (ids(near), near.more) == (["2"], False)


def test_a_purge_takes_no_job_that_is_claimed_meanwhile(engine, backend, monkeypatch) -> None:
    mine = engine.enqueue([JobSpec(task="t", queue="a")] * 3)
    seat = engine.join(PROFILE, [])
    look_up = browse.waiting_ids

    def and_claim(*arguments: object) -> object:
        found = look_up(*arguments)
        engine.exchange(seat, [], 1)
        return found

    monkeypatch.setattr(browse, "waiting_ids", and_claim)

    assert backend.perform(PurgeQueue(queue="a")).changed == 2
    assert [engine.fetch(id_).state.value for id_ in mine] == ["running", "cancelled", "cancelled"]
    assert engine.to_cancel(seat) == frozenset()
    engine.leave(seat)


def test_refusals_say_why(engine, backend) -> None:
    parent, queued = engine.enqueue([JobSpec(task="t")] * 2)
    (blocked,) = engine.enqueue([JobSpec(task="t", after=(parent,))])
    engine.cancel([queued], "by a test")
    for action, words in (
        (RetryJob(id=blocked), "waits for other jobs: retry those"),
        (RetryJob(id=parent), "is queued already"),
        (RetryJob(id="99"), "there is no job '99'"),
        (DeleteJob(id=parent), "a job that waits can be cancelled"),
        (PurgeQueue(queue="none"), "there is no queue 'none'"),
    ):
        with pytest.raises((NoSuchTarget, Unsupported), match=words):
            backend.perform(action)

    again = backend.perform(CancelJob(id=queued))
    assert (again.changed, again.words) == (0, "it was cancelled already")
    assert backend.perform(RequeueFailed()).changed == 0


def test_an_action_creates_no_file(tmp_path: Path) -> None:
    missing = tmp_path / "no.db"
    with (
        closing(plugin.open(f"sqlite:///{missing}", Settings())) as backend,
        pytest.raises(WrongSource),
    ):
        backend.perform(PurgeQueue(queue="a"))

    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_was_given_no_queues_takes_from_each(engine, path) -> None:
    engine.enqueue([JobSpec(task="t", queue="mail"), JobSpec(task="t", queue="push")])
    with closing(Inspector(str(path))) as inspector:
        queues = inspector.stats(now()).queues
    stats = Stats(queues=queues, workers=(WORKER,), rescued=0, stale_writes=0)

    reading = reading_of(stats, datetime.now(timezone.utc))

    assert reading.workers[0].queues == ("mail", "push")
    assert [queue.consumers for queue in reading.queues] == [1, 1]
