# ruff: noqa: S101  # assertions are what a conformance suite is made of
"""The tests every backend has to pass that shows single jobs, tasks and schedules."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import datetime, timedelta, timezone

from bgtop.contracts import Backend, Interest
from bgtop.model import ALL_STATES, Capability, JobList, JobQuery, JobState, TaskTypeReading
from bgtop.testing.hooks import is_one_line, needs
from bgtop.testing.job_hooks import JobHooks, ids_by_state, listed, look_at
from bgtop.testing.waiting import settled, wait_until

_IN_TURN = (
    *(JobState.SUCCEEDED, JobState.FAILED, JobState.DEAD, JobState.CANCELLED),
    *(JobState.SCHEDULED, JobState.DEFERRED, JobState.WAITING),
)
"""Those first that a worker is needed for, which would take what waits."""
_ENDED = {JobState.SUCCEEDED, JobState.FAILED, JobState.DEAD, JobState.CANCELLED}
_NOBODY = ("", "no-such-job", "0", "9" * 30, "x" * 5_000, "new\nline", "null\0byte", "*", "../..")


class JobSuite(JobHooks):
    """Known jobs go in, exactly these come out. Subclass it beside ``BackendSuite``."""

    def all_kinds(self) -> dict[JobState, dict[str, list[str]]]:
        """Two jobs of ``alpha`` and one of ``beta`` in each state but running: ids by queue."""
        return {
            state: {
                queue: list(self.jobs_in(state, queue, count))
                for queue, count in (("alpha", 2), ("beta", 1))
            }
            for state in _IN_TURN
            if state in self.job_states
        }

    @needs(Capability.JOBS)
    def test_exactly_the_jobs_that_are_there_are_listed(self, backend: Backend) -> None:
        """In their states and queues, once each, whether all are asked for or some; in order."""
        there = self.all_kinds()
        self._check_order(listed(backend, JobQuery(queue="alpha")), there)
        everything = listed(backend)

        assert not everything.more
        assert everything.unreadable & self.job_states == frozenset()
        for queue in ("alpha", "beta"):
            expected = {state: sorted(ids[queue]) for state, ids in there.items()}
            found = ids_by_state(everything, queue)
            assert {state: sorted(ids) for state, ids in found.items()} == expected
            found = ids_by_state(listed(backend, JobQuery(queue=queue)))
            assert {state: sorted(ids) for state, ids in found.items()} == expected
        for state in there:
            some = listed(backend, JobQuery(queue="alpha", states=frozenset({state})))
            assert {row.id for row in some.rows} == set(there[state]["alpha"])
        assert listed(backend, JobQuery(queue="no-such-queue")).rows == ()
        for state, ids in there.items():
            for queue, some_ids in ids.items():
                for id_ in some_ids:
                    self._check_whole(backend, id_, state, queue)

    def _check_whole(self, backend: Backend, id_: str, state: JobState, queue: str) -> None:
        job = look_at(backend, id_)
        assert job is not None
        assert (job.id, job.state, job.queue, job.malformed) == (id_, state, queue, False)
        assert job.name
        now = datetime.now(timezone.utc)
        if job.enqueued_at is not None:
            assert timedelta(0) <= now - job.enqueued_at < timedelta(minutes=5)
        if state is JobState.SCHEDULED:
            assert job.due_at is not None
            assert timedelta(minutes=50) < job.due_at - now < timedelta(minutes=61)
        if state in {JobState.FAILED, JobState.DEAD}:
            assert job.error == self.failure
            assert job.traceback is None or self.failure in job.traceback
        if state is JobState.DEFERRED:
            assert len(job.parents) == 1
        if state is JobState.SUCCEEDED:
            assert job.error is None
        if job.started_at is not None and job.ended_at is not None:
            assert job.started_at <= job.ended_at <= now
        if state not in _ENDED:
            assert job.ended_at is None

    def _check_order(self, jobs: JobList, there: dict[JobState, dict[str, list[str]]]) -> None:
        """That of the states.

        Of those that wait the next to be taken comes first, of those that ended the last.
        """
        found = ids_by_state(jobs)

        assert list(found) == [state for state in JobState if state in found]
        assert found.get(JobState.WAITING) == there.get(JobState.WAITING, {}).get("alpha")
        if JobState.FAILED in there:
            times = [row.ended_at for row in jobs.rows if row.state is JobState.FAILED]
            known = [at for at in times if at is not None]
            assert known == sorted(known, reverse=True)

    @needs(Capability.JOBS)
    def test_the_limit_holds_for_each_state(self, backend: Backend) -> None:
        """What is left out is said."""
        ids = list(self.jobs_in(JobState.WAITING, "alpha", 5))
        waiting = frozenset({JobState.WAITING})

        few = listed(backend, JobQuery(queue="alpha", limit=2, states=waiting))
        assert ([row.id for row in few.rows], few.more) == (ids[:2], True)
        every = listed(backend, JobQuery(queue="alpha", limit=5, states=waiting))
        assert ([row.id for row in every.rows], every.more) == (ids, False)

    @needs(Capability.JOBS)
    def test_priorities_are_shown(self, backend: Backend) -> None:
        """As many jobs of each as were put in."""
        for number, priority in enumerate(self.priorities, start=1):
            self.fill("alpha", number, priority)
        rows = listed(backend, JobQuery(queue="alpha", states=frozenset({JobState.WAITING}))).rows

        assert len(rows) == sum(range(1, len(self.priorities) + 1))
        if Capability.PRIORITIES in self.capabilities:
            expected = {p: n for n, p in enumerate(self.priorities, start=1)}
            assert Counter(row.priority for row in rows) == expected

    @needs(Capability.JOBS)
    def test_running_jobs_are_shown_with_their_worker(self, backend: Backend) -> None:
        """Since when, too; and they are found by the worker's name."""
        running = frozenset({JobState.RUNNING})
        with self.running_jobs("alpha", 1) as ids:
            wait_until(
                lambda: [row.id for row in listed(backend, JobQuery(states=running)).rows] == ids,
                seconds=self.patience,
                why=f"{ids} are running",
            )
            (row,) = listed(backend, JobQuery(states=running)).rows
            assert row.queue == "alpha"
            assert row.worker
            assert row.started_at is not None
            age = datetime.now(timezone.utc) - row.started_at
            assert timedelta(seconds=-1) < age < timedelta(minutes=1)
            assert [row.id for row in listed(backend, JobQuery(worker=row.worker)).rows] == ids
            assert listed(backend, JobQuery(worker="nobody")).rows == ()
            job = look_at(backend, ids[0])
            assert job is not None
            assert (job.state, job.worker) == (JobState.RUNNING, row.worker)

    @needs(Capability.JOBS)
    def test_an_unknown_id_is_of_no_job(self, backend: Backend) -> None:
        """No error, and never the wrong job."""
        self.jobs_in(JobState.WAITING, "alpha", 1)

        assert {id_: look_at(backend, id_) for id_ in _NOBODY} == dict.fromkeys(_NOBODY)

    @needs(Capability.TASK_TYPES)
    def test_figures_by_task_are_those_of_its_jobs(self, backend: Backend) -> None:
        """How many ended how, how long they took and what they failed with."""
        states = {JobState.SUCCEEDED: 3, JobState.FAILED: 2}
        for state, count in states.items():
            if state in self.job_states:
                self.jobs_in(state, "alpha", count)
        tasks = settled(backend, Interest(task_types=True)).task_types

        assert tasks is not None
        assert [task.name for task in tasks] == sorted({task.name for task in tasks})
        if JobState.FAILED in self.job_states:
            assert _sum(tasks, "failed") == 2
            kinds = sum((Counter(task.exceptions) for task in tasks), Counter[str]())
            assert kinds == {self.failure.partition(":")[0]: 2}
        if JobState.SUCCEEDED in self.job_states:
            assert _sum(tasks, "succeeded") == 3
            ran = [task for task in tasks if task.succeeded]
            for task in ran:
                assert task.runtime_mean_seconds is not None
                assert task.runtime_p50_seconds is not None
                assert task.runtime_p95_seconds is not None
                assert 0 <= task.runtime_p50_seconds <= task.runtime_p95_seconds < 60

    @needs(Capability.SCHEDULES)
    def test_schedules_are_listed(self, backend: Backend) -> None:
        """With their rule, and with when they are due next."""
        assert settled(backend, Interest(schedules=True)).schedules == ()
        name = self.declare_schedule()

        def found() -> object:
            schedules = settled(backend, Interest(schedules=True)).schedules
            return next((one for one in schedules or () if one.name == name and one.rule), None)

        wait_until(found, seconds=self.patience, why=f"the schedule {name}")

    @needs(Capability.JOBS, Capability.TASK_TYPES, Capability.SCHEDULES)
    def test_nothing_is_fetched_that_nobody_looks_at(self, backend: Backend) -> None:
        """``None`` says that it was not asked for."""
        self.jobs_in(JobState.WAITING, "alpha", 1)
        reading = settled(backend)

        assert (reading.jobs, reading.task_types, reading.schedules) == (None, None, None)
        assert {Capability.JOBS, Capability.TASK_TYPES, Capability.SCHEDULES} & (
            self.capabilities
        ) == _answered(backend)

    @needs(Capability.JOBS)
    def test_looking_writes_nothing(self, backend: Backend) -> None:
        """Neither lists, nor one job, nor figures."""
        ids = self.jobs_in(JobState.WAITING, "alpha", 3)
        with self.writes_seen() as writes:
            listed(backend)
            look_at(backend, ids[0])
            settled(backend, Interest(jobs=JobQuery(), task_types=True, schedules=True))

        assert writes == []

    @needs(Capability.JOBS)
    def test_round_trips_do_not_grow_with_jobs(self) -> None:
        """Ids first, then what is known of them: not one question for each."""
        everything = Interest(jobs=JobQuery(), task_types=True, schedules=True)

        def steady_round_trips() -> int:
            with closing(self.open_backend()) as backend:
                settled(backend, everything)
                return min(backend.poll(everything).round_trips for _ in range(5))

        self.fill("alpha", 1, self.priorities[-1])
        few = steady_round_trips()
        self.fill("alpha", 80, self.priorities[-1])

        assert steady_round_trips() <= few

    @needs(Capability.JOBS)
    def test_hostile_queues_can_be_looked_into(self, backend: Backend) -> None:
        """A name is data here, too."""
        for name in self.hostile_names:
            self.fill(name, 1)
        for name in self.hostile_names:
            jobs = listed(backend, JobQuery(queue=name))
            assert [row.queue for row in jobs.rows] == [name]

        assert all(is_one_line(warning) for warning in settled(backend).warnings)


def _sum(tasks: tuple[TaskTypeReading, ...], field: str) -> int:
    return sum(getattr(task, field) or 0 for task in tasks)


def _answered(backend: Backend) -> set[Capability]:
    asked = Interest(jobs=JobQuery(states=ALL_STATES), task_types=True, schedules=True)
    reading = settled(backend, asked)
    answers = {
        Capability.JOBS: reading.jobs,
        Capability.TASK_TYPES: reading.task_types,
        Capability.SCHEDULES: reading.schedules,
    }
    return {capability for capability, answer in answers.items() if answer is not None}
