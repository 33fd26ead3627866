"""What RQ stores of one job, decoded. Nothing here trusts its input, loads a pickle or raises.

From live RQ 1.16 to 3.0: a hash of short fields; ``data`` is the zlib of a pickled or JSON list
``[function, instance, args, kwargs]``; how runs ended is in the stream ``rq:results:ID``, base64.
Errors were in the field ``exc_info``, as zlib, where the server had no streams.
"""

from __future__ import annotations

import binascii
import json
import re
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from bgtop.backends.job_text import ending_of as end_of
from bgtop.backends.job_text import last_line, line_of, text_of
from bgtop.backends.pickle_reading import Unreadable, read
from bgtop.backends.raw_names import text
from bgtop.backends.rq.wire import LONGEST_DESCRIPTION, count, moment, task_name, word
from bgtop.model import JobReading, JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgtop.backends.redis_connection import Reply

CANCELED = b"rq:canceled:"
RESULTS = b"rq:results:"
DEPENDENTS = b":dependents"

FIELDS = (
    *("status", "origin", "created_at", "enqueued_at", "started_at", "ended_at", "worker_name"),
    *("timeout", "ttl", "result_ttl", "failure_ttl", "retries_left", "number_of_retries"),
    *("repeats_left", "group_id", "rate_limit_key"),
)
"""All of them are short; what may be long is measured before it is read."""
LONGEST_DATA = 16 * 1024
LONGEST_STREAM = 64 * 1024
"""Bytes in memory of a stream of results that is still read for a list."""
_MOST_UNPACKED = 64 * 1024
_MOST_SHOWN = 8 * 1024
_IN_A_LIST = 400

_STATES = {
    b"created": JobState.DEFERRED,
    b"queued": JobState.WAITING,
    b"ready": JobState.WAITING,
    b"ready_to_enqueue": JobState.WAITING,
    b"started": JobState.RUNNING,
    b"scheduled": JobState.SCHEDULED,
    b"deferred": JobState.DEFERRED,
    b"rate_limited": JobState.DEFERRED,
    b"failed": JobState.FAILED,
    b"stopped": JobState.FAILED,
    b"finished": JobState.SUCCEEDED,
    b"canceled": JobState.CANCELLED,
}
_ENDED = frozenset({JobState.FAILED, JobState.SUCCEEDED, JobState.CANCELLED})
_FACTS = ("timeout", "ttl", "result_ttl", "failure_ttl", "repeats_left", "group_id")
_CALL = re.compile(r"[\w.<>]+\((.*)\)", re.DOTALL)


class Ending(NamedTuple):
    """How the last run ended, as its entry in the stream says."""

    error: str | None = None
    traceback: str | None = None
    result: str | None = None


class JobParts(NamedTuple):
    """What was read of one job; ``fields`` is ``None`` when its key holds no hash."""

    id: bytes
    fields: Mapping[str, Reply] | None
    description: Reply = None
    ending: Ending = Ending()


def fields_of(reply: Reply) -> dict[str, Reply] | None:
    """The hash behind a reply to HMGET of ``FIELDS``; ``None`` if there is none."""
    if not isinstance(reply, list) or all(field is None for field in reply):
        return None
    return dict(zip(FIELDS, reply, strict=True))


def state_of(fields: Mapping[str, Reply]) -> JobState | None:
    """The state by RQ's own word; ``None`` for a word it does not use."""
    status = fields["status"]
    return _STATES.get(status) if isinstance(status, bytes) else None


def reading_of(
    parts: JobParts, state: JobState, queue: str | None, due: object = None
) -> JobReading:
    """A row of a list: ``queue`` and ``state`` are those of the registry it was found in."""
    fields = parts.fields
    if fields is None:
        gone = ("hash", "is gone: the job has expired")
        return JobReading(
            id=text(parts.id), state=state, queue=queue, facts=(gone,), malformed=True
        )
    times = {name: moment(fields[name]) for name in ("enqueued_at", "started_at", "ended_at")}
    unreadable = any(fields[name] and at is None for name, at in times.items())
    begun = state in _ENDED or state is JobState.RUNNING
    ended_at = times["ended_at"] if state in _ENDED else None
    status = fields["status"]
    stopped = (("status", "stopped"),) if status == b"stopped" else ()
    return JobReading(
        id=text(parts.id),
        state=state,
        name=task_name(parts.description),
        queue=queue,
        worker=word(fields["worker_name"]) if begun else None,
        args=call_arguments(parts.description, _IN_A_LIST),
        enqueued_at=times["enqueued_at"] or moment(fields["created_at"]),
        due_at=instant(due) if state is JobState.SCHEDULED else None,
        started_at=times["started_at"] if begun else None,
        ended_at=ended_at,
        attempts_left=None if not fields["retries_left"] else count(fields["retries_left"]),
        error=parts.ending.error,
        facts=stopped,
        malformed=unreadable or (isinstance(status, bytes) and status not in _STATES),
    )


def facts_of(fields: Mapping[str, Reply], description: Reply) -> tuple[tuple[str, str], ...]:
    """What else the hash says."""
    found = [(name.replace("_", " "), word(fields[name])) for name in ("status", *_FACTS)]
    if isinstance(description, bytes):
        found.append(("description", line_of(text(description), _MOST_SHOWN)))
    return tuple((name, value) for name, value in found if value)


def call_arguments(description: object, most: int = _MOST_SHOWN) -> str | None:
    """What stands between the brackets of ``app.send('x', y=1)``; ``None`` for other words."""
    call = _CALL.fullmatch(text(description)) if isinstance(description, bytes) else None
    return None if call is None else line_of(call[1], most)


def arguments_of(data: Reply) -> tuple[str, str] | None:
    """Arguments by position and by name; ``None`` where ``data`` is not what RQ writes."""
    match _value(_unpacked(data)):
        case [_, _, list() | tuple() as args, dict() as kwargs]:
            return text_of(args, _MOST_SHOWN), text_of(kwargs, _MOST_SHOWN)
    return None


def meta_of(meta: Reply) -> Mapping[Any, Any]:
    """The field ``meta``; empty where it is not what RQ writes."""
    found = _value(meta) if isinstance(meta, bytes) else None
    return found if isinstance(found, dict) else {}


def ending_of(entries: Reply, *, whole: bool = False) -> Ending:
    """The newest entry of a stream of results (a reply to XREVRANGE)."""
    match entries:
        case [[bytes(), list() as pairs], *_]:
            fields = dict(zip(pairs[::2], pairs[1::2], strict=False))
        case _:
            return Ending()
    exc, value = fields.get(b"exc_string"), fields.get(b"return_value")
    error = error_of(_unpacked(_base64(exc)), whole=whole) if exc else Ending()
    return error._replace(result=_result(_base64(value))) if whole and value else error


def error_of(unpacked: bytes | None, *, whole: bool = True) -> Ending:
    """The traceback of a failure, and its last line."""
    if not unpacked:
        return Ending()
    words = text(unpacked)
    error = last_line(words)
    return Ending(error and line_of(error, _IN_A_LIST), end_of(words.rstrip()) if whole else None)


def old_error(exc_info: Reply) -> Ending:
    """The same, of the field ``exc_info``."""
    return error_of(_unpacked(exc_info))


def instant(score: object) -> Any:
    """A score in seconds as a time; ``None`` if it is none."""
    from datetime import datetime, timezone

    try:
        return datetime.fromtimestamp(float(score), tz=timezone.utc)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _result(value: bytes | None) -> str | None:
    if value is None:
        return None
    found = _value(value)
    return f"not shown: {len(value):,} bytes" if found is _OPAQUE else text_of(found, _MOST_SHOWN)


_OPAQUE = object()


def _value(data: bytes | None) -> Any:
    """What JSON or a pickle describes; ``_OPAQUE`` for everything else."""
    try:
        return _OPAQUE if data is None else read(data) if data[:1] == b"\x80" else json.loads(data)
    except (Unreadable, ValueError, RecursionError):
        return _OPAQUE


def _unpacked(data: Reply) -> bytes | None:
    """What a zlib holds, if that is not too much; the bytes themselves if it is none."""
    if not isinstance(data, bytes):
        return None
    unpack = zlib.decompressobj()
    try:
        found = unpack.decompress(data, _MOST_UNPACKED)
    except zlib.error:
        return data[:_MOST_UNPACKED]
    # The end of a traceback says what failed: half of one is none.
    return None if unpack.unconsumed_tail else found


def _base64(value: object) -> bytes | None:
    try:
        return binascii.a2b_base64(value) if isinstance(value, bytes) else None
    except binascii.Error:
        return None


def of_decent_size(size: Reply, most: int = LONGEST_DESCRIPTION) -> bool:
    """Whether what was measured is there, and not too large to be read."""
    return isinstance(size, int) and 0 < size <= most
