"""Celery's events decoded fast: thousands a second have to cost little. Nothing here raises.

Facts from Celery 5.3-5.7 and live brokers: workers gather task events in lists (``task.multi``, up
to 24), producers and heartbeats send one at a time. Only ``task-sent`` names the queue, only
``task-sent`` and ``task-received`` the task and when it is due. In Redis an event is a kombu
envelope with a body in base64, which has no character that JSON would escape.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from json import JSONDecoder
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from bgtop.backends.celery.wire import body_of, instant, json_of
from bgtop.state.events import TaskEvent
from bgtop.task_events import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS: Final = {
    "task-sent": EventKind.SENT,
    "task-received": EventKind.RECEIVED,
    "task-started": EventKind.STARTED,
    "task-succeeded": EventKind.SUCCEEDED,
    "task-failed": EventKind.FAILED,
    "task-retried": EventKind.RETRIED,
    "task-revoked": EventKind.REVOKED,
    "task-rejected": EventKind.REJECTED,
    # The connection was lost and the task stopped; its message is delivered again.
    "task-cancelled": EventKind.RETRIED,
}

LONGEST: Final = 1024 * 1024
"""Bytes of a message: 24 failures with their tracebacks are some 100 kB."""

_LONGEST_NAME: Final = 255
_LONGEST_ID: Final = 200
_MOST_WORKERS: Final = 10_000
_MOST_SECONDS: Final = 2**53

_BODY: Final = b'"body": "'
_CODED: Final = b'"body_encoding": "base64"'
_decoded: Final = JSONDecoder().raw_decode
_NAME_OF_EXCEPTION: Final = re.compile(r"[^\W\d][\w.]{0,99}")
_OTHERS_EXCEPTION: Final = "ExceptionWithTraceback"
"""What billiard puts around exceptions of its own, whose ``repr`` says nothing then."""

_LONGEST_STATEMENT: Final = 10_000


class Presence(NamedTuple):
    """A worker says that it is there, or (``is_leaving``) that it takes nothing any more."""

    worker: str
    at: float | None
    """By its own clock."""
    clock: int | None
    """Celery's logical clock of this worker."""
    active: int | None
    processed: int | None
    is_leaving: bool


Told: TypeAlias = TaskEvent | Presence


def body_in(payload: bytes) -> object:
    """The body of an event in Redis: looked for in the bytes, as the envelope tells nothing else.

    ``None`` for what is no JSON.
    """
    if len(payload) > LONGEST:
        return None
    start = payload.find(_BODY)
    if start == -1 or _CODED not in payload:
        envelope = json_of(payload)
        return body_of(envelope) if isinstance(envelope, dict) else None
    start += len(_BODY)
    try:
        body: object = _decoded(a2b_base64(payload[start : payload.find(b'"', start)]).decode())[0]
    except (ValueError, RecursionError):
        return None
    return body


class Reader:
    """Reads bodies; remembers the names of workers, each of which is in memory once."""

    def __init__(self) -> None:
        self._workers: dict[tuple[object, object], str] = {}

    def read(self, body: object, take: Callable[[Told], object]) -> int:
        """Give all events of a body to ``take``; how many could not be understood."""
        unknown = 0
        for fields in body if isinstance(body, list) else (body,):
            told = self._told(fields) if isinstance(fields, dict) else None
            if told is not None:
                take(told)
            else:
                unknown += 1
        return unknown

    def _told(self, fields: dict[str, object]) -> Told | None:
        type_ = fields.get("type")
        kind = KINDS.get(type_) if isinstance(type_, str) else None
        if kind is not None:
            return self._task_event(kind, fields)
        worker = self._worker(fields)
        if worker is None:
            return None
        return Presence(
            worker,
            _seconds(fields.get("timestamp")),
            _whole(fields.get("clock")),
            _whole(fields.get("active")),
            _whole(fields.get("processed")),
            type_ == "worker-offline",
        )

    def _task_event(self, kind: EventKind, fields: dict[str, object]) -> TaskEvent | None:
        id_, at = fields.get("uuid"), _seconds(fields.get("timestamp"))
        if not isinstance(id_, str) or not 0 < len(id_) <= _LONGEST_ID or at is None:
            return None
        if kind is EventKind.SENT or kind is EventKind.RECEIVED:
            return self._call(kind, id_, at, fields)
        worker, runtime, exception = self._worker(fields), None, None
        if kind is EventKind.SUCCEEDED:
            runtime = _seconds(fields.get("runtime"))
        elif kind is not EventKind.STARTED:
            exception = _exception(fields)
        return TaskEvent(kind, id_, at, None, None, worker, runtime, exception)

    def _call(self, kind: EventKind, id_: str, at: float, fields: dict[str, object]) -> TaskEvent:
        """The two kinds that say what is to be done; the name of a producer says nothing."""
        task, eta = _name(fields.get("name")), fields.get("eta")
        due = instant(eta) if isinstance(eta, str) else None
        if kind is EventKind.SENT:
            queue = _name(fields.get("queue")) or _name(fields.get("routing_key"))
            return TaskEvent(kind, id_, at, task, queue, due=due)
        retries = _whole(fields.get("retries"))
        return TaskEvent(kind, id_, at, task, worker=self._worker(fields), due=due, retries=retries)

    def _worker(self, fields: dict[str, object]) -> str | None:
        """A worker is a process: who comes back under the same name is another one."""
        node, pid = fields.get("hostname"), fields.get("pid")
        if not isinstance(node, str) or not isinstance(pid, int | None):
            return None
        known = self._workers.get((node, pid))
        if known is None:
            if len(self._workers) >= _MOST_WORKERS:
                self._workers.clear()
            known = self._workers[node, pid] = f"{node[:_LONGEST_NAME]} {pid or ''}"
        return known


def _name(value: object) -> str | None:
    return value[:_LONGEST_NAME] if isinstance(value, str) and value else None


def _exception(fields: dict[str, object]) -> str | None:
    """The class of an exception that is told as its ``repr``; its words are nobody's business.

    Not every ``repr`` begins with it; then the end of the traceback says it.
    """
    said = fields.get("exception")
    found = _NAME_OF_EXCEPTION.match(said) if isinstance(said, str) else None
    name = found.group() if found else None
    if found and found.string[found.end() : found.end() + 1] == "(" and name != _OTHERS_EXCEPTION:
        return name
    # Who tries again without a reason says so in this word.
    return _raised(fields.get("traceback")) or (None if name == "None" else name)


def _raised(traceback: object) -> str | None:
    """The class in the first line behind the last place of a traceback."""
    if not isinstance(traceback, str):
        return None
    place = traceback.rfind("\n  File ") + 1
    lines = traceback[place : place + _LONGEST_STATEMENT].split("\n")[1:]
    said = next((line for line in lines if line and not line.startswith(" ")), "")
    found = _NAME_OF_EXCEPTION.match(said)
    return found.group().rpartition(".")[2] if found else None


def _seconds(value: object) -> float | None:
    if type(value) is float or type(value) is int:
        return float(value) if -_MOST_SECONDS < value < _MOST_SECONDS else None
    return None


def _whole(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < _MOST_SECONDS else None
