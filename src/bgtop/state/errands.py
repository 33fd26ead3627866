"""What workers are told, in words; and which sources could be meant by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bgtop.actions import Verb
from bgtop.worker_actions import (
    AbortJob,
    SendTask,
    SetRateLimit,
    SetTimeLimits,
    SuspendWorkers,
    WakeWorkers,
)

if TYPE_CHECKING:
    from bgtop.actions import WorkerAction
    from bgtop.model import Source


_WORDS: Final = {
    Verb.SUSPEND: "let all workers rest",
    Verb.WAKE: "let all workers work again",
    Verb.SHUTDOWN: "shut down worker {0.worker}",
    Verb.RESTART: "restart the pool of worker {0.worker}",
    Verb.GROW: "grow the pool of worker {0.worker} by {0.by}",
    Verb.SHRINK: "shrink the pool of worker {0.worker} by {0.by}",
    Verb.AUTOSCALE: "autoscale worker {0.worker} between {0.least} and {0.most}",
    Verb.ADD_QUEUE: "add queue {0.queue} to worker {0.worker}",
    Verb.DROP_QUEUE: "drop queue {0.queue} from worker {0.worker}",
    Verb.LIMIT_RATE: "limit the rate of task {0.task} to {0.rate}",
    Verb.LIMIT_TIME: "limit the time of task {0.task} to ",
    Verb.SEND: "send task {0.task}",
    Verb.ABORT: "abort job {0.id}",
}


def errand_words(action: WorkerAction) -> str:
    """What is to be done, as a request: ``grow the pool of worker celery@h1 by 2``."""
    words = _WORDS[action.verb].format(action)
    match action:
        case SetRateLimit(worker=worker):
            return words + _at(worker)
        case SetTimeLimits(worker=worker):
            return words + _limits(action) + _at(worker)
        case SendTask(queue=str(queue)):
            return f"{words} to queue {queue}"
        case _:
            return words


def errand_object(action: WorkerAction) -> str:
    """The name of what it is done to."""
    match action:
        case SetRateLimit() | SetTimeLimits() | SendTask():
            return action.task
        case AbortJob():
            return action.id
        case SuspendWorkers() | WakeWorkers():
            return "all workers"
        case _:
            return action.worker


def is_known(source: Source, action: WorkerAction) -> bool:
    """Whether this source has what the errand is about, as far as was read."""
    reading = source.reading
    if reading is None:
        return False
    match action:
        case AbortJob(id=id_):
            return reading.jobs is not None and any(job.id == id_ for job in reading.jobs.rows)
        case SendTask(queue=str(queue)):
            return any(one.name == queue for one in reading.queues)
        case SendTask() | SetRateLimit(worker=None) | SetTimeLimits(worker=None):
            return action.verb in source.info.verbs
        case SuspendWorkers() | WakeWorkers():
            return action.verb in source.info.verbs
        case _:
            return any(one.name == action.worker for one in reading.workers)


def _at(worker: str | None) -> str:
    return " at all workers" if worker is None else f" at worker {worker}"


def _limits(action: SetTimeLimits) -> str:
    limits = {"soft": action.soft, "hard": action.hard}
    said = [f"{value:g} s {name}" for name, value in limits.items() if value is not None]
    return " and ".join(said) or "none"
