"""What a process says of itself where the application has added ``bgtop.agents.dramatiq.Agent``.

The agent writes one JSON object into a string that expires. It is read like everything else in a
broker: bounded, and believed field by field.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import NamedTuple

from bgtop.backends.dramatiq.wire import milliseconds, parsed
from bgtop.model import CurrentTask

LONGEST = 64 * 1024
"""Bytes of the string that are read."""

_LONGEST_WORD = 512
_MOST_ITEMS = 1_000


class Words(NamedTuple):
    """One process in its own words; ``None`` where it said nothing that can be understood."""

    works: bool
    """Whether it is a worker at all; a process that only enqueues says so."""
    left: bool
    """Whether it has ended in good order."""
    host: str | None
    pid: int | None
    started_at: datetime | None
    version: str | None
    threads: int | None
    queues: tuple[str, ...] | None
    processed: int | None
    failed: int | None
    current: tuple[CurrentTask, ...] | None
    running_in: tuple[str, ...]
    """The queue of each of the ``current`` tasks."""
    counts: object = None
    """What it has done by task, as it says it; read by who wants to know."""


def words_in(raw: bytes) -> Words | None:
    """Read what an agent wrote; ``None`` for anything else."""
    fields = parsed(raw)
    if not isinstance(fields, dict) or fields.get("agent") != "dramatiq":
        return None
    running = [task for task in map(_task, _items(fields.get("current")) or ()) if task]
    known = isinstance(fields.get("current"), list)
    queues = _items(fields.get("queues"))
    return Words(
        works=fields.get("worker") is not False,
        left=fields.get("left") is True,
        host=_word(fields.get("host")),
        pid=_count(fields.get("pid")),
        started_at=_moment(fields.get("started_at")),
        version=_word(fields.get("version")),
        threads=_count(fields.get("threads")),
        queues=None if queues is None else tuple(sorted({q for q in queues if isinstance(q, str)})),
        processed=_count(fields.get("processed")),
        failed=_count(fields.get("failed")),
        current=tuple(task for task, _ in running) if known else None,
        running_in=tuple(queue for _, queue in running),
        counts=fields.get("counts"),
    )


def _items(value: object) -> list[object] | None:
    return value[:_MOST_ITEMS] if isinstance(value, list) else None


def _task(value: object) -> tuple[CurrentTask, str] | None:
    if not isinstance(value, dict):
        return None
    known = [_word(value.get(name)) for name in ("id", "actor", "queue")]
    identity, actor, queue = known
    if identity is None or actor is None or queue is None:
        return None
    started_at = _moment(value.get("started_at"))
    return CurrentTask(id=identity, name=actor, started_at=started_at), queue


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_WORD else None


def _count(value: object) -> int | None:
    # A bool is an int to Python, and JSON knows numbers no counter reaches.
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 2**53 else None


def _moment(value: object) -> datetime | None:
    seconds = milliseconds(value)
    if seconds is None or seconds > 253_402_300_799:  # the end of the year 9999
        return None
    return datetime.fromtimestamp(seconds, timezone.utc)
