"""What an application uses: an app object, tasks, and handles on enqueued jobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from bgworker import declaration, options
from bgworker.callbacks import JobRun, for_failure, for_success
from bgworker.codec import dump_args
from bgworker.errors import DuplicateTask, JobFailed
from bgworker.flows import Call
from bgworker.handle import Handle
from bgworker.limits import parse_rate
from bgworker.lock import Lock
from bgworker.model import (
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    JobSpec,
    QueuePolicy,
    Retry,
    Schedule,
    TaskPolicy,
)
from bgworker.schedule import schedule_for
from bgworker.values import dataclass, replace

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime

    from bgworker.contracts import Dispatcher
    from bgworker.tracing import Tracing

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_URL = "sqlite:///bgworker.db"


@dataclass(frozen=True, slots=True)
class Task(Generic[P, R]):
    """A function and how it is to be run. Calling it runs it here and now."""

    function: Callable[P, R]
    policy: TaskPolicy
    app: BgWorker
    chosen: options.Options = options.PLAIN

    @property
    def name(self) -> str:
        """What workers know it by."""
        return self.policy.name

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, without the queue."""
        return self.function(*args, **kwargs)

    def delay(self, /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Store a job that runs this task; returns once it is on disk.

        Raises:
            NotJson: an argument has no JSON form (a ``TypeError``); nothing is stored.
            PayloadTooLarge: the arguments are over 1 MiB of JSON; nothing is stored.
        """
        dispatcher = self.app.dispatcher
        return Handle(dispatcher.enqueue([self._spec(args, kwargs)])[0], dispatcher)

    def s(self, /, *args: Any, **kwargs: Any) -> Call:
        """This task with arguments, for :func:`bgworker.chain` and :func:`bgworker.group`.

        Behind another task it gets that one's result in front of these arguments.
        """
        return Call(lambda: self._spec(args, kwargs), lambda: self.app.dispatcher)

    def si(self, /, *args: Any, **kwargs: Any) -> Call:
        """The same without taking the result of what comes before."""
        return replace(self.s(*args, **kwargs), takes_result=False)

    def map(self, calls: Iterable[tuple[Any, ...]]) -> list[Handle[R]]:
        """Store one job per tuple of positional arguments, all in one transaction."""
        dumped = [dump_args(_tuple(args), {}) for args in calls]
        dispatcher = self.app.dispatcher
        ids = dispatcher.enqueue_each(self._spec((), {}), dumped)
        return [Handle(id_, dispatcher) for id_ in ids]

    def options(
        self,
        *,
        countdown: float | None = None,
        eta: datetime | None = None,
        expires: float | datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        unique: str | None = None,
        idempotency_key: str | None = None,
        concurrency_key: str | None = None,
        after: Iterable[Handle[Any] | str] = (),
    ) -> Task[P, R]:
        """The same task with other options for what is enqueued through it.

        ``countdown`` is in seconds from the moment a job is stored; ``eta`` an aware datetime;
        ``expires`` either of both. Lower priorities run first. With ``unique``, no job is added
        while one of this task with that key lives; with ``idempotency_key``, as long as one is
        stored: the handle is then that job's. ``concurrency_key`` makes the task's ``concurrency``
        count for each key by itself. ``after`` names jobs that must have succeeded before; when one
        of them ends otherwise, the job is cancelled.

        Raises:
            ValueError: an option makes no sense.
        """
        policy = replace(
            self.policy,
            queue=self.policy.queue if queue is None else declaration.name("queue", queue),
            priority=self.policy.priority if priority is None else declaration.priority(priority),
        )
        if concurrency_key is not None and policy.concurrency is None:
            raise ValueError("concurrency_key= needs a task that is declared with concurrency=")
        chosen = options.timed(self.chosen, countdown=countdown, eta=eta, expires=expires)
        chosen = options.keyed(chosen, unique, idempotency_key, concurrency_key)
        parents = options.parents(after)
        return replace(self, policy=policy, chosen=replace(chosen, after=parents or chosen.after))

    def _spec(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> JobSpec:
        policy, chosen = self.policy, self.chosen
        return JobSpec(
            task=policy.name,
            args=dump_args(args, kwargs),
            queue=policy.queue,
            priority=policy.priority,
            lane=policy.lane(chosen.concurrency_key),
            run_at=chosen.starts(),
            expires_at=chosen.ends(),
            unique=chosen.unique,
            idempotency_key=chosen.idempotency_key,
            after=chosen.after,
        )


class BgWorker:
    """A queue and the tasks declared for it.

    ``url`` is ``sqlite:///relative.db`` or ``sqlite:////absolute.db``; without one
    ``$BGWORKER_URL``, else ``sqlite:///bgworker.db``. The file is opened at the first use.
    A file on a network file system is refused, unless ``allow_network_fs`` says that only this
    machine uses it; the URL then carries it on to workers.
    """

    def __init__(self, url: str | None = None, *, allow_network_fs: bool = False) -> None:
        given: object = url
        if given is not None and not isinstance(given, str):
            kind = type(given).__name__
            raise TypeError(f"url: expected text such as 'sqlite:///jobs.db', not {kind}")
        self.url = url or os.environ.get("BGWORKER_URL") or DEFAULT_URL
        if allow_network_fs:
            self.url += f"{'&' if '?' in self.url else '?'}allow_network_fs=1"
        self.tasks: dict[str, Task[Any, Any]] = {}
        self.queues: dict[str, QueuePolicy] = {}
        self.tracing: Tracing | None = None
        self._dispatcher: Dispatcher | None = None
        self._diverted: Dispatcher | None = None
        self._opening = Lock()

    @property
    def dispatcher(self) -> Dispatcher:
        """Where jobs go; opened on first use."""
        found = self._diverted or self._dispatcher
        if found is None:
            with self._opening:
                if self._dispatcher is None:
                    from bgworker.tracing import open_dispatcher

                    self._dispatcher = open_dispatcher(self)
                found = self._dispatcher
        return found

    def job(self, job_id: str) -> Handle[Any]:
        """A handle on a job of which only the id is known."""
        return Handle(options.job_id(job_id), self.dispatcher)

    def queue(
        self, name: str, *, concurrency: int | None = None, rate_limit: str | None = None
    ) -> None:
        """Limit a queue: jobs in execution at once and starts per time, over all workers.

        Raises:
            ValueError: an option makes no sense.
        """
        self.queues[declaration.name("queue", name)] = QueuePolicy(
            name=name,
            concurrency=None if concurrency is None else options.concurrency(concurrency),
            rate_limit=None if rate_limit is None else parse_rate(rate_limit),
        )

    def pause(self, queue: str) -> None:
        """Let no worker start jobs of a queue; jobs can still be added, and running ones go on."""
        self.dispatcher.pause(declaration.name("queue", queue))

    def resume(self, queue: str) -> None:
        """Undo :meth:`pause`."""
        self.dispatcher.pause(declaration.name("queue", queue), paused=False)

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        /,
        *,
        name: str | None = ...,
        queue: str = ...,
        priority: int = ...,
        retry: Retry | None = ...,
        timeout: float | None = ...,
        hard_timeout: float | None = ...,
        rate_limit: str | None = ...,
        concurrency: int | None = ...,
        schedule: Schedule | None = ...,
        on_success: Callable[[JobRun, Any], object] | None = ...,
        on_failure: Callable[[JobRun, JobFailed], object] | None = ...,
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(
        self,
        function: Callable[P, R] | None = None,
        /,
        *,
        name: str | None = None,
        queue: str = DEFAULT_QUEUE,
        priority: int = DEFAULT_PRIORITY,
        retry: Retry | None = None,
        timeout: float | None = None,
        hard_timeout: float | None = None,
        rate_limit: str | None = None,
        concurrency: int | None = None,
        schedule: Schedule | None = None,
        on_success: Callable[[JobRun, Any], object] | None = None,
        on_failure: Callable[[JobRun, JobFailed], object] | None = None,
    ) -> Task[P, R] | Callable[[Callable[P, R]], Task[P, R]]:
        """Declare a task; as ``@bg.task`` or ``@bg.task(queue="mail", …)``.

        ``timeout`` (seconds) raises :class:`SoftTimeout` in the task; ``hard_timeout`` kills it,
        by default 10 s after that. ``rate_limit`` (``"5/s"``) and ``concurrency`` hold over all
        workers of the queue's file; ``schedule`` is what ``cron`` or ``every`` gave.
        ``on_success(job, result)`` and ``on_failure(job, error)`` run as jobs of their own after
        the job's end, the latter once no retry is left.

        Raises :class:`DuplicateTask`, and ``ValueError`` if an option makes no sense.
        """

        def declare(f: Callable[P, R]) -> Task[P, R]:
            policy = declaration.policy(declaration.name_of(f, name), queue, priority, retry)
            policy = declaration.limited(policy, timeout, hard_timeout, rate_limit, concurrency)
            policy = self._with_callbacks(policy, on_success, on_failure)
            if schedule is not None:
                policy = replace(policy, schedule=schedule_for(f, schedule))
            return self._declare(Task(f, policy, self))

        return declare(function) if function is not None else declare

    def eager(self, *, propagate: bool = False) -> AbstractContextManager[None]:
        """For tests: inside ``with bg.eager():`` a job has run before ``delay`` returns, in memory.

        Arguments and results take their way through JSON, retries follow at once. What a task
        raises comes out of ``Handle.result``; with ``propagate`` out of ``delay``, as it is.
        """
        from bgworker.inline import eager

        return eager(self, propagate=propagate)

    def divert(self, dispatcher: Dispatcher | None) -> Dispatcher | None:
        """Send jobs to this dispatcher from now on, until ``None`` brings back the app's own.

        Returns where they went before. :meth:`close` does not close it.
        """
        before, self._diverted = self._diverted, dispatcher
        return before

    def close(self) -> None:
        """Close the queue; the next use opens it again."""
        if self._dispatcher is not None:
            self._dispatcher.close()
            self._dispatcher = None

    def _with_callbacks(
        self,
        policy: TaskPolicy,
        on_success: Callable[[JobRun, Any], object] | None,
        on_failure: Callable[[JobRun, JobFailed], object] | None,
    ) -> TaskPolicy:
        """Declare callbacks as tasks: like the task itself, but never tried again."""
        plain = replace(policy, retry=Retry(), rate_limit=None, concurrency=None)
        declaration.check_callbacks(on_success=on_success, on_failure=on_failure)
        if on_success is not None:
            policy = replace(policy, on_success=f"{policy.name}.on_success")
            callback = replace(plain, name=f"{policy.name}.on_success")
            self._declare(Task(for_success(on_success), callback, self))
        if on_failure is not None:
            policy = replace(policy, on_failure=f"{policy.name}.on_failure")
            callback = replace(plain, name=f"{policy.name}.on_failure")
            self._declare(Task(for_failure(on_failure), callback, self))
        return policy

    def _declare(self, task: Task[P, R]) -> Task[P, R]:
        known = self.tasks.get(task.name)
        new = declaration.origin(task.function)
        old = new if known is None else declaration.origin(known.function)
        if old != new:
            raise DuplicateTask(
                f"two tasks are named {task.name!r}: {old} and {new}; give one another name="
            )
        self.tasks[task.name] = task
        return task


def _tuple(call: object) -> tuple[Any, ...]:
    if not isinstance(call, tuple | list):
        raise TypeError(f"map() takes a tuple of arguments per job, not {call!r}")
    return tuple(call)
