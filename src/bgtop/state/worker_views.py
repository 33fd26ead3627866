"""One worker, whole: what was heard of it and what it answered, merged. Pure.

The structures are documented in ``docs/reference/inspect.md``. What is not known is ``None``, and
whatever a worker says is checked before it is believed.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final, TypedDict

from bgtop.model import WorkerReading, WorkerState
from bgtop.state.redaction import redaction_of

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERYTHING: Final = (
    *("stats", "active_queues", "registered", "active", "reserved", "scheduled", "revoked"),
    *("conf", "clock"),
)
"""The questions whose answers fill a :class:`WorkerView`."""

_LARGEST: Final = 2**63
_LONGEST_NUMBER: Final = 18
"""Digits of one that is told as a text."""


class Heartbeat(TypedDict):
    """The last one that was heard; ``at`` is RFC 3339 in UTC."""

    at: str
    age_seconds: float


class Pool(TypedDict):
    """In what a worker runs its tasks."""

    implementation: str | None
    max_concurrency: int | None
    processes: list[int] | None
    threads: int | None
    max_tasks_per_child: int | None
    soft_time_limit: float | None
    hard_time_limit: float | None
    writes: dict[str, Any] | None


class Exchange(TypedDict):
    """Where the messages of a queue are sent to."""

    name: str | None
    type: str | None
    durable: bool | None


class ActiveQueue(TypedDict):
    """A queue a worker takes tasks from."""

    name: str
    exchange: Exchange | None
    routing_key: str | None
    durable: bool | None
    auto_delete: bool | None
    exclusive: bool | None
    arguments: dict[str, Any] | None


class Software(TypedDict):
    """What a worker is made of."""

    name: str | None
    version: str | None
    platform: str | None


class WorkerView(TypedDict):
    """Everything that is known of one worker."""

    name: str
    source: str
    system: str | None
    host: str | None
    pid: int | None
    status: str
    answered: list[str]
    heartbeat: Heartbeat | None
    started_at: str | None
    active: int | None
    processed: int | None
    processed_by_task: dict[str, int] | None
    load: list[float] | None
    cpu_percent: float | None
    rss_bytes: int | None
    pool: Pool | None
    prefetch_count: int | None
    rusage: dict[str, float] | None
    registered: list[str] | None
    queues: list[ActiveQueue] | None
    clock: int | None
    software: Software
    tasks: dict[str, list[Any]]
    revoked: list[str] | None
    conf: dict[str, Any] | None


def worker_view(
    source: tuple[str, str | None],
    name: str,
    heard: WorkerReading | None,
    answers: Mapping[str, object],
    at: datetime,
    *,
    asked: bool = True,
) -> WorkerView:
    """One worker of a place and system; if nobody was ``asked`` its silence says nothing."""
    known, said = heard or WorkerReading(name=name), _without_secrets(answers)
    stats = _fields(said.get("stats")) or {}
    counts = _counts(stats.get("total"))
    return WorkerView(
        name=name,
        source=source[0],
        system=source[1],
        host=known.host or name.partition("@")[2] or None,
        pid=_whole(stats.get("pid")) or known.pid,
        status="online" if answers else _status(heard, asked=asked),
        answered=sorted(key for key, value in said.items() if not _is_error(value)),
        heartbeat=_heartbeat(known, at),
        started_at=_began(stats, known, at),
        active=_active(said, known),
        processed=sum(counts.values()) if counts is not None else known.processed,
        processed_by_task=counts,
        load=[*known.load] if known.load else None,
        cpu_percent=known.cpu_percent,
        rss_bytes=known.rss_bytes,
        pool=_pool(_fields(stats.get("pool"))),
        prefetch_count=_whole(stats.get("prefetch_count")),
        rusage=_numbers(stats.get("rusage")),
        registered=_texts(said.get("registered")),
        queues=_queues(said.get("active_queues"), known),
        clock=_clock(said, stats),
        software=_software(known),
        tasks=_held(said),
        revoked=_texts(said.get("revoked")),
        conf=_fields(said.get("conf")),
    )


def _without_secrets(answers: Mapping[str, object]) -> dict[str, Any]:
    redaction = redaction_of("")
    return {key: redaction.value(value) if redaction else value for key, value in answers.items()}


def _began(stats: Mapping[str, object], heard: WorkerReading, at: datetime) -> str | None:
    uptime, began = _number(stats.get("uptime")), heard.started_at
    if uptime is not None:
        try:
            began = at - timedelta(seconds=uptime)
        except OverflowError:  # longer than there were years
            began = None
    return None if began is None else _moment(began)


def _held(said: Mapping[str, object]) -> dict[str, list[Any]]:
    return {
        key: [*value]
        for key in ("active", "reserved", "scheduled")
        if isinstance(value := said.get(key), list)
    }


def _status(heard: WorkerReading | None, *, asked: bool) -> str:
    """Of one that answered nothing."""
    state = WorkerState.DEAD if heard is None else heard.state
    if state is WorkerState.DEAD:
        return "offline"
    if asked:
        return "silent"
    return "unknown" if state in {None, WorkerState.UNKNOWN} else "online"


def _active(said: Mapping[str, object], heard: WorkerReading) -> int | None:
    held = said.get("active")
    return len(held) if isinstance(held, list) else heard.running


def _heartbeat(heard: WorkerReading, at: datetime) -> Heartbeat | None:
    if heard.last_heartbeat_at is None:
        return None
    age = max((at - heard.last_heartbeat_at).total_seconds(), 0.0)
    return Heartbeat(at=_moment(heard.last_heartbeat_at), age_seconds=round(age, 3))


def _pool(pool: Mapping[str, object] | None) -> Pool | None:
    if pool is None:
        return None
    processes, threads, limits = pool.get("processes"), pool.get("threads"), pool.get("timeouts")
    soft, hard = limits if isinstance(limits, list) and len(limits) == 2 else (None, None)
    return Pool(
        implementation=_text(pool.get("implementation")),
        max_concurrency=_whole(pool.get("max-concurrency")),
        processes=[one for one in processes if _whole(one) is not None]
        if isinstance(processes, list)
        else None,
        threads=len(threads) if isinstance(threads, list) else _whole(threads),
        max_tasks_per_child=_whole(pool.get("max-tasks-per-child")),
        # Celery says 0 where there is none.
        soft_time_limit=_number(soft) or None,
        hard_time_limit=_number(hard) or None,
        writes=_fields(pool.get("writes")),
    )


def _queues(said: object, heard: WorkerReading) -> list[ActiveQueue] | None:
    if isinstance(said, list):
        rows = [row for row in map(_fields, said) if row is not None]
        return [_queue(row) for row in rows if _text(row.get("name"))]
    names = heard.queues
    return None if names is None else [_queue({"name": name}) for name in names]


def _queue(row: Mapping[str, object]) -> ActiveQueue:
    exchange = _fields(row.get("exchange"))
    return ActiveQueue(
        name=str(row["name"]),
        exchange=None
        if exchange is None
        else Exchange(
            name=_text(exchange.get("name")),
            type=_text(exchange.get("type")),
            durable=_flag(exchange.get("durable")),
        ),
        routing_key=_text(row.get("routing_key")),
        durable=_flag(row.get("durable")),
        auto_delete=_flag(row.get("auto_delete")),
        exclusive=_flag(row.get("exclusive")),
        arguments=_fields(row.get("queue_arguments")),
    )


def _software(heard: WorkerReading) -> Software:
    name, _, version = (heard.version or "").partition(" ")
    return Software(name=name or None, version=version or None, platform=heard.platform)


def _clock(said: Mapping[str, object], stats: Mapping[str, object]) -> int | None:
    """A worker tells it as a number, or as a text."""
    clock = (_fields(said.get("clock")) or stats).get("clock")
    if isinstance(clock, str):
        return int(clock) if clock.isdecimal() and len(clock) <= _LONGEST_NUMBER else None
    return _whole(clock)


def _is_error(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("error"), str)


def _moment(at: datetime) -> str:
    return at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(value: object) -> dict[str, Any] | None:
    return value if isinstance(value, dict) and not _is_error(value) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(values: object) -> list[str] | None:
    return [one for one in values if isinstance(one, str)] if isinstance(values, list) else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST
    return value if known and isinstance(value, int) else None


def _number(value: object) -> float | None:
    """One that can be reckoned with: JSON as Python reads it also knows what is no number."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not known or not isinstance(value, (int, float)):
        return None
    return float(value) if -_LARGEST < value < _LARGEST else None


def _numbers(values: object) -> dict[str, float] | None:
    fields = _fields(values)
    return None if fields is None else {k: v for k, v in fields.items() if _number(v) is not None}


def _counts(values: object) -> dict[str, int] | None:
    fields = _fields(values)
    if fields is None:
        return None
    return {key: count for key, value in fields.items() if (count := _whole(value)) is not None}
