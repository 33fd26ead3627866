# ruff: noqa: S101  # assertions are what a conformance suite is made of
"""The tests of actions: each verb has its real effect, and nothing else happens."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, ClassVar, TypeVar

import pytest

from bgtop.actions import (
    Action,
    CancelJob,
    DeleteJob,
    PauseQueue,
    PurgeQueue,
    RequeueFailed,
    ResumeQueue,
    RetryJob,
    Verb,
)
from bgtop.contracts import Backend, BackendError, NoReply, NoSuchTarget, Unsupported
from bgtop.model import JobState, WorkerState
from bgtop.testing.hooks import is_one_line
from bgtop.testing.job_hooks import JobHooks, ids_by_state, listed, look_at
from bgtop.testing.waiting import queue_in, settled, wait_until
from bgtop.worker_actions import (
    AbortJob,
    AddConsumer,
    Autoscale,
    CancelConsumer,
    GrowPool,
    RestartPool,
    SendTask,
    SetRateLimit,
    SetTimeLimits,
    ShrinkPool,
    ShutdownWorker,
    SuspendWorkers,
    WakeWorkers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgtop.actions import Outcome

Test = TypeVar("Test", bound="Callable[..., None]")

_OF_NOTHING_THERE = {
    # The task may be anything, and so may the queue of a new job; the last two are of all workers.
    *(Verb.SEND, Verb.LIMIT_RATE, Verb.LIMIT_TIME),
    *(Verb.SUSPEND, Verb.WAKE),
}
_MISSING = ("no-such", "", "9" * 30, "new\nline", "*", "x" * 5_000)


def acts(verb: Verb, *, on_failed: bool = False) -> Callable[[Test], Test]:
    """Collect a test only where this verb is declared, and failed jobs are listed if need be."""

    def mark(test: Test) -> Test:
        test.__dict__.update(acts=verb, on_failed=on_failed)
        return test

    return mark


class ActionSuite(JobHooks):
    """Subclass it beside ``BackendSuite``, with real workers behind the hooks.

    ``gone_is_known`` says that an action on one job tells whether it is there; a system whose
    workers are only told to forget an id cannot know.
    """

    gone_is_known: ClassVar[bool] = True

    sendable: ClassVar[str] = ""
    """A task without arguments that notes its runs, for systems that declare ``SEND``."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in dir(cls) if "verbs" in vars(cls) else ():
            test = getattr(cls, name)
            verb = getattr(test, "acts", None)
            lacks = getattr(test, "on_failed", False) and cls.failed_state not in cls.job_states
            if verb is not None and (verb not in cls.verbs or lacks):
                setattr(cls, name, None)

    def test_verbs_are_declared(self, operator: Backend) -> None:
        """In ``info``, from which menus are made."""
        assert operator.info.verbs == self.verbs

    def test_what_is_not_declared_is_refused(self, operator: Backend) -> None:
        """In words, and without a trace."""
        (id_,) = self.jobs_in(JobState.WAITING, "alpha", 1)
        with self.writes_seen() as writes:
            for action in _all_actions(id_, "alpha"):
                if action.verb not in self.verbs:
                    with pytest.raises(Unsupported) as refused:
                        operator.perform(action)
                    self.check_words(str(refused.value))

        assert writes == []

    def test_what_is_not_there_is_told(self, operator: Backend) -> None:
        """A job or a queue nobody knows; ids and names may be anything."""
        self.jobs_in(JobState.WAITING, "alpha", 2)
        for missing in _MISSING:
            for action in _all_actions(missing, missing):
                if action.verb not in self.verbs or isinstance(action, RequeueFailed):
                    continue
                if hasattr(action, "id") and not self.gone_is_known:
                    continue
                if action.verb in _OF_NOTHING_THERE:
                    continue
                with pytest.raises(NoSuchTarget) as refused:
                    operator.perform(action)
                self.check_words(str(refused.value))

        assert self.depth_of(operator, "alpha") == 2

    def test_a_lost_source_is_told(self, operator: Backend) -> None:
        """Nothing is done later: who asked may ask again."""
        self.stop_source()
        for action in _all_actions("1", "alpha"):
            with pytest.raises(BackendError) as failed:
                operator.perform(action)
            self.check_words(str(failed.value))

    # One job

    @acts(Verb.RETRY, on_failed=True)
    def test_a_retried_job_runs_again(self, operator: Backend) -> None:
        """Once; the others that failed stay as they are."""
        ids = self.jobs_in(self.failed_state, "alpha", 2)
        outcome = operator.perform(RetryJob(id=ids[0]))

        assert (outcome.changed, is_one_line(outcome.words or "-")) == (1, True)
        assert self._states_of(operator, ids) == [JobState.WAITING, self.failed_state]
        self.work_off("alpha")
        assert [self.begun(id_) for id_ in ids] == [2, 1]
        assert self._states_of(operator, ids) == [self.failed_state] * 2

    @acts(Verb.RETRY, on_failed=True)
    def test_two_who_retry_at_once_do_not_double_a_job(self) -> None:
        """One of them does it, the other one is told."""
        ids = self.jobs_in(self.failed_state, "alpha", 4)
        for id_ in ids:
            done = self._both(RetryJob(id=id_))
            assert sorted(done, key=str) in ([0, 1], [1, None]), done
        self.work_off("alpha")

        assert [self.begun(id_) for id_ in ids] == [2] * 4

    @acts(Verb.RETRY)
    def test_a_job_that_waits_is_not_retried(self, operator: Backend) -> None:
        """It would run twice."""
        (id_,) = self.jobs_in(JobState.WAITING, "alpha", 1)
        with pytest.raises(NoSuchTarget):
            operator.perform(RetryJob(id=id_))
        self.work_off("alpha")

        assert self.begun(id_) == 1

    @acts(Verb.CANCEL)
    def test_a_cancelled_job_does_not_run(self, operator: Backend) -> None:
        """The one that waited behind it does."""
        ids = self.jobs_in(JobState.WAITING, "alpha", 2)
        outcome = operator.perform(CancelJob(id=ids[0]))
        assert outcome.changed in {1, None}
        self.work_off("alpha")

        assert [self.begun(id_) for id_ in ids] == [0, 1]

    @acts(Verb.CANCEL)
    def test_what_is_not_due_can_be_cancelled(self, operator: Backend) -> None:
        """Scheduled and deferred jobs, where the system has them."""
        for state in (JobState.SCHEDULED, JobState.DEFERRED):
            if state in self.job_states and self.gone_is_known:
                (id_,) = self.jobs_in(state, "alpha", 1)
                assert operator.perform(CancelJob(id=id_)).changed == 1
                assert id_ not in ids_by_state(listed(operator)).get(state, [])

    @acts(Verb.CANCEL)
    def test_a_running_job_is_stopped_if_asked_for(self, operator: Backend) -> None:
        """It never comes to its own end; one that is cancelled without ``terminate`` does."""
        with self.running_jobs("alpha", 1) as (going_on,):
            try:
                operator.perform(CancelJob(id=going_on))
            except NoSuchTarget as refused:
                self.check_words(str(refused))
        assert (self.begun(going_on), self.ended(going_on)) == (1, 1)

        with self.running_jobs("alpha", 1) as (stopped,):
            outcome = operator.perform(CancelJob(id=stopped, terminate=True))
            assert outcome.changed in {1, None}
            wait_until(
                lambda: not self._is_running(operator, stopped),
                seconds=self.patience,
                why=f"{stopped} is stopped",
            )
        assert (self.begun(stopped), self.ended(stopped)) == (1, 0)

    @acts(Verb.DELETE)
    def test_a_deleted_job_is_gone(self, operator: Backend) -> None:
        """Wherever it was, unless it runs."""
        for state in (JobState.FAILED, JobState.DEAD, JobState.SCHEDULED, JobState.WAITING):
            if state in self.job_states:
                gone, stays = self.jobs_in(state, "alpha", 2)
                assert operator.perform(DeleteJob(id=gone)).changed == 1
                assert look_at(operator, gone) is None
                assert ids_by_state(listed(operator)).get(state) == [stays]
        with self.running_jobs("beta", 1) as (running,), pytest.raises(NoSuchTarget):
            operator.perform(DeleteJob(id=running))
        assert self.ended(running) == 1

    # Many jobs

    @acts(Verb.REQUEUE)
    def test_failed_jobs_of_a_queue_run_again(self, operator: Backend) -> None:
        """Those of other queues do not."""
        alpha = self.jobs_in(self.failed_state, "alpha", 3)
        beta = self.jobs_in(self.failed_state, "beta", 1)

        assert operator.perform(RequeueFailed(queue="no-such-queue")).changed == 0
        assert operator.perform(RequeueFailed(task="no.such.task")).changed == 0
        assert operator.perform(RequeueFailed(queue="alpha")).changed == 3
        self.work_off("alpha", "beta")
        assert [self.begun(id_) for id_ in (*alpha, *beta)] == [2, 2, 2, 1]
        name = look_at(operator, beta[0])
        assert name is not None
        assert operator.perform(RequeueFailed(task=name.name)).changed == 4
        self.work_off("alpha", "beta")
        assert [self.begun(id_) for id_ in (*alpha, *beta)] == [3, 3, 3, 2]

    @acts(Verb.REQUEUE)
    def test_two_who_requeue_at_once_do_not_double_a_job(self) -> None:
        """Each job is retried by one of them."""
        ids = self.jobs_in(self.failed_state, "alpha", 10)
        done = self._both(RequeueFailed(queue="alpha"))
        assert sum(count or 0 for count in done) == 10
        self.work_off("alpha")

        assert [self.begun(id_) for id_ in ids] == [2] * 10

    @acts(Verb.PURGE)
    def test_a_purged_queue_is_empty(self, operator: Backend) -> None:
        """What is due later, what failed and other queues stay."""
        stay = {
            state: self.jobs_in(state, "alpha", 1)
            for state in (self.failed_state, JobState.SCHEDULED)
            if state in self.job_states
        }
        purged = self.jobs_in(JobState.WAITING, "alpha", 5)
        (other,) = self.jobs_in(JobState.WAITING, "beta", 1)

        assert operator.perform(PurgeQueue(queue="alpha")).changed == 5
        depths = {queue.name: queue.depth for queue in settled(operator).queues}
        assert (depths.get("alpha", 0), depths["beta"]) == (0, 1)
        self.work_off("alpha", "beta")
        assert [self.begun(id_) for id_ in (*purged, other)] == [0] * 5 + [1]
        found = ids_by_state(listed(operator), "alpha")
        assert {state: found.get(state) for state in stay} == stay

    @acts(Verb.PAUSE)
    def test_a_paused_queue_is_not_worked_on(self, operator: Backend) -> None:
        """Until it is resumed; other queues go on."""
        (first,) = self.jobs_in(JobState.WAITING, "alpha", 1)
        assert operator.perform(PauseQueue(queue="alpha")).changed == 1
        queue = queue_in(settled(operator), "alpha")
        assert queue is not None
        assert queue.paused is True
        with self.running_worker("alpha", "beta"):
            (other,) = self.jobs_in(JobState.WAITING, "beta", 1)
            wait_until(lambda: self.ended(other), seconds=self.patience, why="beta goes on")
            assert self.begun(first) == 0
            assert operator.perform(ResumeQueue(queue="alpha")).changed == 1
            wait_until(lambda: self.ended(first), seconds=self.patience, why="alpha is resumed")

    # Workers

    @acts(Verb.SHUTDOWN)
    def test_a_worker_that_is_shut_down_ends(self, operator: Backend) -> None:
        """It is gone, or shown as dead; who is not there cannot be shut down."""

        def lives(name: str) -> bool:
            found = [one for one in settled(operator).workers if one.name == name]
            return any(one.state is not WorkerState.DEAD for one in found)

        with pytest.raises(NoSuchTarget) as refused:
            operator.perform(ShutdownWorker(worker="no-such"))
        self.check_words(str(refused.value))
        with self.running_worker("alpha") as name:
            wait_until(lambda: lives(name), seconds=self.patience, why=f"{name} is seen")
            wait_until(
                lambda: self._told(operator, ShutdownWorker(worker=name)),
                seconds=self.patience,
                why=f"{name} listens",
            )
            wait_until(lambda: not lives(name), seconds=self.patience, why=f"{name} has ended")

    @acts(Verb.SEND)
    def test_a_job_that_is_sent_runs(self, operator: Backend) -> None:
        """Once, in its queue; its id is the last of the words."""
        self.jobs_in(JobState.WAITING, "alpha", 1)
        settled(operator)
        for wrong in (
            SendTask(task=self.sendable, args="{", queue="alpha"),
            SendTask(task=self.sendable, args="{}", queue="alpha"),
            SendTask(task=self.sendable, kwargs="[]", queue="alpha"),
            SendTask(task=self.sendable, eta="soon", queue="alpha"),
            SendTask(task="", queue="alpha"),
        ):
            with pytest.raises(BackendError) as refused:
                operator.perform(wrong)
            self.check_words(str(refused.value))
        sent = operator.perform(SendTask(task=self.sendable, queue="alpha"))
        assert sent.changed == 1
        assert is_one_line(sent.words)
        self.work_off("alpha")

        assert self.begun(sent.words.split()[-1]) == 1

    # What the tests share

    def _told(self, operator: Backend, action: Action) -> bool:
        """Whether a worker that has just come listens already."""
        try:
            return operator.perform(action).changed in {1, None}
        except (NoReply, NoSuchTarget):
            return False

    def _both(self, action: Action) -> list[int | None]:
        """What two say who do this at the same moment; ``None`` where there is no such target."""
        start = threading.Barrier(2)
        done: list[int | None] = []
        faults: list[BaseException] = []

        def press() -> None:
            try:
                with closing(self.open_operator()) as backend:
                    settled(backend)
                    start.wait(10)
                    done.append(_changed(backend, action))
            except BaseException as fault:  # noqa: BLE001  # the test tells
                faults.append(fault)

        hands = [threading.Thread(target=press) for _ in range(2)]
        for hand in hands:
            hand.start()
        for hand in hands:
            hand.join(60)
        assert faults == []
        return done

    def _states_of(self, backend: Backend, ids: object) -> list[JobState | None]:
        assert isinstance(ids, (list, tuple))
        jobs = [look_at(backend, id_) for id_ in ids]
        return [None if job is None else job.state for job in jobs]

    def _is_running(self, backend: Backend, id_: str) -> bool:
        return id_ in ids_by_state(listed(backend)).get(JobState.RUNNING, [])


def _changed(backend: Backend, action: Action) -> int | None:
    try:
        outcome: Outcome = backend.perform(action)
    except NoSuchTarget:
        return None
    return outcome.changed


def _all_actions(id_: str, queue: str) -> list[Action]:
    """One of each kind."""
    return [
        *(
            RetryJob(id=id_),
            CancelJob(id=id_),
            CancelJob(id=id_, terminate=True),
            DeleteJob(id=id_),
        ),
        *(RequeueFailed(queue=queue), PurgeQueue(queue=queue)),
        *(PauseQueue(queue=queue), ResumeQueue(queue=queue)),
        *(ShutdownWorker(worker=queue), RestartPool(worker=queue)),
        *(GrowPool(worker=queue), ShrinkPool(worker=queue)),
        Autoscale(worker=queue, least=1, most=2),
        *(AddConsumer(worker=queue, queue=queue), CancelConsumer(worker=queue, queue=queue)),
        *(SetRateLimit(task=queue, rate="1/s"), SetTimeLimits(task=queue, hard=1.0)),
        *(SendTask(task=queue, queue=queue), AbortJob(id=id_)),
        *(SuspendWorkers(), WakeWorkers()),
    ]
