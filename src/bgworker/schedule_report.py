"""What ``bgworker schedule`` shows: as text for people, as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bgworker.report import inspector, iso, table
from bgworker.standing import Standing


def look_at_schedules(url: str) -> tuple[Standing, ...]:
    """All schedules, enabled or not, in the order of their names.

    Raises:
        BadUrl: the URL is another engine's.
        UnusableDatabase: there is no queue in this file, or a newer one.
        QueueUnavailable: it cannot be read right now.
    """
    found = inspector(url)
    try:
        return found.schedules()
    finally:
        found.close()


def schedules_json(schedules: Sequence[Standing]) -> str:
    """A list; the keys are explained in ``docs/reference/json.md``."""
    return json.dumps([_schedule(one) for one in schedules])


def schedules_text(schedules: Sequence[Standing]) -> str:
    """A table with one line per schedule."""
    heads = ["TASK", "SCHEDULE", "TZ", "MISSED", "LAST", "NEXT", "ENABLED"]
    rows = [
        [
            one.task,
            one.schedule.expression,
            one.schedule.tz or "–",
            one.schedule.missed.value,
            _moment(one.last_fired_at),
            _moment(one.next_at),
            "yes" if one.enabled else "no",
        ]
        for one in schedules
    ]
    return table(heads, rows)


def _schedule(one: Standing) -> dict[str, Any]:
    return {
        "task": one.task,
        "expression": one.schedule.expression,
        "tz": one.schedule.tz,
        "missed": one.schedule.missed.value,
        "queue": one.queue,
        "priority": one.priority,
        "enabled": one.enabled,
        "last_fire_at": iso(one.last_fired_at),
        "next_fire_at": iso(one.next_at),
    }


def _moment(millis: int | None) -> str:
    """To the second, UTC."""
    text = iso(millis)
    return "–" if text is None else f"{text[:10]} {text[11:19]}Z"
