"""What a task left in a result backend on Redis: read by its id, never searched for.

Facts from Celery 4.4 and 5.7 (``backends/base.py``): the key ``celery-task-meta-<id>`` holds JSON
with ``status``, ``result``, ``traceback``, ``date_done``, and with ``result_extended`` also
``name``, ``args``, ``kwargs``, ``worker``, ``retries`` and ``queue`` (the routing key it came
with). Results in another form (pickle, compressed) are not read.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.celery.grants import granted
from bgtop.backends.celery.task_messages import cut, in_words, moment, named
from bgtop.backends.celery.wire import instant, json_of
from bgtop.backends.redis_link import pack
from bgtop.contracts import NotPermitted
from bgtop.model import JobReading, JobState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_link import RedisLink

    Fields = Mapping[str, object]

KEY = b"celery-task-meta-"
LARGEST = 256 * 1024
"""Of larger results only both ends are read, which have the status and the time."""

READY = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})

_END = 2 * 1024
_MOST_CHILDREN = 100
_STATES = {
    "PENDING": JobState.WAITING,
    "RECEIVED": JobState.WAITING,
    "STARTED": JobState.RUNNING,
    "RETRY": JobState.SCHEDULED,
    "SUCCESS": JobState.SUCCEEDED,
    "FAILURE": JobState.FAILED,
    "REVOKED": JobState.CANCELLED,
}
_REVOKED: Fields = {
    "status": "REVOKED",
    "result": {
        "exc_type": "TaskRevokedError",
        "exc_message": ["revoked"],
        "exc_module": "celery.exceptions",
    },
    "traceback": None,
    "children": [],
}
_ABORTED: Fields = {"status": "ABORTED", "result": None, "traceback": None, "children": []}
_SECONDS_KEPT = 86_400
"""As long as Celery keeps results, unless an application says otherwise."""

_STATUS = re.compile(rb'\A\{"status": ?"([A-Z]{1,32})"')
_DONE = re.compile(rb'"date_done": ?"([^"\\]{1,40})"')


class Stored(NamedTuple):
    """One result as it is stored; ``fields`` is empty where it cannot be read."""

    key: bytes
    raw: bytes
    fields: Fields
    size: int


class Results:
    """One result backend, asked for single results; ``close`` frees a link of its own."""

    def __init__(self, link: RedisLink, *, own: bool) -> None:
        self.link = link
        self.own = own
        """Whether it has another connection than the broker's."""

    def find(self, job_id: str, prefixes: Iterable[bytes]) -> Stored | None:
        """The result of this task under any of the key prefixes, in two round trips.

        Raises:
            BackendError: when the server cannot be used, or does not let us read results.
        """
        name = KEY + job_id.encode("utf-8", "surrogatepass")
        keys = [prefix + name for prefix in dict.fromkeys((b"", *prefixes))]
        sizes = self.link.exchange(pack(*(("STRLEN", key) for key in keys)))
        for key, size in zip(keys, sizes, strict=True):
            if isinstance(size, int) and size:
                return self._read(key, size)
        refused = next((reply for reply in sizes if str(reply).startswith("NOPERM")), None)
        if refused is not None and not any(isinstance(size, int) for size in sizes):
            raise NotPermitted(f"{self.link.address.place} does not let us read results")
        return None

    def _read(self, key: bytes, size: int) -> Stored | None:
        if size <= LARGEST:
            (raw,) = self.link.exchange(pack(("GET", key)))
            fields = json_of(raw) if isinstance(raw, bytes) else None
            known = fields if isinstance(fields, dict) else {}
            return Stored(key, raw, known, size) if isinstance(raw, bytes) else None
        ends = (("GETRANGE", key, 0, _END), ("GETRANGE", key, size - _END, -1))
        head, tail = self.link.exchange(pack(*ends))
        return Stored(key, b"", _ends(head, tail), size)

    def change(self, stored: Stored, fields: Fields) -> bool:
        """Replace a result, keeping its time to live; ``False`` when it has changed meanwhile."""
        script = (
            "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
            "local left = redis.call('PTTL', KEYS[1]) "
            "redis.call('SET', KEYS[1], ARGV[2]) "
            "if left > 0 then redis.call('PEXPIRE', KEYS[1], left) end "
            "return 1"
        )
        raw = json.dumps(fields).encode()
        reply = self.link.exchange(pack(("EVAL", script, 1, stored.key, stored.raw, raw)))[0]
        return granted(reply, self.link, "change a result") == 1

    def revoke(self, job_id: str, stored: Stored | None) -> None:
        """Tell whoever waits for the result of a task that it was withdrawn.

        As a worker would that discards it; only where we were told that results are kept.
        """
        if self.own or stored:
            self._end(job_id, stored, _REVOKED)

    def abort(self, job_id: str, stored: Stored | None) -> bool:
        """Tell a task that looks for it that it is to end; ``False`` when it has ended.

        As ``AbortableAsyncResult.abort`` does. Raises :class:`BackendError`.
        """
        return self._end(job_id, stored, _ABORTED)

    def _end(self, job_id: str, stored: Stored | None, how: Fields) -> bool:
        """Store this, unless the task has ended."""
        status = None if stored is None else stored.fields.get("status", "")
        if _STATES.get(str(status or "PENDING")) in READY:
            return False
        fields = {**(stored.fields if stored else {}), **how, "task_id": job_id}
        fields["date_done"] = datetime.now(timezone.utc).isoformat()
        key = KEY + job_id.encode("utf-8", "surrogatepass") if stored is None else stored.key
        raw = json.dumps(fields).encode()
        if stored is not None:
            changed: Reply = int(self.change(stored, fields))
        else:
            changed = self.link.exchange(pack(("SET", key, raw, "NX", "EX", _SECONDS_KEPT)))[0]
        if not granted(changed, self.link, "store a result"):
            return False
        self.link.exchange(pack(("PUBLISH", key, raw)))
        return True

    def forget(self, stored: Stored | None) -> bool:
        """Delete a result; whether it was there."""
        if stored is None:
            return False
        reply = self.link.exchange(pack(("DEL", stored.key)))[0]
        return granted(reply, self.link, "delete a result") == 1

    def close(self) -> None:
        """Free the connection, unless it is the broker's."""
        if self.own:
            self.link.close()


def _ends(head: Reply, tail: Reply) -> Fields:
    status = _STATUS.match(head) if isinstance(head, bytes) else None
    done = _DONE.search(tail) if isinstance(tail, bytes) else None
    found: dict[str, object] = {} if status is None else {"status": status[1].decode()}
    if done is not None:
        found["date_done"] = done[1].decode("ascii", "replace")
    return found


def job_of(job_id: str, stored: Stored, room: int) -> JobReading | None:
    """The job a result tells of; ``None`` when it cannot be read."""
    fields = stored.fields
    status = named(fields.get("status"))
    if status is None:
        return None
    state = _STATES.get(status, JobState.RUNNING)
    ended, retries = state in READY, fields.get("retries")
    done = fields.get("date_done")
    traceback = fields.get("traceback")
    parent = named(fields.get("parent_id"))
    started = state is not JobState.WAITING
    return JobReading(
        id=job_id,
        state=state,
        name=named(fields.get("name")),
        queue=named(fields.get("queue")),
        worker=named(fields.get("worker")),
        args=_argument(fields.get("args"), room),
        kwargs=_argument(fields.get("kwargs"), room),
        ended_at=moment(instant(done)) if ended and isinstance(done, str) else None,
        attempts=retries + started if isinstance(retries, int) and 0 <= retries < 2**31 else None,
        result=_outcome(state, stored, room),
        error=_error(fields.get("result")),
        traceback=cut(traceback, room) if isinstance(traceback, str) else None,
        parents=(parent,) if parent else (),
        children=_children(fields.get("children")),
        facts=_facts(stored, status),
    )


def _argument(value: object, room: int) -> str | None:
    if isinstance(value, str):  # as older releases store them: a text of Python
        return cut(value, room)
    return None if value is None else in_words(value, room)


def _outcome(state: JobState, stored: Stored, room: int) -> str | None:
    if state is not JobState.SUCCEEDED or "result" not in stored.fields:
        return None
    return in_words(stored.fields["result"], room)


def _error(result: object) -> str | None:
    """The last line as Python would write it; ``exc_message`` is what the exception was given."""
    if not isinstance(result, dict) or not isinstance(result.get("exc_type"), str):
        return None
    said = result.get("exc_message")
    parts = said if isinstance(said, list) else [said]
    words = ", ".join(str(part) for part in parts if part not in (None, ""))
    kind = result["exc_type"]
    return cut(f"{kind}: {words}" if words else kind, 500)


def _children(value: object) -> tuple[str, ...]:
    """The ids in ``children``: results as nested lists of ``[[id, parent], children]``."""
    found = []
    for child in value if isinstance(value, list) else []:
        first = child[0] if isinstance(child, list) and child else None
        job_id = first[0] if isinstance(first, list) and first else first
        if (text := named(job_id)) is not None:
            found.append(text)
    return tuple(found[:_MOST_CHILDREN])


def _facts(stored: Stored, status: str) -> tuple[tuple[str, str], ...]:
    found = []
    if status not in _STATES:
        found.append(("status", status))
    if not stored.raw:
        found.append(("result", f"{stored.size:,} bytes: too large to be read"))
    group = named(stored.fields.get("group_id"))
    if group:
        found.append(("group", group))
    return tuple(found)
