"""The suites for jobs and actions pass an honest backend and find out each kind of lie."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from bgtop.actions import (
    JOB_VERBS,
    Action,
    CancelJob,
    DeleteJob,
    Outcome,
    PauseQueue,
    PurgeQueue,
    RequeueFailed,
    ResumeQueue,
    RetryJob,
    Verb,
)
from bgtop.contracts import Interest, NoSuchTarget, Unreachable, Unsupported
from bgtop.model import (
    BackendInfo,
    Capability,
    JobList,
    JobReading,
    JobState,
    QueueReading,
    Reading,
    ScheduleReading,
    TaskTypeReading,
)
from bgtop.testing import PARENTS, ActionSuite, JobSuite

CAPABILITIES = frozenset(
    {Capability.DEPTH, Capability.JOBS, Capability.TASK_TYPES, Capability.SCHEDULES}
)
ENDED = {JobState.SUCCEEDED, JobState.FAILED, JobState.DEAD, JobState.CANCELLED}
BAD = {JobState.FAILED, JobState.DEAD}


class Shop:
    """The smallest system with single jobs: rows, and a worker who is a method."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobReading] = {}
        self.count = 0
        self.runs: list[tuple[str, str]] = []
        self.schedules: tuple[ScheduleReading, ...] = ()
        self.paused: set[str] = set()
        self.writes: list[str] = []
        self.lock = threading.RLock()
        self.open = True

    def put(self, state: JobState, queue: str, **fields: object) -> str:
        self.count += 1
        id_ = str(self.count)
        now = datetime.now(timezone.utc)
        more = {"ended_at": now} if state in ENDED else {}
        fails = {"error": "ValueError: as asked for"} if state in BAD else {}
        due = {"due_at": now + timedelta(hours=1)} if state is JobState.SCHEDULED else {}
        row = JobReading(id=id_, state=state, queue=queue, name="t", enqueued_at=now)
        self.jobs[id_] = replace(row, **{**more, **fails, **due, **fields})
        if state in BAD | {JobState.SUCCEEDED}:
            self.runs.append(("begun", id_))
        return id_

    def move(self, id_: str, state: JobState) -> None:
        self.writes.append(f"{id_} {state}")
        self.jobs[id_] = replace(self.jobs[id_], state=state)

    def work(self, *queues: str) -> None:
        for id_, row in [*self.jobs.items()]:
            if row.state is JobState.WAITING and row.queue in set(queues) - self.paused:
                self.runs += [("begun", id_)] if row.error else [("begun", id_), ("ended", id_)]
                now = datetime.now(timezone.utc)
                state = JobState.FAILED if row.error else JobState.SUCCEEDED
                self.jobs[id_] = replace(row, state=state, ended_at=now)


class Honest:
    """Reads and changes a shop; each lie below changes one thing."""

    def __init__(self, shop: Shop, verbs: frozenset[Verb] = JOB_VERBS) -> None:
        self.shop = shop
        self.info = BackendInfo(
            system="shop", broker="memory", url="shop:", capabilities=CAPABILITIES, verbs=verbs
        )

    def poll(self, interest: Interest) -> Reading:
        if not self.shop.open:
            raise Unreachable("the shop is shut")
        rows = [*self.shop.jobs.values()]
        waiting = [row.queue for row in rows if row.state is JobState.WAITING]
        query = interest.jobs
        return Reading(
            taken_at=datetime.now(timezone.utc),
            queues=tuple(
                QueueReading(name=name, depth=waiting.count(name), paused=name in self.shop.paused)
                for name in sorted({row.queue or "" for row in rows})
            ),
            jobs=None if query is None else self.listed(query),
            task_types=self.tasks() if interest.task_types else None,
            schedules=self.shop.schedules if interest.schedules else None,
        )

    def listed(self, query) -> JobList:
        found = [
            row
            for row in self.shop.jobs.values()
            if query.id in {None, row.id}
            and query.queue in {None, row.queue}
            and query.worker in {None, row.worker}
            and (row.state in query.states or query.id is not None)
        ]
        rows: list[JobReading] = []
        more = False
        for state in JobState:
            some = [row for row in found if row.state is state]
            some = some[::-1] if state in ENDED else some
            rows += some[: query.limit]
            more = more or len(some) > query.limit
        return JobList(query=query, rows=tuple(rows), more=more)

    def tasks(self) -> tuple[TaskTypeReading, ...]:
        states = [row.state for row in self.shop.jobs.values()]
        failed = sum(state in BAD for state in states)
        took = dict.fromkeys(("mean", "p50", "p95"), 1.0)
        return (
            TaskTypeReading(
                name="t",
                succeeded=states.count(JobState.SUCCEEDED),
                failed=failed,
                exceptions={"ValueError": failed} if failed else {},
                **{f"runtime_{name}_seconds": value for name, value in took.items()},
            ),
        )

    def perform(self, action: Action) -> Outcome:
        with self.shop.lock:
            if action.verb not in self.info.verbs:
                raise Unsupported("not here")
            if not self.shop.open:
                raise Unreachable("the shop is shut")
            return self.act(action)

    def act(self, action: Action) -> Outcome:
        match action:
            case RetryJob(id=id_):
                return self.moved(id_, BAD, JobState.WAITING)
            case CancelJob(id=id_, terminate=terminate):
                alive = set(JobState) - ENDED - (set() if terminate else {JobState.RUNNING})
                return self.moved(id_, alive, JobState.CANCELLED)
            case DeleteJob(id=id_):
                self.moved(id_, set(JobState) - {JobState.RUNNING}, JobState.CANCELLED)
                del self.shop.jobs[id_]
                return Outcome(1)
            case RequeueFailed(queue=queue, task=task):
                return self.all_moved(queue, BAD, JobState.WAITING, task)
            case PurgeQueue(queue=queue):
                self.known(queue)
                return self.all_moved(queue, {JobState.WAITING}, JobState.CANCELLED)
            case PauseQueue(queue=queue):
                self.shop.paused.add(self.known(queue))
            case ResumeQueue(queue=queue):
                self.shop.paused.discard(self.known(queue))
        return Outcome(1)

    def known(self, queue: str) -> str:
        if queue not in {row.queue for row in self.shop.jobs.values()}:
            raise NoSuchTarget("there is no such queue")
        return queue

    def moved(self, id_: str, states: set[JobState], to: JobState) -> Outcome:
        row = self.shop.jobs.get(id_)
        if row is None or row.state not in states:
            raise NoSuchTarget("there is no such job")
        self.shop.move(id_, to)
        return Outcome(1)

    def all_moved(
        self, queue: str | None, states: set[JobState], to: JobState, task: str | None = None
    ) -> Outcome:
        ids = [
            row.id
            for row in self.shop.jobs.values()
            if queue in {None, row.queue} and task in {None, row.name} and row.state in states
        ]
        for id_ in ids:
            self.shop.move(id_, to)
        return Outcome(len(ids))

    def close(self) -> None:
        """Nothing is open."""


class HonestSuite(JobSuite, ActionSuite):
    capabilities = CAPABILITIES
    verbs = JOB_VERBS
    backend_class: type[Honest] = Honest
    shop: Shop

    @pytest.fixture(autouse=True)
    def _source(self) -> None:
        self.shop = Shop()

    def open_backend(self) -> Honest:
        return self.backend_class(self.shop, self.verbs)

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        self.jobs_in(JobState.WAITING, queue, count)

    def jobs_in(self, state: JobState, queue: str, count: int) -> Sequence[str]:
        fields: dict[str, object] = {}
        if state is JobState.DEFERRED:
            fields["parents"] = (self.shop.put(JobState.WAITING, PARENTS),)
        return [self.shop.put(state, queue, **fields) for _ in range(count)]

    @contextmanager
    def running_jobs(self, queue: str, count: int) -> Iterator[Sequence[str]]:
        began = {"worker": "w", "started_at": datetime.now(timezone.utc)}
        ids = [self.shop.put(JobState.RUNNING, queue, **began) for _ in range(count)]
        self.shop.runs += [("begun", id_) for id_ in ids]
        yield ids
        for id_ in ids:
            if self.shop.jobs[id_].state is JobState.RUNNING:
                self.shop.runs.append(("ended", id_))
                self.shop.move(id_, JobState.SUCCEEDED)

    @contextmanager
    def running_worker(self, *queues: str) -> Iterator[str]:
        self.queues = queues
        yield "w"

    def work_off(self, *queues: str) -> None:
        self.shop.work(*queues)

    def begun(self, id_: str) -> int:
        return self.shop.runs.count(("begun", id_))

    def ended(self, id_: str) -> int:
        self.shop.work(*getattr(self, "queues", ()))
        return self.shop.runs.count(("ended", id_))

    def declare_schedule(self) -> str:
        self.shop.schedules = (ScheduleReading(name="nightly", rule="0 3 * * *"),)
        return "nightly"

    def stop_source(self) -> None:
        self.shop.open = False

    @contextmanager
    def writes_seen(self) -> Iterator[list[str]]:
        self.shop.writes.clear()
        yield self.shop.writes


class TestHonest(HonestSuite):
    verbs = JOB_VERBS


class TestModest(HonestSuite):
    verbs = frozenset({Verb.CANCEL})


def on_list(change: Callable[[JobList], JobList]) -> type[Honest]:
    class Liar(Honest):
        def listed(self, query) -> JobList:
            return change(super().listed(query))

    return Liar


def on_rows(**fields: object) -> type[Honest]:
    return on_list(
        lambda jobs: replace(jobs, rows=tuple(replace(row, **fields) for row in jobs.rows))
    )


def on_tasks(**fields: object) -> type[Honest]:
    class Liar(Honest):
        def tasks(self) -> tuple[TaskTypeReading, ...]:
            return tuple(replace(task, **fields) for task in super().tasks())

    return Liar


def acting(change: Callable[[Honest, Action], Outcome | None]) -> type[Honest]:
    """``None`` from ``change`` leaves it to the honest one."""

    class Liar(Honest):
        def perform(self, action: Action) -> Outcome:
            return change(self, action) or super().perform(action)

    return Liar


class Writes(Honest):
    def poll(self, interest: Interest) -> Reading:
        self.shop.writes.append("SET")
        return super().poll(interest)


class AlwaysAnswers(Honest):
    def poll(self, interest: Interest) -> Reading:
        return replace(super().poll(interest), task_types=self.tasks())


class EachJobAlone(Honest):
    def poll(self, interest: Interest) -> Reading:
        return replace(super().poll(interest), round_trips=len(self.shop.jobs))


def doubled(backend: Honest, action: Action) -> None:
    """A second job of the same id begins with the first."""
    if isinstance(action, (RetryJob, RequeueFailed)):
        for id_, row in backend.shop.jobs.items():
            if row.state in BAD:
                backend.shop.runs.append(("begun", id_))


def says_so_only(backend: Honest, action: Action) -> Outcome | None:
    known = getattr(action, "id", None) in backend.shop.jobs or hasattr(action, "queue")
    return Outcome(1) if known and not isinstance(action, RequeueFailed) else None


def nothing_is_missing(backend: Honest, action: Action) -> Outcome | None:
    return Outcome(0) if getattr(action, "id", "1") not in backend.shop.jobs else None


def takes_all(backend: Honest, action: Action) -> Outcome | None:
    if isinstance(action, PurgeQueue):
        return backend.all_moved(None, set(JobState) - ENDED, JobState.CANCELLED)
    return None


def stops_unasked(backend: Honest, action: Action) -> Outcome | None:
    if isinstance(action, CancelJob) and backend.shop.jobs[action.id].state is JobState.RUNNING:
        return backend.moved(action.id, {JobState.RUNNING}, JobState.CANCELLED)
    return None


def retries_anything(backend: Honest, action: Action) -> Outcome | None:
    if isinstance(action, RetryJob):
        backend.shop.runs.append(("begun", action.id))
        return Outcome(1)
    return None


LIES = {
    "one job is left out": (
        on_list(lambda jobs: replace(jobs, rows=jobs.rows[1:])), "exactly_the_jobs"),
    "one job is there twice": (
        on_list(lambda jobs: replace(jobs, rows=jobs.rows[:1] + jobs.rows)), "exactly_the_jobs"),
    "the wrong error": (on_rows(error="KeyError: 1"), "exactly_the_jobs"),
    "the wrong queue": (on_rows(queue="alpha"), "exactly_the_jobs"),
    "no due time": (on_rows(due_at=None), "exactly_the_jobs"),
    "backwards": (
        on_list(lambda jobs: replace(jobs, rows=jobs.rows[::-1])), "exactly_the_jobs"),
    "never more": (on_list(lambda jobs: replace(jobs, more=False)), "limit_holds"),
    "always more": (on_list(lambda jobs: replace(jobs, more=True)), "limit_holds"),
    "no worker": (on_rows(worker=None), "running_jobs_are_shown"),
    "no begin": (on_rows(started_at=None), "running_jobs_are_shown"),
    "a row for anybody": (
        on_list(lambda jobs: replace(jobs, rows=jobs.rows or (JobReading(
            id="x", state=JobState.WAITING),))), "unknown_id"),
    "one failure less": (on_tasks(failed=1), "figures_by_task"),
    "another kind of failure": (on_tasks(exceptions={"KeyError": 2}), "figures_by_task"),
    "no percentile": (on_tasks(runtime_p95_seconds=None), "figures_by_task"),
    "answers unasked": (AlwaysAnswers, "nothing_is_fetched"),
    "writes": (Writes, "looking_writes"),
    "asks for each job": (EachJobAlone, "round_trips_do_not_grow_with_jobs"),
    "retry runs twice": (acting(doubled), "retried_job_runs_again"),
    "requeue runs twice": (acting(doubled), "two_who_requeue"),
    "only says so: retry": (acting(says_so_only), "retried_job_runs_again"),
    "only says so: cancel": (acting(says_so_only), "cancelled_job_does_not_run"),
    "only says so: later": (acting(says_so_only), "not_due_can_be_cancelled"),
    "only says so: delete": (acting(says_so_only), "deleted_job_is_gone"),
    "only says so: purge": (acting(says_so_only), "purged_queue"),
    "only says so: pause": (acting(says_so_only), "paused_queue"),
    "only says so: stop": (acting(says_so_only), "running_job_is_stopped"),
    "a purge takes all": (acting(takes_all), "purged_queue"),
    "a cancel stops": (acting(stops_unasked), "running_job_is_stopped"),
    "nothing is ever missing": (acting(nothing_is_missing), "not_there_is_told"),
    "what waits is retried": (acting(retries_anything), "job_that_waits_is_not_retried"),
    "two retries": (acting(retries_anything), "two_who_retry"),
    "nothing is refused": (acting(lambda *_: Outcome(0)), "not_declared_is_refused"),
    "a shut shop sells": (acting(lambda *_: Outcome(1)), "lost_source"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found_out(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, words = LIES[lie]
    (name,) = [name for name in dir(HonestSuite) if name.startswith("test_") and words in name]
    monkeypatch.setattr(HonestSuite, "patience", 0.05)
    suite = HonestSuite()
    suite.shop = Shop()
    suite.backend_class = kind
    if words == "not_declared_is_refused":
        suite.verbs = frozenset()
    test = getattr(suite, name)
    backends = {"backend": suite.open_backend(), "operator": suite.open_operator()}
    wanted = test.__code__.co_varnames[1 : test.__code__.co_argcount]

    with pytest.raises((AssertionError, pytest.fail.Exception, NoSuchTarget)):
        test(**{name: backends[name] for name in wanted})


def test_tests_of_undeclared_verbs_are_not_collected() -> None:
    assert TestModest.test_a_cancelled_job_does_not_run is not None
    assert TestModest.test_a_retried_job_runs_again is None
