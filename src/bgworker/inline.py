"""Jobs run by the process that asks for them: for tests, without a worker.

One thread and no child process: what needs a process of its own does not hold here, that is time
limits and the survival of a crash. All else is decided by the code a worker uses.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar, copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from bgworker.callbacks import JobRun, follow_up
from bgworker.clock import Clock, ManualClock, SystemClock
from bgworker.codec import dump_result, load_args
from bgworker.engines import open_engine
from bgworker.engines.memory import MemoryEngine
from bgworker.failure import describe
from bgworker.model import (
    Answer,
    Claim,
    Ended,
    Ending,
    JobId,
    JobRecord,
    JobSpec,
    Progress,
    Released,
    Retrying,
    Said,
    Succeeded,
    WorkerProfile,
)
from bgworker.retry import Mishap, verdict
from bgworker.running import set_host
from bgworker.states import JobState
from bgworker.tracing import beneath
from bgworker.values import dataclass, replace

if TYPE_CHECKING:
    from bgworker.app import BgWorker, Task
    from bgworker.contracts import Engine, Membership

_NO_JITTER = 0.5
"""The chance that leaves a retry's delay as it was declared: a test can wait for it."""


class InlineEngine(MemoryEngine):
    """Runs every job before ``enqueue`` returns; see :meth:`bgworker.BgWorker.eager`.

    Waiting takes no time: delays, expiry, rates and concurrency are not kept to, and a retry
    follows at once. A paused queue stays paused.
    """

    def __init__(self, tasks: Mapping[str, Task[Any, Any]], *, propagate: bool = False) -> None:
        super().__init__()
        self._tasks = tasks
        self._propagate = propagate
        self._seat = self.join(_profile(), [])

    def enqueue(self, jobs: Sequence[JobSpec], /) -> Sequence[JobId]:
        """Store all of them, then run them and what follows from them."""
        ids = super().enqueue(
            [replace(job, run_at=None, expires_at=None, lane=None) for job in jobs]
        )
        self._run_all()
        return ids

    def wait(self, job: JobId, timeout: float | None, /) -> JobRecord:
        """The job's record; raises ``TimeoutError`` at once when nothing is going to run it."""
        state = self.fetch(job).state
        if not state.is_final and state is not JobState.RUNNING:
            raise TimeoutError(
                f"job {job} is {state.value} and stays so: its queue, or that of a job it comes "
                "after, is paused"
            )
        return super().wait(job, timeout)

    def retry(self, jobs: Sequence[JobId], /) -> Sequence[Answer]:
        """Queue jobs once more, and run them."""
        answers = super().retry(jobs)
        self._run_all()
        return answers

    def pause(self, queue: str, /, *, paused: bool = True) -> None:
        """Let no job of this queue start; when it is let go, what waits there runs."""
        super().pause(queue, paused=paused)
        self._run_all()

    def _run_all(self) -> None:
        first: BaseException | None = None
        while claims := self.exchange(self._seat, (), 1).claims:
            run = _run(self._tasks[claims[0].task], claims[0], self._clock)
            ended = run.ended
            if isinstance(ended.ending, Retrying):
                at_once = replace(ended.ending, run_at=self._clock.now())
                ended = replace(ended, ending=at_once)
            self.exchange(self._seat, [ended], 0, run.said)
            run.interrupt()
            if not isinstance(ended.ending, Retrying):
                first = first or run.error
        if self._propagate and first is not None:
            raise first


@contextlib.contextmanager
def eager(app: BgWorker, *, propagate: bool = False) -> Iterator[None]:
    """What :meth:`bgworker.BgWorker.eager` does."""
    with contextlib.closing(InlineEngine(app.tasks, propagate=propagate)) as engine:
        before = app.divert(engine)
        try:
            yield
        finally:
            app.divert(before)


def frozen_clock() -> ManualClock:
    """A clock for :func:`run_until_idle`: it stands at this moment until ``advance(seconds)``."""
    return ManualClock(SystemClock().now())


def run_until_idle(app: BgWorker, *, clock: Clock | None = None) -> int:
    """Run every job of the app's queue that is due, here and now; the number of runs.

    What is due is decided by ``clock`` (default: the machine's). Limits and pauses hold, and
    workers may run beside. Jobs of tasks the app does not declare stay where they are.
    """
    clock = clock or SystemClock()
    runs = 0
    with _engine(app, clock) as engine:
        seat = engine.join(_profile(), [task.policy for task in app.tasks.values()])
        try:
            engine.rescue(seat)
            _fire(engine, seat, clock)
            ended: list[Ended] = []
            said: Sequence[Said] = ()
            unknown: frozenset[str] = frozenset()
            while claims := engine.exchange(seat, ended, 1, said).claims:
                (claim,) = claims
                task = app.tasks.get(claim.task)
                if task is None:
                    unknown |= {claim.task}
                    seat.decline(unknown)
                    ended, said = [Ended(claim, Released())], ()
                    continue
                run = _run(task, claim, clock)
                run.interrupt()
                ended, said = [run.ended], run.said
                runs += 1
        finally:
            engine.leave(seat)
    return runs


@contextlib.contextmanager
def _engine(app: BgWorker, clock: Clock) -> Iterator[Engine]:
    """The worker's side of the app's queue."""
    here = beneath(app.dispatcher)
    if isinstance(here, MemoryEngine):  # its jobs are nowhere else
        yield here
        return
    with contextlib.closing(open_engine(app.url, clock=clock)) as engine:
        yield engine


def _fire(engine: Engine, seat: Membership, clock: Clock) -> None:
    """Enqueue what schedules are due for, which the engine does some jobs at a time."""
    while (next_at := engine.fire(seat).next_at) is not None and next_at <= clock.now():
        continue


@dataclass(frozen=True, slots=True)
class _Run:
    ended: Ended
    error: BaseException | None
    said: Sequence[Said]

    def interrupt(self) -> None:
        """Pass on what was not meant for the task: Ctrl-C, or the verdict of a test framework."""
        if self.error is not None and not isinstance(self.error, (Exception, SystemExit)):
            raise self.error


def _run(task: Task[Any, Any], claim: Claim, clock: Clock) -> _Run:
    policy, started_at = task.policy, clock.now()
    error: BaseException | None = None
    ending: Ending
    worth_it: tuple[type[BaseException], ...] = ()
    with _listening(claim, clock) as listener:
        try:
            args, kwargs = load_args(claim.args)
            worth_it = policy.retry.on
            value = task.function(*args, **kwargs)
            if isinstance(value, CoroutineType):
                value = _run_coroutine(value)
            worth_it = ()
            ending = Succeeded(dump_result(value))
        except BaseException as raised:  # noqa: BLE001 - a task may raise anything
            error = raised
            mishap = Mishap.RAISED if isinstance(raised, worth_it) else Mishap.REFUSED
            told = describe(raised)
            ending = verdict(mishap, policy, claim, told, now=clock.now(), chance=_NO_JITTER)
    then = follow_up(policy, claim, ending)
    return _Run(Ended(claim, ending, started_at, clock.now(), then), error, listener.said)


class _Listener:
    """Answers ``current_job()`` and hears ``progress()`` while a job runs here."""

    def __init__(self, claim: Claim, clock: Clock) -> None:
        self._claim = claim
        self._clock = clock
        self.said: Sequence[Said] = ()

    def job(self) -> JobRun:
        return JobRun(self._claim.id, self._claim.task, self._claim.attempts)

    def hear(self, n: float, total: float | None, text: str) -> None:
        until = None if total is None else float(total)
        self.said = [Said(self._claim, Progress(float(n), until, text, self._clock.now()))]


_LISTENER: ContextVar[_Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def _listening(claim: Claim, clock: Clock) -> Iterator[_Listener]:
    listener = _Listener(claim, clock)
    set_host(_HOST)
    token = _LISTENER.set(listener)
    try:
        yield listener
    finally:
        _LISTENER.reset(token)


class _Host:
    """See :class:`bgworker.running.Host`: one job inside the other, as the calls are."""

    def job(self) -> JobRun | None:
        listener = _LISTENER.get()
        return None if listener is None else listener.job()

    def progress(self, n: float, total: float | None, text: str) -> None:
        listener = _LISTENER.get()
        if listener is not None:
            listener.hear(n, total, text)


_HOST = _Host()


def _run_coroutine(value: CoroutineType[Any, Any, Any]) -> object:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(value)
    # The caller is a coroutine itself, and one thread runs one loop at a time.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, asyncio.run, value).result()


def _profile() -> WorkerProfile:
    """A seat for one turn; ``rate_limit`` is not set, so workers with one do not count us."""
    name = f"inline-{os.getpid()}-{time.monotonic_ns()}"
    return WorkerProfile(name=name, host=os.uname().nodename, pid=os.getpid(), concurrency=1)
