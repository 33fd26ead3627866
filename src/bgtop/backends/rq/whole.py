"""One job of RQ, whole: what is short and the sizes of the rest first, then what may be read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bgtop.backends.raw_names import text
from bgtop.backends.rq import job_wire, wire
from bgtop.backends.rq.job_wire import FIELDS, JobParts, of_decent_size
from bgtop.model import JobReading, JobState
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_search import Command
    from bgtop.backends.rq.jobs import Ask

_KIN = 100
"""Parents and children that are named."""
_LONG = {
    "description": wire.LONGEST_DESCRIPTION,
    "data": job_wire.LONGEST_DATA,
    "exc_info": job_wire.LONGEST_DATA,
}
_LONGEST_STREAM = 4 * job_wire.LONGEST_STREAM


def whole(ask: Ask, id_: str, labels: Mapping[bytes, str]) -> tuple[JobReading, ...]:
    """Everything about one job, in two round trips; empty if there is none of this id."""
    raw = id_.encode("utf-8", "replace")
    key = wire.job_key(raw)
    if key is None:
        return ()
    sizes: list[Command] = [("HSTRLEN", key, name) for name in _LONG]
    first = ask([("HMGET", key, *FIELDS), *sizes, ("MEMORY", "USAGE", job_wire.RESULTS + raw)])
    fields = job_wire.fields_of(first[0])
    if fields is None:
        return ()
    more = ask(_second(raw, key, fields["origin"], first[1:]))
    return (_told(raw, fields, labels, more),)


def _second(raw: bytes, key: bytes, origin: Reply, sizes: Sequence[Reply]) -> list[Command]:
    """What to ask next; a field that is too long is not asked for, by the name of none."""
    names = [
        name if of_decent_size(size, most) else "-"
        for (name, most), size in zip(_LONG.items(), sizes, strict=False)
    ]
    registry = wire.SCHEDULED + (origin if isinstance(origin, bytes) else b"")
    stream = job_wire.RESULTS + raw
    fits = of_decent_size(sizes[-1], _LONGEST_STREAM)
    return [
        ("HMGET", key, *names),
        ("HMGET", key, "dependency_ids", "dependency_id"),
        ("SSCAN", key + job_wire.DEPENDENTS, 0, "COUNT", _KIN),
        ("ZSCORE", registry, raw),
        ("ZSCORE", wire.SCHEDULER_JOBS, raw),
        *([("XREVRANGE", stream, "+", "-", "COUNT", 1)] if fits else []),
    ]


def _told(
    raw: bytes,
    fields: Mapping[str, Reply],
    labels: Mapping[bytes, str],
    more: Sequence[Reply],
) -> JobReading:
    long, parents, children, due, later, *ended = more
    description, data, exc_info = long if isinstance(long, list) else (None, None, None)
    ending = job_wire.ending_of(ended[0], whole=True) if ended else job_wire.old_error(exc_info)
    state, origin = job_wire.state_of(fields), fields["origin"]
    queue = labels.get(origin, text(origin)) if isinstance(origin, bytes) else None
    parts = JobParts(raw, fields, description, ending)
    score = due if isinstance(due, bytes) else later
    row = job_wire.reading_of(parts, state or JobState.DEFERRED, queue, score)
    args = job_wire.arguments_of(data)
    return replace(
        row,
        args=job_wire.call_arguments(description) if args is None else args[0],
        kwargs=None if args is None else args[1],
        error=ending.error if state is JobState.FAILED else None,
        result=ending.result,
        traceback=ending.traceback if state is JobState.FAILED else None,
        parents=_ids(parents),
        children=_kin(children),
        facts=job_wire.facts_of(fields, description),
        malformed=row.malformed or state is None,
    )


def _ids(reply: Reply) -> tuple[str, ...]:
    """The jobs that a job waits for: a JSON list, in old releases the id of one."""
    match reply:
        case [bytes(many), _] if len(many) <= job_wire.LONGEST_DATA:
            try:
                found = json.loads(many)
            except (ValueError, RecursionError):
                return ()
            return tuple(str(one) for one in found[:_KIN]) if isinstance(found, list) else ()
        case [_, bytes(one)]:
            return (text(one),)
    return ()


def _kin(reply: Reply) -> tuple[str, ...]:
    match reply:
        case [_, list() as members]:
            return tuple(sorted(text(one) for one in members[:_KIN] if isinstance(one, bytes)))
    return ()
