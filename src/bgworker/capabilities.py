"""What tasks ask of an engine, and what each engine makes of it: data, for ``bgworker check``.

An engine that is named here need not be built: what a broker lacks is known from its own
documentation, and an application can be told before it moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bgworker.contracts import Feature
from bgworker.model import DEFAULT_PRIORITY, QueuePolicy, TaskPolicy
from bgworker.values import dataclass, field


@dataclass(frozen=True, slots=True)
class Target:
    """An engine by the scheme of its URLs; ``lacks`` says in words what is missing, or differs."""

    scheme: str
    lacks: Mapping[Feature, str] = field(default_factory=dict)


_CELERY: Final = {
    Feature.SCHEDULE: "needs one celery beat beside the workers, never two; all schedules share"
    " one time zone, and missed= has no counterpart",
    Feature.RATE_LIMIT: "a rate holds for each worker by itself, not for all together",
    Feature.CONCURRENCY: "there is no limit per task, only one for all that a worker runs at once",
    Feature.QUEUE_LIMIT: "queues have no limits of their own",
    Feature.CONCURRENCY_KEY: "there is no limit per key",
    Feature.UNIQUE: "nothing keeps a second job of the same key out",
    Feature.IDEMPOTENCY: "nothing recognises a job that is sent again",
    Feature.AFTER: "a job can follow others only as part of a chain, group or chord sent with them",
    Feature.PAUSE: "a queue cannot be paused: its workers have to be told to stop taking from it",
}
_PRIORITY_REDIS: Final = (
    "there are four steps, by default 0, 3, 6 and 9; jobs of priorities between two of them share"
    " a step"
)
_PRIORITY_AMQP: Final = (
    "the higher number runs first, within 0 to 255, and only in queues declared with x-max-priority"
)
_LATER_REDIS: Final = (
    "a job for later than the visibility timeout (an hour by default) is delivered more than once"
)

TARGETS: Final = {
    target.scheme: target
    for target in (
        Target("sqlite"),
        Target("memory"),
        Target(
            "celery+redis",
            {**_CELERY, Feature.PRIORITY: _PRIORITY_REDIS, Feature.DELAY: _LATER_REDIS},
        ),
        Target("celery+amqp", {**_CELERY, Feature.PRIORITY: _PRIORITY_AMQP}),
    )
}
"""Every engine there is something to say about."""

ASKED_BY_CALLS: Final = {
    Feature.DELAY: "countdown= and eta=",
    Feature.UNIQUE: "unique=",
    Feature.IDEMPOTENCY: "idempotency_key=",
    Feature.CONCURRENCY_KEY: "concurrency_key=",
    Feature.AFTER: "after=",
    Feature.PAUSE: "bg.pause()",
}
"""Features that no declaration shows, and how a call asks for them."""


def needs(task: TaskPolicy) -> dict[Feature, str]:
    """The features a task is declared to use, and the option that says so."""
    found: dict[Feature, str] = {}
    if task.schedule is not None:
        found[Feature.SCHEDULE] = f"schedule={task.schedule.expression!r}"
    if task.priority != DEFAULT_PRIORITY:
        found[Feature.PRIORITY] = f"priority={task.priority}"
    if task.retry.max:
        found[Feature.RETRY] = f"retry=Retry(max={task.retry.max})"
    if task.hard_timeout is not None:
        found[Feature.TIMEOUT] = f"hard_timeout={task.hard_timeout:g}"
    if task.rate_limit is not None:
        found[Feature.RATE_LIMIT] = f"rate_limit={rate_in_words(task.rate_limit)!r}"
    if task.concurrency is not None:
        found[Feature.CONCURRENCY] = f"concurrency={task.concurrency}"
    if task.on_success or task.on_failure:
        found[Feature.CALLBACK] = "on_success=" if task.on_success else "on_failure="
    return found


def is_limited(queue: QueuePolicy) -> bool:
    """Whether a queue needs ``Feature.QUEUE_LIMIT``."""
    return queue.concurrency is not None or queue.rate_limit is not None


def rate_in_words(rate: float) -> str:
    """Starts per second the way they are written: ``5/s``, ``100/m``, ``10/h``."""
    for unit, seconds in (("s", 1), ("m", 60), ("h", 3600)):
        count = rate * seconds
        if abs(count - round(count)) < 1e-6 and round(count):
            return f"{round(count)}/{unit}"
    return f"{rate:g}/s"
