"""The process that runs task code, one job after the other, and nothing else.

It never opens the queue's file for its worker: jobs come as messages, endings go as frames. (A task
that itself enqueues is a producer like any other, with a connection of its own.)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from types import CoroutineType, FrameType
from typing import Any, TypeAlias

from bgworker.app import Task
from bgworker.codec import dump_result, load_args
from bgworker.errors import SoftTimeout
from bgworker.failure import describe
from bgworker.running import set_host
from bgworker.scoreboard import Scoreboard
from bgworker.tracing import Tracer, tracer_of
from bgworker.worker.frames import Order, pack_report, receive_order, unpack_order, write_all
from bgworker.worker.kin import adopt_orphans, end_strangers, has_children, helpers_of_python
from bgworker.worker.lifespan import Lifespan
from bgworker.worker.voice import Voice

Call: TypeAlias = Callable[[Task[Any, Any], Sequence[Any], Mapping[str, Any]], object]
"""Runs a task's function within its time limit."""
Retryable: TypeAlias = tuple[type[BaseException], ...]
_OUT_OF_REACH = 1024
"""The first descriptor above the usual limit, which is where most programs stop closing."""
_TOO_SHORT_TO_FORK = 50
"""Microseconds: no process is started in less, so after such a run there is none to look for."""
_MORE_LIKELY_TO_DIE = 500
"""Added to the kernel's score: when memory is short, the supervisor is not to go before a task."""


class Child:
    """Runs orders from ``jobs`` until the other end is closed."""

    def __init__(
        self,
        tasks: Sequence[Task[Any, Any]],
        jobs: socket.socket,
        reports: int,
        board: Scoreboard,
        slot: int,
    ) -> None:
        self._tasks = tasks
        self._jobs = jobs
        self._reports = reports
        self._board = board
        self._slot = slot
        self._voice = Voice(tasks, reports)
        self._tracer: Tracer | None = None
        self._pid = os.getpid()

    def serve(self, lifespan: Lifespan | None = None) -> bool:
        """One job after the other, until the supervisor has gone or wants no more.

        ``True`` when this process should be replaced by a fresh one.
        """
        set_host(self._voice)
        self._tracer = tracer_of(self._tasks[0].app) if self._tasks else None
        try:
            return self._serve(lifespan)
        finally:
            if self._tracer is not None:
                self._tracer.flush()

    def _serve(self, lifespan: Lifespan | None) -> bool:
        jobs = 0
        while True:
            message, attached = receive_order(self._jobs)
            if not message:
                return False
            try:
                self._run(unpack_order(message, attached))
            except BrokenPipeError:
                return False  # nobody is left to hear of it
            jobs += 1
            if lifespan is not None and lifespan.is_over(jobs):
                return True

    def _run(self, order: Order) -> None:
        started_at = time.time_ns() // 1_000_000
        # From here on, if this process dies, it died of this job.
        self._board.start(self._slot, int(order.id), order.number, started_at)
        self._voice.begin(order)
        began = time.perf_counter_ns()
        task = self._tasks[order.task]
        if self._tracer is None:
            kind, body = execute(task, order.args, self._call)
        else:
            kind, body = _traced(self._tracer, task, order, self._call)
        if os.getpid() != self._pid:
            leave()  # the task forked and its copy came back as well: only the original reports
        micros = (time.perf_counter_ns() - began) // 1000
        self._voice.end()
        if micros >= _TOO_SHORT_TO_FORK and has_children():
            self._end_processes()
        write_all(self._reports, pack_report(order, kind, started_at, micros, body))
        self._board.finish(self._slot)

    def _call(self, task: Task[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> object:
        try:
            _set_alarm(task.policy.timeout)
            value = task.function(*args, **kwargs)
            return _run_coroutine(value) if isinstance(value, CoroutineType) else value
        finally:
            # Without a timeout too: an alarm that the task set must not ring in the next one.
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _end_processes(self) -> None:
        end_strangers(helpers_of_python())


def _traced(tracer: Tracer, task: Task[Any, Any], order: Order, call: Call) -> tuple[str, str]:
    told = {
        "messaging.message.id": order.id,
        "bgworker.task": task.name,
        "bgworker.attempt": order.attempt,
    }
    run = partial(execute, task, order.args, call)
    return tracer.run(run, order.args, told, task.policy.queue)


def execute(task: Task[Any, Any], args: str, call: Call) -> tuple[str, str]:
    """Run a task: ``("ok", result)``, or ``raised`` / ``refused`` with the error, as JSON text.

    ``raised`` is what ``retry.on`` names. Whatever a task raises ends here, ``sys.exit`` too. That
    arguments cannot be read, or a result cannot be stored, is as true the next time.
    """
    worth_it: Retryable = ()
    try:
        positional, keyword = load_args(args)
        worth_it = task.policy.retry.on
        value = call(task, positional, keyword)
        worth_it = ()
        return "ok", dump_result(value)
    except BaseException as error:  # noqa: BLE001 - a task may raise anything
        return ("raised" if isinstance(error, worth_it) else "refused"), describe(error)


def settle_in() -> None:
    """Make a freshly forked process a child: own process group, signals, stdin, random numbers."""
    os.setpgid(0, 0)  # so that a kill takes what the task started with it
    adopt_orphans()
    _die_first()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A stop signal to the whole control group is for the supervisor, which lets the job finish. A
    # handler and not SIG_IGN: programs the task starts would inherit that.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _no_notice)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    if "random" in sys.modules:
        sys.modules["random"].seed()


def _die_first() -> None:
    """Have the kernel choose this process rather than the supervisor when memory is short."""
    with (
        contextlib.suppress(OSError, ValueError),
        open("/proc/self/oom_score_adj", "r+b", 0) as file,
    ):
        score = min(1000, int(file.read()) + _MORE_LIKELY_TO_DIE)
        file.write(b"%d" % score)


def out_of_reach(fd: int) -> int:
    """The same descriptor under a number above those that a task closes by "closing all"."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (2 * _OUT_OF_REACH, limits[1]))
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_REACH)
    except (ValueError, OSError):
        return fd  # the hard limit leaves no room
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    os.close(fd)
    return high


def leave(status: int = 0) -> None:
    """End the process without running what the zygote registered at exit."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    if "logging" in sys.modules:
        with contextlib.suppress(Exception):
            sys.modules["logging"].shutdown()
    os._exit(status)


def _set_alarm(seconds: float | None) -> None:
    if seconds is not None:
        signal.signal(signal.SIGALRM, _time_is_over)  # an earlier task may have taken it over
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _time_is_over(_: int, __: FrameType | None) -> None:
    raise SoftTimeout


def _no_notice(_: int, __: FrameType | None) -> None:
    return


def _run_coroutine(value: CoroutineType[Any, Any, Any]) -> object:
    from bgworker.worker.awaiting import Awaiting, TimeIsOver

    awaiting = Awaiting(value)

    def time_is_over(_: int, __: FrameType | None) -> None:
        again = awaiting.cancel()
        if again is None:
            raise TimeIsOver
        signal.setitimer(signal.ITIMER_REAL, 0 if again == inf else again)

    if signal.getsignal(signal.SIGALRM) is _time_is_over:
        signal.signal(signal.SIGALRM, time_is_over)
    return awaiting.run()
