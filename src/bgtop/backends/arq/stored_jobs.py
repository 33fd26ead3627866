"""What arq stores of one job: its call, and later its result, read without loading anything.

Facts from arq 0.25-0.28 (``jobs.py``, ``worker.py``): both are dictionaries with one letter or two
for a key, pickled unless the application brings a serializer of its own. ``arq:retry:<id>`` counts
how often the job was begun.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import NamedTuple

from bgtop.backends.job_text import line_of, text_of
from bgtop.backends.pickle_reading import Made, Unreadable, read
from bgtop.model import JobReading, JobState

_LONGEST_NAME = 512
_LATEST_MS = 253_402_300_799_000  # the end of the year 9999


class Call(NamedTuple):
    """What is to be called, or was."""

    name: str | None
    args: str
    kwargs: str
    enqueued_at: datetime | None


def call_in(raw: bytes) -> Call | None:
    """Read the data of a job; ``None`` in a serializer of the user's own."""
    return _call(_fields(raw))


def result_row(identity: str, raw: bytes) -> JobReading:
    """The row of a job that has ended."""
    fields = _fields(raw)
    call = _call(fields)
    if call is None:
        return JobReading(id=identity, state=JobState.SUCCEEDED, malformed=True, facts=(_UNREAD,))
    failed = fields.get("s") is not True
    result = fields.get("r")
    error = _error(result) if failed else None
    state = JobState.FAILED if failed else JobState.SUCCEEDED
    if failed and isinstance(result, Made) and result.name.endswith(".CancelledError"):
        state = JobState.CANCELLED
    queue = fields.get("q")
    return JobReading(
        id=identity,
        state=state,
        name=call.name,
        queue=line_of(queue, _LONGEST_NAME) if isinstance(queue, str) else None,
        args=call.args,
        kwargs=call.kwargs,
        enqueued_at=call.enqueued_at,
        started_at=_moment(fields.get("st")),
        ended_at=_moment(fields.get("ft")),
        attempts=_count(fields.get("t")),
        result=None if failed else text_of(result),
        error=error,
    )


_UNREAD = ("serializer", "not arq's own, so it is not read: it may also have failed")


def _fields(raw: bytes) -> dict[object, object]:
    try:
        value = read(raw)
    except Unreadable:
        return {}
    return value if isinstance(value, dict) else {}


def _call(fields: dict[object, object]) -> Call | None:
    name = fields.get("f")
    if not isinstance(name, str):
        return None
    return Call(
        name=line_of(name, _LONGEST_NAME),
        args=text_of(fields.get("a")),
        kwargs=text_of(fields.get("k")),
        enqueued_at=_moment(fields.get("et")),
    )


def _error(result: object) -> str:
    """``ValueError: no such user`` of the pickle of an exception."""
    if isinstance(result, str):  # arq's own words where the true result cannot be pickled
        return line_of(result)
    if not isinstance(result, Made):
        return text_of(result)
    name = result.name.removeprefix("builtins.")
    words = ", ".join(v if isinstance(v, str) else text_of(v) for v in result.values[:10])
    return line_of(f"{name}: {words}" if words else name)


def _moment(value: object) -> datetime | None:
    count = _count(value)
    if count is None or not 0 < count < _LATEST_MS:
        return None
    return datetime.fromtimestamp(count / 1000, timezone.utc)


def _count(value: object) -> int | None:
    plain = isinstance(value, int) and not isinstance(value, bool)
    return value if plain and isinstance(value, int) else None
