"""What celery-redbeat keeps in Redis of the tasks that run by the clock.

Celery's own beat keeps its schedule in a file beside it, which is not to be seen from here. Facts
from celery-redbeat 2.4 (``schedulers.py``, ``decoder.py``): the zset ``<prefix>:schedule`` holds
the key of each entry with the time it is due, -1 for never; the entry is a hash with ``definition``
and ``meta``, JSON in which schedules and times are objects with ``__type__``. The prefix is
``redbeat:`` by default, which another colon follows: ``redbeat::schedule``.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from bgtop.backends.celery.grants import granted
from bgtop.backends.celery.task_messages import clean, cut, moment, named
from bgtop.backends.celery.wire import json_of
from bgtop.backends.redis_link import pack
from bgtop.contracts import BackendError
from bgtop.model import ScheduleReading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgtop.backends.redis_link import RedisLink

    Fields = Mapping[str, object]

MOST_ENTRIES = 1_000
LARGEST_FIELD = 64 * 1024

_CRON = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


class RedBeat:
    """The schedule under one key."""

    def __init__(self, link: RedisLink, key: bytes) -> None:
        self._link = link
        self._prefix = key.removesuffix(b":schedule")
        self._key = key
        self.trouble: str | None = None
        """Why the schedule was not read the last time."""

    def schedules(self) -> tuple[ScheduleReading, ...] | None:
        """All entries by name, in three round trips; ``None`` when they may not be read.

        Raises:
            BackendError: when the server cannot be used.
        """
        self.trouble = None
        listing = ("ZRANGE", self._key, 0, MOST_ENTRIES - 1, "WITHSCORES")
        (reply,) = self._link.exchange(pack(listing))
        try:
            granted(reply, self._link, "read the schedule")
        except BackendError as fault:
            self.trouble = str(fault)
            return None
        flat = [one for one in reply if isinstance(one, bytes)] if isinstance(reply, list) else []
        scores = dict(zip(flat[::2], flat[1::2], strict=False))
        if not scores:
            return ()
        fields = [(key, field) for key in scores for field in ("definition", "meta")]
        sizes = self._link.exchange(pack(*(("HSTRLEN", *one) for one in fields)))
        small = [
            one
            for one, size in zip(fields, sizes, strict=True)
            if isinstance(size, int) and 0 < size <= LARGEST_FIELD
        ]
        read = self._link.exchange(pack(*(("HGET", *one) for one in small))) if small else []
        texts = dict(zip(small, read, strict=True))
        found = [
            self._entry(key, float(due), texts.get((key, "definition")), texts.get((key, "meta")))
            for key, due in scores.items()
        ]
        return tuple(sorted(found, key=lambda one: one.name))

    def _entry(self, key: bytes, due: float, definition: object, meta: object) -> ScheduleReading:
        known, more = _fields(definition), _fields(meta)
        options = known.get("options")
        enabled = known.get("enabled")
        label = key.removeprefix(self._prefix).decode("utf-8", "backslashreplace")
        return ScheduleReading(
            name=named(known.get("name")) or cut(label, 512),
            task=named(known.get("task")),
            queue=named(options.get("queue")) if isinstance(options, dict) else None,
            rule=_rule(known.get("schedule")),
            next_at=moment(due) if due >= 0 and enabled is not False else None,
            last_at=_time(more.get("last_run_at")),
            enabled=enabled if isinstance(enabled, bool) else None,
        )


def _fields(raw: object) -> Fields:
    content = json_of(raw) if isinstance(raw, bytes) else None
    return content if isinstance(content, dict) else {}


def _rule(schedule: object) -> str | None:
    """A cron line, or how often; other rules are named only."""
    if not isinstance(schedule, dict):
        return None
    kind = schedule.get("__type__")
    if kind == "interval":
        every = schedule.get("every")
        return f"every {every:g}s" if isinstance(every, (int, float)) else None
    if kind == "crontab":
        parts = [schedule.get(part, "*") for part in _CRON]
        return cut(" ".join(clean(str(part)).replace(" ", "") for part in parts), 200)
    return named(kind)


def _time(value: object) -> datetime | None:
    """A time as redbeat writes it, by the name of its zone or its offset in seconds."""
    if not isinstance(value, dict) or value.get("__type__") != "datetime":
        return None
    parts = [
        value.get(part, 0)
        for part in ("year", "month", "day", "hour", "minute", "second", "microsecond")
    ]
    zone = value.get("timezone", "UTC")
    try:
        offset = timezone(timedelta(seconds=zone)) if isinstance(zone, (int, float)) else None
        from zoneinfo import ZoneInfo

        local = datetime(*parts, tzinfo=offset or ZoneInfo(str(zone)))  # type: ignore[misc]
        return local.astimezone(timezone.utc)
    except (TypeError, ValueError, KeyError, OverflowError, OSError):
        return None
