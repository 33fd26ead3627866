"""When a schedule is due: pure arithmetic on instants, with cronsim and the zone database.

cronsim reads expressions and walks the calendar without a zone; what happens where clocks change
is decided here, by one rule for all expressions. Its own rule, that of Debian's cron, depends on
how an expression is written: ``0 */2`` follows elapsed time and ``0 0-23`` does not, and two times
that do not exist become one.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator
from copy import copy
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING

from bgworker.model import Millis, Schedule

if TYPE_CHECKING:
    from cronsim import CronSim

_DAY = timedelta(days=1)
_DAY_MS: Millis = 86_400_000
_MINUTES_A_DAY = 1440
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def next_tick(schedule: Schedule, after: Millis) -> Millis | None:
    """The first tick later than ``after``; ``None`` if there is none for 50 years."""
    if schedule.every is not None:
        return (after // schedule.every + 1) * schedule.every
    return _cron(schedule).after(after)


def ticks_between(schedule: Schedule, after: Millis, until: Millis) -> Iterator[Millis]:
    """The ticks later than ``after`` and not later than ``until``."""
    tick = next_tick(schedule, after)
    while tick is not None and tick <= until:
        yield tick
        tick = next_tick(schedule, tick)


def start_of_newest(schedule: Schedule, after: Millis, until: Millis, limit: int) -> Millis:
    """An instant from ``after`` on, behind which at most ``limit`` ticks come until ``until``.

    No tick is left out that the limit has room for. What it costs depends on ``limit`` alone, not
    on how long ago ``after`` is.
    """
    if limit == 0:
        return until
    if _most_ticks(schedule, until - after) <= limit:
        return after
    span = limit * (schedule.every or 60_000)
    while True:
        start = max(after, until - span)
        found = list(ticks_between(schedule, start, until))
        if len(found) >= limit:
            return found[-limit] - 1
        if start == after:
            return after
        span *= 2


def _most_ticks(schedule: Schedule, span: Millis) -> int:
    """No more ticks than this fit into ``span``."""
    if schedule.every is not None:
        return span // schedule.every + 1
    return (span // _DAY_MS + 2) * len(_cron(schedule).times)


class CronTimes:
    """A cron expression in a zone.

    Each local time that matches is one tick. A time that the clock leaps over is run as long after
    the leap as it is behind its beginning (02:30 becomes 03:30). A time that comes twice is run the
    first time; the second time too, if the expression looks the same after the clock was put back,
    as hourly ones do: those follow elapsed time.

    Raises:
        ValueError: the expression makes no sense, or the zone is not known.
    """

    def __init__(self, expression: str, tz: str) -> None:
        self._zone = _zone(tz)
        self._calendar = _calendar(expression)
        hours, minutes = self._calendar.hours, self._calendar.minutes
        self.times = frozenset(h * 60 + m for h, m in itertools.product(hours, minutes))
        self._in_order = sorted(self.times)
        self._day: date | None = None

    def after(self, millis: Millis) -> Millis | None:
        """The first tick later than ``millis``."""
        at = _EPOCH + timedelta(seconds=millis // 1000)
        local = at.astimezone(self._zone).replace(tzinfo=None)
        shift = self._shift(at)
        soon = None if shift else self._later_on(local)
        if soon is not None and (at + soon).astimezone(self._zone).replace(tzinfo=None) == (
            local + soon
        ):
            return (at + soon - _EPOCH) // timedelta(milliseconds=1)
        best: datetime | None = None
        until: datetime | None = None
        calendar = copy(self._calendar)
        calendar.dt = local - shift
        # Where the clock changes, local times are not in the order of their instants: begin as much
        # earlier, and look on for as much longer, as it changes.
        for naive in calendar:
            if until is not None and naive > until:
                break
            for found in self._instants(naive):
                if found <= at or (best is not None and found >= best):
                    continue
                if best is None:
                    until = naive + self._shift(found)
                best, self._day = found, naive.date()
            if until == naive:  # the usual day; the next match may be years away
                break
        return None if best is None else (best - _EPOCH) // timedelta(milliseconds=1)

    def _later_on(self, local: datetime) -> timedelta | None:
        """How long until the next time of this day, if the tick found last was on the same one.

        Only the first tick of a day is looked for in the calendar.
        """
        if local.date() != self._day:
            return None
        minute = local.hour * 60 + local.minute
        place = bisect_right(self._in_order, minute)
        if place == len(self._in_order):
            return None
        return timedelta(minutes=self._in_order[place] - minute, seconds=-local.second)

    def _instants(self, naive: datetime) -> Iterator[datetime]:
        """When a local time is to be run."""
        first = naive.replace(tzinfo=self._zone)
        second = first.replace(fold=1)
        yield first.astimezone(timezone.utc)
        back = _offset(first) - _offset(second)
        if back > timedelta() and self._looks_the_same(back):
            yield second.astimezone(timezone.utc)

    def _looks_the_same(self, moved: timedelta) -> bool:
        minutes = moved // timedelta(minutes=1)
        return {(time + minutes) % _MINUTES_A_DAY for time in self.times} == self.times

    def _shift(self, at: datetime) -> timedelta:
        """By how much the clock changes within a day of ``at``."""
        return abs(
            _offset((at + _DAY).astimezone(self._zone))
            - _offset((at - _DAY).astimezone(self._zone))
        )


@lru_cache(maxsize=4096)
def _cron(schedule: Schedule) -> CronTimes:
    return CronTimes(schedule.cron or "", schedule.tz or "UTC")


def _offset(at: datetime) -> timedelta:
    return at.utcoffset() or timedelta()


def _calendar(expression: str) -> CronSim:
    """What walks the local times that match, once it is told where to begin."""
    from cronsim import CronSim, CronSimError

    fields = "five fields are needed: minute hour day-of-month month day-of-week"
    if len(expression.split()) != 5:
        raise ValueError(f"cron({expression!r}): {fields}")
    try:
        calendar = CronSim(expression, datetime(2000, 1, 1))  # noqa: DTZ001 - local time is meant
        next(calendar)
    except (CronSimError, ValueError) as error:
        raise ValueError(f"cron({expression!r}): {_lower(str(error))}; {fields}") from None
    except StopIteration:
        raise ValueError(f"cron({expression!r}): there is no such day") from None
    return calendar


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return timezone.utc
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    if not zoneinfo.available_timezones():
        raise ValueError(
            f"tz={name!r}: this machine has no time zone database: pip install 'bgtop[tzdata]'"
        )
    raise ValueError(f"tz={name!r} is no time zone: use a name like 'Europe/Rome'")
