"""RQ's keys and values in Redis, decoded. Nothing here trusts its input or raises.

Facts from live RQ 1.16, 2.12 and 3.0 and rq-scheduler 0.14: names are UTF-8 in keys
``rq:<kind>:<name>``, times are ``2026-11-21T04:00:00.123456Z``, an unset field is missing or empty.
A job's arguments are pickled in its field ``data``, which is never read.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bgtop.backends.raw_names import text

if TYPE_CHECKING:
    from collections.abc import Iterable

QUEUES = b"rq:queues"
WORKERS = b"rq:workers"
SUSPENDED = b"rq:suspended"
SCHEDULER_JOBS = b"rq:scheduler:scheduled_jobs"
"""Of rq-scheduler, for all queues together; RQ's own keys ``rq:scheduler:…`` are hashes."""

QUEUE = b"rq:queue:"
WORKER = b"rq:worker:"
CHANNEL = b"rq:pubsub:"
STARTED = b"rq:wip:"
FINISHED = b"rq:finished:"
FAILED = b"rq:failed:"
SCHEDULED = b"rq:scheduled:"
DEFERRED = b"rq:deferred:"
WORKERS_OF = b"rq:workers:"

LONGEST_DESCRIPTION = 16 * 1024
"""Bytes; a description holds the arguments of a call, so it may be as large as they are."""

JOB = b"rq:job:"
_LONGEST_ID = 512
_LONGEST_NAME = 80
_LONGEST_NUMBER = 15
_CALL = re.compile(r"[\w.<>]+(?=\()")


def job_key(job: bytes) -> bytes | None:
    """The key of a job's hash; ``None`` when this cannot be the id of a job."""
    return JOB + job if 0 < len(job) <= _LONGEST_ID else None


def moment(value: object) -> datetime | None:
    """A time as RQ writes it; ``None`` when it is unset or no such time."""
    if not isinstance(value, bytes) or not 19 <= len(value) <= 32 or not value.isascii():
        return None
    try:
        when = datetime.fromisoformat(value.decode("ascii").removesuffix("Z"))
    except ValueError:
        return None
    return when.replace(tzinfo=timezone.utc) if when.tzinfo is None else None


def count(value: object) -> int | None:
    """A counter of a hash; one that was never raised is missing, and zero."""
    if value is None:
        return 0
    fits = isinstance(value, bytes) and len(value) <= _LONGEST_NUMBER and value.isdigit()
    return int(value) if fits and isinstance(value, bytes) else None


def word(value: object) -> str | None:
    """A short field as text; ``None`` when it is unset or too long for what it should hold."""
    return text(value) if isinstance(value, bytes) and 0 < len(value) <= _LONGEST_ID else None


def task_name(description: object) -> str | None:
    """What a job is called: the function of ``app.send('x')``, else the words somebody gave it.

    The arguments are left out because they may be secrets.
    """
    if not isinstance(description, bytes):
        return None
    words = text(description)
    call = _CALL.match(words) if words.endswith(")") else None
    name = call[0] if call else "".join(c if c.isprintable() else " " for c in words)
    name = " ".join(name.split())
    if len(name) > _LONGEST_NAME:
        name = name[: _LONGEST_NAME - 1] + "…"
    return name or None


def listened_to(queues: object, with_commas: Iterable[bytes]) -> tuple[bytes, ...]:
    """The queues of a worker, which writes their names with commas between them.

    A name may hold commas itself: those are known from elsewhere, and taken out first.
    """
    if not isinstance(queues, bytes):
        return ()
    rest, found = b"," + queues + b",", []
    for name in sorted(with_commas, key=len, reverse=True):
        if b"," + name + b"," in rest:
            rest = rest.replace(b"," + name + b",", b",")
            found.append(name)
    return (*(name for name in dict.fromkeys(rest.split(b",")) if name), *found)
