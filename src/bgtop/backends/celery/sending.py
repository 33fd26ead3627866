"""A new task, made of what somebody typed: nothing of the application is loaded for it."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import uuid4

from bgtop.backends.celery.task_messages import named, new_task
from bgtop.backends.new_jobs import arguments_of, due_at, expires_at
from bgtop.backends.raw_names import quoted
from bgtop.contracts import Absent, BackendError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bgtop.worker_actions import SendTask

DEFAULT_QUEUE: Final = "celery"
_MOST_NAMED: Final = 5


class Letter(NamedTuple):
    """Headers and body (JSON) of a message; ``priority`` is 0 to 9 on Redis, 0 to 255 elsewhere."""

    id: str
    headers: dict[str, object]
    body: bytes
    priority: int

    @property
    def words(self) -> str:
        """How it can be found again."""
        return f"its id is {self.id}"


def letter_of(action: SendTask) -> Letter:
    """The message of a task; raises :class:`BackendError` for what is none."""
    if named(action.task) is None:
        raise BackendError(f"no task can have the name {quoted(action.task)}")
    args, kwargs = arguments_of(action)
    now = time.time()
    job_id = action.id or str(uuid4())
    if named(job_id) is None:
        raise BackendError("no task can have so long an id")
    headers, body = new_task(job_id, action.task, args, kwargs)
    headers["eta"] = _iso(due_at(action, now))
    headers["expires"] = _iso(expires_at(action, now))
    if not 0 <= (action.priority or 0) <= 255:
        raise BackendError(f"priority is 0 to 255, not {action.priority}")
    return Letter(job_id, headers, body, action.priority or 0)


class WhichQueue(BackendError):
    """There are several queues, as far as was looked, and none is the usual one."""


def queue_for(action: SendTask, known: Iterable[str]) -> str:
    """The queue it goes to: the one named, else the usual one, else the only one there is."""
    names = sorted(known)
    if action.queue is not None:
        if action.queue not in names:
            raise Absent(f"there is no queue {quoted(action.queue)}")
        return action.queue
    if DEFAULT_QUEUE in names:
        return DEFAULT_QUEUE
    if len(names) == 1:
        return names[0]
    some = ", ".join(map(quoted, names[:_MOST_NAMED]))
    if names:
        raise WhichQueue(f"say which queue: {some}")
    raise Absent("there is no queue to send it to")


def _iso(at: float | None) -> str | None:
    """As Celery writes it: ISO 8601 with an offset."""
    return None if at is None else datetime.fromtimestamp(at, timezone.utc).isoformat()
