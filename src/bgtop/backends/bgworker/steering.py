"""What bgworker's workers can be told: to end, by a signal, where they run on this machine."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Final

from bgtop.actions import Outcome
from bgtop.backends.local_processes import LocalProcesses
from bgtop.backends.new_jobs import arguments_of, due_at, expires_at
from bgtop.backends.raw_names import quoted
from bgtop.contracts import Absent, BackendError, NoSuchTarget, NotPermitted, Unsupported
from bgtop.model import WorkerState
from bgworker.codec import dump_args
from bgworker.errors import NotJson
from bgworker.model import DEFAULT_PRIORITY, DEFAULT_QUEUE, JobSpec, TaskPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bgtop.model import WorkerReading
    from bgtop.worker_actions import SendTask, ShutdownWorker
    from bgworker.contracts import Dispatcher

_ENDS: Final = "it finishes what it runs, and then ends"


def shut_down(action: ShutdownWorker, workers: Iterable[WorkerReading]) -> Outcome:
    """Ask the process of a worker to end, if it is certain which one that is.

    Raises:
        NoSuchTarget: when there is no such worker, it has ended, or it is on another machine.
        NotPermitted: when it is somebody else's.
    """
    if not hasattr(os, "pidfd_open"):
        raise Unsupported("only on Linux it is certain whose process a number is: send it SIGTERM")
    name = quoted(action.worker)
    found = next((one for one in workers if one.name == action.worker), None)
    if found is None:
        raise Absent(f"there is no worker {name}")
    if found.state is WorkerState.DEAD or found.pid is None:
        raise NoSuchTarget(f"worker {name} is offline: its process has ended")
    try:
        # What is looked at from here on is the process that gets the signal, whatever its number.
        descriptor = os.pidfd_open(found.pid)
    except ProcessLookupError:
        raise _elsewhere(name, found) from None
    try:
        if LocalProcesses("bgworker").process_of(found) is None:
            raise _elsewhere(name, found)
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    except ProcessLookupError:
        raise NoSuchTarget(f"worker {name} has just ended") from None
    except PermissionError:
        raise NotPermitted(f"the process {found.pid} of worker {name} is somebody else's") from None
    finally:
        os.close(descriptor)
    return Outcome(1, _ENDS)


def _elsewhere(name: str, worker: WorkerReading) -> NoSuchTarget:
    return NoSuchTarget(
        f"worker {name} does not run here but on {worker.host} (pid {worker.pid}): send it "
        "SIGTERM there"
    )


def send(action: SendTask, engine: Dispatcher) -> Outcome:
    """Store one job; raises :class:`BackendError` for what is none."""
    if action.id is not None:
        raise BackendError("bgworker gives its jobs their ids itself")
    if not action.task:
        raise BackendError("no task is without a name")
    args, kwargs = arguments_of(action)
    now = time.time()
    policy = engine.policy_of(action.task)
    unknown = "no worker has declared this task yet: it waits" if policy is None else ""
    policy = policy or TaskPolicy(name=action.task, queue=DEFAULT_QUEUE, priority=DEFAULT_PRIORITY)
    try:
        spec = JobSpec(
            task=action.task,
            args=dump_args(args, kwargs),
            queue=action.queue or policy.queue,
            priority=policy.priority if action.priority is None else action.priority,
            lane=policy.lane(),
            run_at=_millis(due_at(action, now)),
            expires_at=_millis(expires_at(action, now)),
        )
    except (NotJson, ValueError) as fault:
        raise BackendError(str(fault)) from None
    (job,) = engine.enqueue([spec])
    return Outcome(1, f"its id is {job}", unknown)


def _millis(at: float | None) -> int | None:
    return None if at is None else round(at * 1000)
