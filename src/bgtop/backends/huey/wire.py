"""Huey's bytes in Redis, decoded. Nothing here trusts its input.

Facts from Huey 2.5 and 3.5 (``huey/storage.py``) and live consumers: ``huey.redis.<name>`` is a
list (LPUSH, BRPOP) or, with priorities, a sorted set of 8 bytes of microseconds and a pickle,
scored by the negative priority; ``huey.schedule.<name>`` is a sorted set. Of an application's
name Huey 2 keeps ``[a-z0-9]``, Huey 3 ``[A-Za-z0-9_]``, or all of it with ``clean_name=False``.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.raw_names import text

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

WAITING = b"huey.redis."
SCHEDULE = b"huey.schedule."
RESULTS = b"huey.results."
EXPIRING = b"huey.r."
"""Followed by the name of the queue, a dot, and the id of a task whose result expires."""

PATTERN = b"huey.[rs][ec][dhs]*"
"""Matches the three above, but not ``huey.r.<name>.<id>``, of which each result may have one."""

_EARLIEST = 946_684_800
"""The year 2000: what claims to be older was not written by Huey."""


def name_in(key: bytes) -> bytes | None:
    """``mail`` of ``huey.redis.mail``; ``None`` for keys that name no queue."""
    for prefix in (WAITING, SCHEDULE, RESULTS):
        if key.startswith(prefix):
            return key[len(prefix) :] or None
    return None


def enqueued_at(member: bytes) -> float | None:
    """When a member of a priority queue was put, in seconds since the epoch of its producer."""
    if len(member) < 8:
        return None
    seconds = int.from_bytes(member[:8], "big") / 1e6
    return seconds if _EARLIEST < seconds < 2**40 else None


def priority_step(score: object) -> float | None:
    """A score as Redis writes it; ``None`` for what cannot be one."""
    try:
        return float(score) if isinstance(score, bytes) and len(score) < 64 else None
    except ValueError:
        return None


def priority_of(score: bytes) -> int | None:
    """What the application called the priority, of the score of a job."""
    step = priority_step(score)
    return -int(step) if step is not None and isfinite(step) and step.is_integer() else None


class Signs(NamedTuple):
    """What a database's connections have in common with those of a Huey consumer."""

    waiting: frozenset[bytes]
    """The connections, by id, that are blocked in BRPOP or BZPOPMIN: idle workers."""
    scheduling: int
    """Connections whose last command, a moment ago, was EVALSHA: schedulers."""
    there: frozenset[bytes] = frozenset()
    """All connections, by id."""


NO_SIGNS = Signs(frozenset(), 0)

_SCHEDULER_IDLE = 2.0
"""Seconds; a scheduler asks every second unless its consumer was told otherwise."""

_TIMEOUTS = range(1, 5)
"""How long the timeout of a blocking pop may be when it is written: ``1`` to ``2.75``."""


def signs_of(clients: bytes, db: int, queues: Collection[bytes] = ()) -> Signs:
    """Read the answer to CLIENT LIST; our own connection neither blocks nor runs scripts.

    The key that somebody waits for is not told, but since Redis 7 how many bytes the command has:
    who waits for another number of them than one of these ``queues`` takes is another program.
    """
    sizes = {len(WAITING) + len(name) + digits for name in queues for digits in _TIMEOUTS}
    waiting, there, scheduling = set(), set(), 0
    for line in clients.splitlines():
        fields = dict(pair.partition(b"=")[::2] for pair in line.split(b" "))
        if fields.get(b"db") != b"%d" % db:
            continue
        command, place = fields.get(b"cmd"), fields.get(b"id", line)
        there.add(place)
        if command in (b"brpop", b"bzpopmin") and b"b" in fields.get(b"flags", b""):
            size = fields.get(b"argv-mem", b"0")
            if not sizes or size == b"0" or _number(size) - len(command) in sizes:
                waiting.add(place)
        elif command == b"evalsha" and _number(fields.get(b"idle")) <= _SCHEDULER_IDLE:
            scheduling += 1
    return Signs(frozenset(waiting), scheduling, frozenset(there))


def connected_clients(info: object) -> int | None:
    """How many connections the answer to ``INFO clients`` counts."""
    for line in info.splitlines() if isinstance(info, bytes) else ():
        name, _, value = line.partition(b":")
        if name == b"connected_clients" and value.isdigit():
            return int(value)
    return None


def _number(raw: bytes | None) -> float:
    return float(raw) if raw is not None and raw.isdigit() else float("inf")


AGENTS = b"bgtop:huey"
"""A sorted set of the agents' names, by when each was last heard; kept by the agents."""

AGENT_FIELDS = (
    *("queue", "host", "pid", "ttl", "beat", "started", "concurrency"),
    *("running", "processed", "failed", "version", "current", "counts"),
)

_LONGEST_FIELD = 16 * 1024
_MOST_TASKS = 100
_LONGEST_TTL = 3_600.0


class Beat(NamedTuple):
    """What an agent says of its consumer process; times are seconds by the agent's clock."""

    queue: str
    host: str | None
    pid: int | None
    ttl: float
    beat: float | None
    started: float | None
    concurrency: int | None
    running: int | None
    processed: int | None
    failed: int | None
    version: str | None
    current: tuple[tuple[str, str, float | None], ...] | None
    counts: str | None = None
    """JSON of what it has done by task, as it says it."""


def read_beat(values: Sequence[object]) -> Beat | None:
    """The fields of an agent's hash, in the order of ``AGENT_FIELDS``; ``None`` if it is none."""
    raw = dict(zip(AGENT_FIELDS, map(_field, values), strict=False))
    queue, ttl = raw.get("queue"), _moment(raw.get("ttl"))
    if not queue or ttl is None or not 0 < ttl <= _LONGEST_TTL:
        return None
    return Beat(
        queue=queue,
        host=raw["host"],
        pid=_count(raw["pid"]),
        ttl=ttl,
        beat=_moment(raw["beat"]),
        started=_moment(raw["started"]),
        concurrency=_count(raw["concurrency"]),
        running=_count(raw["running"]),
        processed=_count(raw["processed"]),
        failed=_count(raw["failed"]),
        version=raw["version"],
        current=_tasks(raw["current"]),
        counts=raw.get("counts"),
    )


def _field(value: object) -> str | None:
    return text(value) if isinstance(value, bytes) and len(value) <= _LONGEST_FIELD else None


def _count(word: str | None) -> int | None:
    plain = word is not None and word.isascii() and word.isdigit() and len(word) < 16
    return int(word) if plain and word is not None else None


def _moment(word: str | None) -> float | None:
    try:
        value = float(word) if word is not None and len(word) < 64 else None
    except ValueError:
        return None
    return value if value is not None and isfinite(value) and 0 <= value < 2**33 else None


def _tasks(word: str | None) -> tuple[tuple[str, str, float | None], ...] | None:
    import json

    try:
        listed = json.loads(word) if word is not None else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(listed, list):
        return None
    found = []
    for entry in listed[:_MOST_TASKS]:
        match entry:
            case [str(id), str(name), int() | float() as started]:
                found.append((id, name, _moment(str(started))))
    return tuple(found)
