"""What a worker says of itself, as the tables of its page: pure, and every text made harmless."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bgtop.jobs import JobState
from bgtop.view.text import UNKNOWN, clean, duration, size

if TYPE_CHECKING:
    from bgtop.state.worker_views import ActiveQueue, WorkerView

MOST_ROWS: Final = 500
"""Rows of a table that are shown."""

_LONGEST: Final = 500
_KIB: Final = 1024


class Panel(NamedTuple):
    """A table under a title; ``rows`` is ``None`` where the worker did not tell.

    ``hidden``: how many rows more there are. ``short``: it is worth to be seen at once. ``names``:
    what the first column names, which may then be chosen from. ``deeds``: what may be done to the
    job that it names.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[list[str]] | None
    empty: str = "none"
    hidden: int = 0
    short: bool = False
    names: str = ""
    deeds: Sequence[str] = ()


def panels_of(view: WorkerView, deeds: Mapping[JobState, Sequence[str]]) -> list[Panel]:
    """Everything a worker answered, in the order in which it is of use.

    ``deeds``: what may be done to the jobs it holds.
    """
    tasks = view["tasks"]
    told = view["queues"] if "active_queues" in view["answered"] else None
    queues = None if told is None else map(_queue, told)
    conf = view["conf"]
    return [
        Panel("Pool", _FACT, [*_shown(_pool(view))], short=True),
        Panel("Process", _FACT, [*_shown(_process(view))], short=True),
        _table(
            "Queues it takes from",
            _QUEUE,
            queues,
            short=True,
        ),
        _held("Active", tasks.get("active"), deeds.get(JobState.RUNNING, ())),
        _held("Reserved", tasks.get("reserved"), deeds.get(JobState.WAITING, ())),
        _held("Scheduled", tasks.get("scheduled"), deeds.get(JobState.SCHEDULED, ())),
        _table("Revoked", ("ID",), _singles(view["revoked"])),
        _table("Registered tasks", ("TASK", "BEGUN"), _registered(view))._replace(names="task"),
        _table("Configuration", ("SETTING", "VALUE"), conf and sorted(conf.items())),
    ]


_FACT: Final = ("", "")
_QUEUE: Final = ("QUEUE", "EXCHANGE", "TYPE", "ROUTING KEY", "DURABLE", "AUTO-DELETE", "ARGUMENTS")
_TASK: Final = ("ID", "TASK", "ARGUMENTS", "SINCE OR DUE", "PROCESS")


def _held(title: str, held: Sequence[Any] | None, deeds: Sequence[str]) -> Panel:
    return _table(title, _TASK, _tasks(held))._replace(deeds=deeds)


def _table(
    title: str,
    columns: tuple[str, ...],
    rows: Iterable[Sequence[Any]] | None,
    *,
    short: bool = False,
) -> Panel:
    if rows is None:
        return Panel(title, columns, None)
    every = list(rows)
    shown = [*_shown(every[:MOST_ROWS])]
    return Panel(title, columns, shown, hidden=max(0, len(every) - MOST_ROWS), short=short)


def _shown(rows: Iterable[Sequence[Any]]) -> Iterable[list[str]]:
    return ([_text(value) for value in row] for row in rows)


def _text(value: Any) -> str:
    """A value as one reads it; what is not known is “–”."""
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (dict, list)):
        return clean(json.dumps(value, ensure_ascii=False), _LONGEST) if value else "none"
    return clean(str(value), _LONGEST)


def _singles(values: Iterable[Any] | None) -> list[list[Any]] | None:
    return None if values is None else [[value] for value in values]


def _registered(view: WorkerView) -> list[list[Any]] | None:
    names, counts = view["registered"], view["processed_by_task"]
    if names is None:
        return None
    begun = {} if counts is None else {name: counts.get(_bare(name), 0) for name in names}
    return [[name, begun.get(name)] for name in names]


def _bare(registered: str) -> str:
    """The name of a task without the limits Celery writes behind it."""
    return registered.partition(" [")[0]


def _pool(view: WorkerView) -> list[tuple[str, Any]]:
    pool: Mapping[str, Any] = view["pool"] or {}
    processes, writes = pool.get("processes"), pool.get("writes") or {}
    return [
        ("Kind", _kind(pool.get("implementation"))),
        ("Max concurrency", pool.get("max_concurrency")),
        ("Processes", None if processes is None else len(processes)),
        ("Process ids", None if processes is None else ", ".join(map(str, processes))),
        ("Threads", pool.get("threads")),
        ("Tasks per child", pool.get("max_tasks_per_child")),
        ("Soft time limit", _seconds(pool.get("soft_time_limit"))),
        ("Hard time limit", _seconds(pool.get("hard_time_limit"))),
        ("Writes", writes.get("total")),
        ("Writes by process", writes.get("raw")),
        ("Writes on average", writes.get("avg")),
        ("Strategy of writes", writes.get("strategy")),
        ("Prefetch", view["prefetch_count"]),
    ]


def _kind(implementation: str | None) -> str | None:
    """Celery's own pools by the name they are chosen by, others whole."""
    known = (implementation or "").removeprefix("celery.concurrency.")
    return implementation if known == implementation else known.partition(":")[0]


def _process(view: WorkerView) -> list[tuple[str, Any]]:
    used: Mapping[str, float] = view["rusage"] or {}
    software, peak = view["software"], used.get("maxrss")
    made_of = " ".join(filter(None, (software["name"], software["version"], software["platform"])))
    known = {"utime", "stime", "maxrss"}
    return [
        ("Status", view["status"]),
        ("Process id", view["pid"]),
        ("Began", view["started_at"]),
        ("Tasks begun", view["processed"]),
        ("Load of its machine", view["load"] and " ".join(f"{one:g}" for one in view["load"])),
        ("Clock", view["clock"]),
        ("Software", made_of),
        ("CPU in user code", _seconds(used.get("utime"))),
        ("CPU in the kernel", _seconds(used.get("stime"))),
        ("Largest RSS", size(int(peak) * _KIB) if peak and math.isfinite(peak) else None),
        *(
            (name, f"{value:g}")
            for name, value in sorted(used.items())
            if name not in known and value
        ),
    ]


def _seconds(value: float | None) -> str | None:
    return None if value is None or not math.isfinite(value) else duration(value)


def _queue(queue: ActiveQueue) -> list[Any]:
    exchange: Mapping[str, Any] = queue["exchange"] or {}
    return [
        queue["name"],
        exchange.get("name"),
        exchange.get("type"),
        queue["routing_key"],
        queue["durable"],
        queue["auto_delete"],
        queue["arguments"],
    ]


def _tasks(held: Sequence[Any] | None) -> list[list[Any]] | None:
    return None if held is None else [_task(one) for one in held if isinstance(one, dict)]


def _task(held: Mapping[str, Any]) -> list[Any]:
    request = held.get("request")
    known: Mapping[str, Any] = request if isinstance(request, dict) else held
    arguments = [one for key in ("args", "kwargs") if (one := known.get(key))]
    words = " ".join(one if isinstance(one, str) else json.dumps(one) for one in arguments)
    when = held.get("eta") or _moment(known.get("time_start"))
    return [known.get("id"), known.get("name"), words, when, known.get("worker_pid")]


def _moment(at: Any) -> str | None:
    """Epoch seconds as a time; a worker may say anything."""
    from datetime import datetime, timezone

    if isinstance(at, bool) or not isinstance(at, (int, float)):
        return None
    try:
        moment = datetime.fromtimestamp(at, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
