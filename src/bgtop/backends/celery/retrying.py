"""A task that failed is sent again: under its own id, with the arguments its result holds.

The same id, because whoever waits for the task knows it by that: the new outcome replaces the
failure, and nothing is counted twice. The result becomes ``RETRY``, which is what Celery itself
says of a task between two attempts, and which makes a second retry find nothing that failed.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from bgtop.actions import Outcome
from bgtop.backends.celery.grants import granted
from bgtop.backends.celery.task_messages import named, new_task, one_line
from bgtop.backends.raw_names import quoted
from bgtop.backends.redis_link import pack
from bgtop.contracts import Absent, BackendError, NoSuchTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bgtop.backends.celery.task_results import Results, Stored

_MILLISECONDS_OF_A_CLAIM = 30_000
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"


class Again(NamedTuple):
    """A task to be sent again: headers and body (JSON) of the message, and its routing key."""

    headers: dict[str, object]
    body: bytes
    queue: str
    tag: str
    """The same for each try to send this failure again."""
    stored: Stored


def again(job_id: str, stored: Stored | None) -> Again:
    """The message that repeats a failed task.

    Raises:
        NoSuchTarget: when there is no such failure, or its arguments are not known for certain.
    """
    fields = {} if stored is None else stored.fields
    status = fields.get("status")
    if stored is None:
        raise Absent(
            f"there is no result of a task {quoted(job_id)}: only what failed can be retried"
        )
    if not fields or not stored.raw:
        raise NoSuchTarget(
            f"the result of {quoted(job_id)} is too large, or in a form that is not read"
        )
    if status != "FAILURE":
        raise NoSuchTarget(
            f"the task {quoted(job_id)} has not failed: it is {one_line(str(status))}"
        )
    name, queue = named(fields.get("name")), named(fields.get("queue"))
    args, kwargs = fields.get("args"), fields.get("kwargs")
    if name is None or queue is None or "args" not in fields:
        raise NoSuchTarget(
            f"the result of {quoted(job_id)} does not hold its arguments: the application has to "
            "set result_extended = True"
        )
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise NoSuchTarget(
            f"the arguments of {quoted(job_id)} are stored as a text only, which may be cut"
        )
    headers, body = new_task(job_id, name, args, kwargs, parent=named(fields.get("parent_id")))
    return Again(headers, body, queue, sha256(stored.raw).hexdigest()[:32], stored)


def retry(
    job_id: str, results: Results, prefixes: Iterable[bytes], send: Callable[[Again], None]
) -> Outcome:
    """Send a failed task again, once, however many ask for it at the same moment.

    Nothing is lost when this is cut short: the message goes first, and what it repeats is marked
    afterwards. ``send`` raises :class:`BackendError` when the message was not taken.
    """
    stored = again(job_id, results.find(job_id, prefixes)).stored
    claim, token = stored.key + b".bgtop-retry", sha256(stored.raw).hexdigest()
    link = results.link
    claiming = ("SET", claim, token, "NX", "PX", _MILLISECONDS_OF_A_CLAIM)
    if granted(link.exchange(pack(claiming))[0], link, "retry a task") is None:
        raise NoSuchTarget(f"somebody else is retrying {quoted(job_id)} at this moment")
    try:
        # What was read before the claim may be what somebody else has retried since.
        message = again(job_id, results.find(job_id, prefixes))
        send(message)
        return _marked(message.stored, results)
    finally:
        link.exchange(pack(("EVAL", _RELEASE, 1, claim, token)))


def _marked(stored: Stored, results: Results) -> Outcome:
    try:
        results.change(stored, {**stored.fields, "status": "RETRY", "date_done": None})
    except BackendError as fault:
        return Outcome(1, f"it was sent again, and still counts as failed: {fault}")
    if stored.fields.get("group_id"):
        return Outcome(1, "it runs by itself: its group or chord is not told how it ends")
    return Outcome(
        1, "callbacks and a chain that followed are not kept in results: they do not run"
    )
