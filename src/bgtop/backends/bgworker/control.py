"""What can be done to bgworker's queue: by its own engine, which takes the file's locks.

Each action is one transaction. Those on many jobs are several, of some hundred jobs each, so that
workers get their turn; one that is cut short has done a part of the jobs, each of them wholly.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from bgtop.actions import (
    JOB_VERBS,
    CancelJob,
    Outcome,
    PauseQueue,
    PurgeQueue,
    RequeueFailed,
    ResumeQueue,
    RetryJob,
    Verb,
    is_for_workers,
)
from bgtop.contracts import Absent, NoSuchTarget, Unsupported
from bgworker import browse
from bgworker.engines import open_engine
from bgworker.model import JobId
from bgworker.states import ALIVE, WAITING, JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bgtop.actions import Action, WorkerAction
    from bgtop.model import WorkerReading
    from bgworker.contracts import Dispatcher
    from bgworker.inspector import Inspector

VERBS = (JOB_VERBS - {Verb.DELETE}) | {Verb.SHUTDOWN, Verb.SEND}

_AT_ONCE = 500
"""Jobs of one transaction."""
_WHY = "by bgtop"
_NOT_RETRIED = {
    JobState.SUCCEEDED: "has succeeded: only a new job runs it again",
    JobState.RUNNING: "is running",
    JobState.QUEUED: "is queued already",
    JobState.BLOCKED: "waits for other jobs: retry those",
}
_MAY_NOT = (
    "may not come back: a job with its unique key is alive, or one it comes after has not succeeded"
)
_NO_DELETE = (
    "bgworker deletes what ended when its retention is over, and nothing before:"
    " a job that waits can be cancelled"
)
_NO_STEERING = (
    "a worker of bgworker listens to shutdown only: stop it, and start it as it should be"
)
_NO_REST = "bgworker's workers rest when their queues are paused: pause those"
_NO_ABORT = "bgworker asks no job to end: cancel it with terminate"
_WHY_NOT = {
    Verb.DELETE: _NO_DELETE,
    Verb.ABORT: _NO_ABORT,
    **dict.fromkeys((Verb.SUSPEND, Verb.WAKE), _NO_REST),
}


def perform(
    inspector: Inspector, url: str, action: Action, workers: Callable[[], Iterable[WorkerReading]]
) -> Outcome:
    """Do this to the queue of ``url``, which ``inspector`` reads; ``workers`` are those of now.

    Raises :class:`Unsupported`, :class:`NoSuchTarget`, and what bgworker raises.
    """
    if action.verb not in VERBS:
        raise Unsupported(_WHY_NOT.get(action.verb, _NO_STEERING))
    inspector.check()  # nothing is created in order to change what it holds
    with closing(open_engine(url)) as engine:
        if is_for_workers(action):
            return _steer(engine, action, workers)
        match action:
            case RetryJob(id=id_):
                return _retry(engine, JobId(id_))
            case CancelJob(id=id_, terminate=terminate):
                return _cancel(engine, JobId(id_), terminate=terminate)
            case RequeueFailed(queue=queue, task=task):
                return _requeue(inspector, engine, queue, task)
            case PurgeQueue(queue=queue):
                _paused(inspector, queue)
                return _purge(engine, browse.waiting_ids(inspector, queue))
            case PauseQueue(queue=queue) | ResumeQueue(queue=queue):
                return _pause(inspector, engine, queue, paused=action.verb is Verb.PAUSE)
            case _:
                raise Unsupported(_NO_DELETE)


def _steer(
    engine: Dispatcher, action: WorkerAction, workers: Callable[[], Iterable[WorkerReading]]
) -> Outcome:
    # Loaded for it: watching does without.
    from bgtop.backends.bgworker import steering
    from bgtop.worker_actions import SendTask, ShutdownWorker

    match action:
        case ShutdownWorker():
            return steering.shut_down(action, workers())
        case SendTask():
            return steering.send(action, engine)
        case _:
            raise Unsupported(_NO_STEERING)


def _retry(engine: Dispatcher, id_: JobId) -> Outcome:
    (answer,) = engine.retry([id_])
    if answer.was is None:
        raise Absent(f"there is no job {id_!r}")
    if not answer.done:
        raise NoSuchTarget(f"job {id_} {_NOT_RETRIED.get(answer.was, _MAY_NOT)}")
    return Outcome(1)


def _cancel(engine: Dispatcher, id_: JobId, *, terminate: bool) -> Outcome:
    (answer,) = engine.cancel([id_], _WHY, only=ALIVE if terminate else WAITING)
    if answer.was is None:
        raise Absent(f"there is no job {id_!r}")
    if answer.was is JobState.CANCELLED:
        return Outcome(0, "it was cancelled already")
    if answer.was is JobState.RUNNING and not terminate:
        raise NoSuchTarget(f"job {id_} is running: it can be cancelled by stopping it")
    if not answer.done:
        raise NoSuchTarget(f"job {id_} has ended as {answer.was.value} already")
    return Outcome(1, "it is being stopped" if answer.was is JobState.RUNNING else "")


def _requeue(
    inspector: Inspector, engine: Dispatcher, queue: str | None, task: str | None
) -> Outcome:
    states = {JobState.FAILED, JobState.DEAD}
    ids = [id_ for state in states for id_ in inspector.ended_ids(state, queue, task)]
    done = stay = 0
    for some in _batches(ids):
        answers = engine.retry(some)
        done += sum(answer.done and answer.was in states for answer in answers)
        stay += sum(not answer.done and answer.was in states for answer in answers)
    return Outcome(done, f"{stay} {_MAY_NOT}" if stay else "")


def _purge(engine: Dispatcher, ids: Sequence[JobId]) -> Outcome:
    gone = 0
    for some in _batches(ids):
        answers = engine.cancel(some, f"{_WHY}, with all that waited", only={JobState.QUEUED})
        gone += sum(answer.was is JobState.QUEUED for answer in answers)
    return Outcome(gone, "they are kept as cancelled" if gone else "")


def _pause(inspector: Inspector, engine: Dispatcher, queue: str, *, paused: bool) -> Outcome:
    if _paused(inspector, queue) is paused:
        return Outcome(0, f"it was {'paused already' if paused else 'not paused'}")
    engine.pause(queue, paused=paused)
    return Outcome(1)


def _paused(inspector: Inspector, queue: str) -> bool:
    """Whether no jobs of the queue are taken; raises :class:`NoSuchTarget`."""
    found = [bool(paused) for name, *_, paused in inspector.rows("tallies") if name == queue]
    if not found:
        raise Absent(f"there is no queue {queue!r}")
    return any(found)


def _batches(ids: Sequence[JobId]) -> list[Sequence[JobId]]:
    return [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]
