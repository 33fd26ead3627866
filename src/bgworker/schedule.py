"""Saying when a task is to run by itself: ``cron(…)`` and ``every(…)``, checked where written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bgworker.model import Millis, Missed, Schedule

_SHORTEST: Millis = 100
_LONGEST: Millis = 1_000_000_000_000


def cron(expression: str, *, tz: str = "UTC", missed: str = "last") -> Schedule:
    """At the times that a cron expression of five fields names, on the clocks of the zone ``tz``.

    ``missed`` says which ticks that came while no worker ran are made up for: none (``skip``), the
    ``last`` one, or ``all`` of them.

    Raises:
        ValueError: the expression, the zone or ``missed`` makes no sense.
    """
    if not isinstance(expression, str):
        raise ValueError(f"cron({expression!r}): an expression like '*/5 * * * *' is needed")  # noqa: TRY004 - one kind of error for whatever is wrong in a declaration
    if not isinstance(tz, str):
        raise ValueError(f"tz={tz!r} is no time zone: use a name like 'Europe/Rome'")  # noqa: TRY004
    from bgworker.ticks import CronTimes

    found = " ".join(expression.split())
    CronTimes(found, tz)
    return Schedule(cron=found, tz=tz, missed=_missed(missed))


def every(
    *, seconds: float = 0, minutes: float = 0, hours: float = 0, missed: str = "last"
) -> Schedule:
    """Once per period, counted from the beginning of 1970 UTC: ``every(hours=1)`` on the hour.

    ``missed`` is as for :func:`cron`.

    Raises:
        ValueError: the period or ``missed`` makes no sense.
    """
    try:
        period = round((seconds + 60 * minutes + 3600 * hours) * 1000)
    except (TypeError, ValueError, OverflowError):  # text, NaN, infinity
        period = 0
    if not _SHORTEST <= period <= _LONGEST:
        raise ValueError(
            f"every(): seconds={seconds!r}, minutes={minutes!r}, hours={hours!r} "
            f"must be from {_SHORTEST / 1000:g} to {_LONGEST / 1000:g} seconds together"
        )
    return Schedule(every=period, missed=_missed(missed))


def schedule_for(function: Callable[..., object], schedule: Schedule) -> Schedule:
    """``schedule``, if it is one and ``function`` can be called without arguments.

    Raises:
        ValueError: otherwise.
    """
    if not isinstance(schedule, Schedule):
        raise ValueError(f"schedule={schedule!r} must be cron(…) or every(…)")  # noqa: TRY004
    import inspect

    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise ValueError(
            f"schedule=: {getattr(function, '__qualname__', function)} must be callable without "
            f"arguments: {error}"
        ) from None
    return schedule


def schedule_to_json(schedule: Schedule | None) -> dict[str, Any] | None:
    """The schedule without its types, for the way from the zygote to the supervisor."""
    if schedule is None:
        return None
    return {
        "cron": schedule.cron,
        "tz": schedule.tz,
        "every": schedule.every,
        "missed": schedule.missed.value,
    }


def schedule_from_json(found: dict[str, Any] | None) -> Schedule | None:
    """The inverse of :func:`schedule_to_json`."""
    return None if found is None else Schedule(**{**found, "missed": Missed(found["missed"])})


def _missed(policy: str) -> Missed:
    try:
        return Missed(policy)
    except ValueError:
        known = ", ".join(repr(one.value) for one in Missed)
        raise ValueError(f"missed={policy!r} must be one of {known}") from None
