"""The table of daylight saving time says what happens."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bgworker import cron, every
from bgworker.ticks import ticks_between

HOW_TO = (Path(__file__).parents[2] / "docs/how-to/schedules.md").read_text()
ROWS = re.findall(r"^\| `([^`]+)` \| (.+?) \| (.+?) \| ([\d,]+) \|$", HOW_TO, re.MULTILINE)
SPRING, AUTUMN = (3, 29), (10, 25)


def test_the_table_is_found() -> None:
    assert len(ROWS) >= 8


@pytest.mark.parametrize(("expression", "spring", "autumn", "runs"), ROWS)
def test_a_row_of_the_table(expression: str, spring: str, autumn: str, runs: str) -> None:
    zone = ZoneInfo("Europe/Rome")
    schedule = every(hours=1) if "every" in expression else cron(expression, tz=zone.key)
    start, end = (round(datetime(y, 1, 1, tzinfo=zone).timestamp() * 1000) for y in (2026, 2027))
    ticks = list(ticks_between(schedule, start - 1, end - 1))
    clocks = [datetime.fromtimestamp(tick / 1000, zone) for tick in ticks]

    assert len(ticks) == int(runs.replace(",", ""))
    for day, said in ((SPRING, spring), (AUTUMN, autumn)):
        shown = [f"{at:%H:%M}" for at in clocks if (at.month, at.day) == day]
        times = re.findall(r"\d\d:\d\d", said)
        if times:
            assert shown == times
        count = re.fullmatch(r"(\d+) times", said)
        if count:
            assert len(shown) == int(count[1])
