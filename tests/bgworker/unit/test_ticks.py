"""When schedules are due: over a year, over changes of the clock, and after a long absence."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgworker import cron, every
from bgworker.model import Millis, Schedule
from bgworker.ticks import CronTimes, next_tick, start_of_newest, ticks_between

# Both hemispheres, shifts at 0:00, 1:00, 2:00, 3:00 and 24:00, of 30 minutes, 1 and 2 hours, and
# (Casablanca) two hours' worth of changes within a few weeks.
ZONES = [
    "Europe/Rome",
    "Europe/London",
    "Europe/Chisinau",
    "America/New_York",
    "America/St_Johns",
    "America/Havana",
    "America/Santiago",
    "America/Nuuk",
    "Atlantic/Azores",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Jerusalem",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Antarctica/Troll",
]
YEAR = 2025
HOUR: Millis = 3_600_000


def at(text: str, tz: str = "UTC") -> Millis:
    """An instant from what a clock in ``tz`` shows; with an offset that is meant."""
    found = datetime.fromisoformat(text)
    found = found if found.tzinfo else found.replace(tzinfo=ZoneInfo(tz))
    return round(found.timestamp() * 1000)


def shown(tick: Millis, tz: str) -> str:
    return datetime.fromtimestamp(tick / 1000, ZoneInfo(tz)).strftime("%m-%d %H:%M %z")


def in_year(schedule: Schedule, tz: str, year: int = YEAR) -> list[Millis]:
    start, end = at(f"{year}-01-01", tz), at(f"{year + 1}-01-01", tz)
    return list(ticks_between(schedule, start - 1, end - 1))


@cache
def changes_of(tz: str) -> list[Millis]:
    """The hours of the year in which the clock was changed."""
    start = datetime(YEAR, 1, 1, tzinfo=timezone.utc)
    hours = [(start + timedelta(hours=n)).astimezone(ZoneInfo(tz)) for n in range(8760)]
    changed = [b for a, b in pairwise(hours) if a.utcoffset() != b.utcoffset()]
    return [round(hour.timestamp() * 1000) for hour in changed]


@pytest.mark.parametrize("tz", ZONES)
def test_the_zones_of_these_tests_change_their_clocks_twice(tz: str) -> None:
    assert len(changes_of(tz)) == 2


@pytest.mark.parametrize("tz", ZONES)
@pytest.mark.parametrize("time", ["30 2", "0 0", "15 1", "30 23", "45 1"])
def test_a_daily_job_runs_365_times_a_year(tz: str, time: str) -> None:
    """A day apart, more or less, whatever the clock does."""
    ticks = in_year(cron(f"{time} * * *", tz=tz), tz)
    apart = [(b - a) / HOUR for a, b in pairwise(ticks)]

    assert len(ticks) == 365
    assert 22 <= min(apart) <= max(apart) <= 26
    assert sum(hours != 24 for hours in apart) <= 4


EXPRESSIONS = ["0 * * * *", "45 * * * *", "15 0-23 * * *", "0 */1 * * *"]


@pytest.mark.parametrize(
    ("tz", "expression"),
    [
        *(("Australia/Lord_Howe", expression) for expression in EXPRESSIONS),
        *(("Europe/Rome", expression) for expression in EXPRESSIONS),
    ],
)
def test_an_hourly_job_runs_8760_times_a_year(tz: str, expression: str) -> None:
    ticks = in_year(cron(expression, tz=tz), tz)

    assert len(ticks) == len(set(ticks)) == 8760
    assert ticks == sorted(ticks)


@pytest.mark.parametrize("tz", [tz for tz in ZONES if tz != "Australia/Lord_Howe"])
@pytest.mark.parametrize("expression", ["0 * * * *", "45 * * * *"])
def test_a_change_of_clocks_neither_adds_an_hourly_run_nor_takes_one(
    tz: str, expression: str
) -> None:
    """In the week before and after it; changes by half an hour even out over a year, see above."""
    week = 7 * 24 * HOUR
    for change in changes_of(tz):
        ticks = list(ticks_between(cron(expression, tz=tz), change - week, change + week))
        assert len(ticks) == len(set(ticks)) == 2 * 7 * 24
        assert ticks == sorted(ticks)


@pytest.mark.parametrize("tz", ["Europe/Rome", "Pacific/Auckland"])
def test_hourly_jobs_are_an_hour_apart_where_clocks_change_by_whole_hours(tz: str) -> None:
    ticks = in_year(cron("20 * * * *", tz=tz), tz)

    assert {b - a for a, b in pairwise(ticks)} == {HOUR}


@pytest.mark.parametrize("tz", ["Europe/Rome", "Australia/Lord_Howe", "Antarctica/Troll"])
def test_jobs_every_few_minutes_follow_elapsed_time(tz: str) -> None:
    start, end = at(f"{YEAR}-03-20", tz), at(f"{YEAR}-04-20", tz)
    ticks = list(ticks_between(cron("*/10 * * * *", tz=tz), start, end))

    assert {b - a for a, b in pairwise(ticks)} == {600_000}


def week_of(expression: str, tz: str, start: str, days: int = 3) -> list[str]:
    first = at(start, tz)
    found = ticks_between(cron(expression, tz=tz), first - 1, first + days * 24 * HOUR)
    return [shown(tick, tz) for tick in found]


def test_a_local_time_that_does_not_exist_is_run_as_much_later() -> None:
    assert week_of("30 2 * * *", "Europe/Rome", "2026-03-28") == [
        "03-28 02:30 +0100",
        "03-29 03:30 +0200",
        "03-30 02:30 +0200",
    ]
    assert week_of("10 2 * * *", "Australia/Lord_Howe", "2026-10-03") == [
        "10-03 02:10 +1030",
        "10-04 02:40 +1100",
        "10-05 02:10 +1100",
    ]
    assert week_of("*/15 2 * * *", "Europe/Rome", "2026-03-29", days=1)[:4] == [
        "03-29 03:00 +0200",
        "03-29 03:15 +0200",
        "03-29 03:30 +0200",
        "03-29 03:45 +0200",
    ]


def test_a_local_time_that_comes_twice_is_run_the_first_time() -> None:
    assert week_of("30 2 * * *", "Europe/Rome", "2026-10-24") == [
        "10-24 02:30 +0200",
        "10-25 02:30 +0200",
        "10-26 02:30 +0100",
    ]
    assert week_of("45 1 * * *", "Australia/Lord_Howe", "2026-04-04") == [
        "04-04 01:45 +1100",
        "04-05 01:45 +1100",
        "04-06 01:45 +1030",
    ]


def test_two_times_that_fall_onto_one_instant_are_one_run() -> None:
    assert week_of("0 1,2,3,4 * * *", "Europe/Rome", "2026-03-29", days=1)[:4] == [
        "03-29 01:00 +0100",
        "03-29 03:00 +0200",
        "03-29 04:00 +0200",
        "03-30 01:00 +0200",
    ]


def test_every_other_hour_counts_local_times() -> None:
    """``0 */2`` and ``0 0,2,4,…`` mean the same and do the same."""
    tz = "Europe/Rome"
    listed = ",".join(str(hour) for hour in range(0, 24, 2))

    assert in_year(cron("0 */2 * * *", tz=tz), tz) == in_year(cron(f"0 {listed} * * *", tz=tz), tz)
    assert len(in_year(cron("0 */2 * * *", tz=tz), tz)) == 12 * 365
    assert week_of("0 */2 * * *", tz, "2026-10-25", days=1)[:4] == [
        "10-25 00:00 +0200",
        "10-25 02:00 +0200",
        "10-25 04:00 +0100",
        "10-25 06:00 +0100",
    ]


@given(
    st.integers(at("2020-01-01"), at("2030-01-01")),
    st.sampled_from(ZONES),
    st.sampled_from(
        ["* * * * *", "*/7 1-3 * * *", "30 2 * * *", "0 0 * * SUN", "0,45 * * * *", "0 12 L * *"]
    ),
)
def test_ticks_are_the_same_from_wherever_one_looks(start: Millis, tz: str, expr: str) -> None:
    """The next tick is later, and nothing lies between: seen from any instant before it."""
    schedule = cron(expr, tz=tz)
    tick = next_tick(schedule, start)
    assert tick is not None
    assert tick > start
    for before in (start + (tick - start) // 2, tick - 1):
        assert next_tick(schedule, before) == tick
    late = next_tick(schedule, tick)
    assert late is not None
    assert late > tick


def test_all_ticks_of_a_night_are_found_one_by_one_and_in_a_row() -> None:
    """Around each change of clocks, from any minute."""
    for tz, night in (("Europe/Rome", "2026-10-25"), ("Australia/Lord_Howe", "2026-04-05")):
        schedule = cron("*/20 0-5 * * *", tz=tz)
        start = at(night, tz) - HOUR
        row = list(ticks_between(schedule, start, start + 9 * HOUR))
        assert row == sorted(set(row))
        for minute in range(0, 9 * 60, 7):
            now = start + minute * 60_000
            assert next_tick(schedule, now) == next(
                (t for t in row if t > now), next_tick(schedule, row[-1])
            )


def test_calendars() -> None:
    leap_day = cron("0 0 29 2 *")
    assert next_tick(leap_day, at("2024-03-01")) == at("2028-02-29")
    assert next_tick(cron("0 9 * * MON-FRI"), at("2026-11-20T09:00")) == at("2026-11-23T09:00")
    assert next_tick(cron("0 0 LW * *"), at("2026-10-01")) == at("2026-10-30")
    assert next_tick(cron("0 0 1 1 *", tz="Asia/Kolkata"), at("2026-06-01")) == at(
        "2027-01-01", "Asia/Kolkata"
    )


@pytest.mark.parametrize("millis", [0, 1, 999, 1000, 59_999])
def test_a_tick_is_later_than_the_instant_to_the_millisecond(millis: int) -> None:
    minute = at("2026-11-21T12:00")
    assert next_tick(cron("* * * * *"), minute + millis) == minute + 60_000
    assert next_tick(every(minutes=1), minute + millis) == minute + 60_000
    assert next_tick(every(seconds=0.5), minute) == minute + 500


def test_periods_count_from_1970() -> None:
    assert next_tick(every(hours=1), at("2026-11-21T12:34:56")) == at("2026-11-21T13:00")
    assert next_tick(every(hours=24), at("2026-11-21T12:34:56")) == at("2026-11-22")


@pytest.mark.parametrize(
    "schedule",
    [cron("* * * * *"), cron("*/7 3 * * 1,3"), every(seconds=7), cron("30 2 * * *", tz=ZONES[0])],
)
@pytest.mark.parametrize("limit", [1, 2, 10, 300])
@pytest.mark.parametrize("hours", [0, 0.2, 3, 60])
def test_the_newest_ticks_are_found_from_behind(
    schedule: Schedule, limit: int, hours: float
) -> None:
    until = at("2026-11-21T12:00:30")
    after = until - round(hours * HOUR)
    start = start_of_newest(schedule, after, until, limit)

    assert start >= after
    every_one = list(ticks_between(schedule, after, until))
    assert list(ticks_between(schedule, start, until)) == every_one[-limit:]


def test_a_year_of_missed_minutes_is_not_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for the last of them takes as few steps as for three hours."""
    walked: list[Millis] = []
    look = CronTimes.after

    def counting(self: CronTimes, millis: Millis) -> Millis | None:
        walked.append(millis)
        return look(self, millis)

    monkeypatch.setattr(CronTimes, "after", counting)
    until = at("2026-11-21T12:00:30")
    start = start_of_newest(cron("* * * * *"), until - 365 * 24 * HOUR, until, 1)

    assert start == at("2026-11-21T12:00") - 1
    assert len(walked) < 10
