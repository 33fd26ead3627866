"""Saying when a task is to run: what is accepted, and what is refused in one clear line."""

from __future__ import annotations

import json
import subprocess
import sys
import zoneinfo
from pathlib import Path
from typing import Any

import pytest

from bgworker import BgWorker, cron, every
from bgworker.model import Missed, Retry, Schedule, TaskPolicy
from bgworker.retry import policy_from_json, policy_to_json
from bgworker.standing import BATCH, LATE, in_turn


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "five fields are needed"),
        ("* * * *", "five fields are needed"),
        ("*/5 * * * * *", "five fields are needed"),
        ("@daily", "five fields are needed"),
        ("61 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * 9", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("x * * * *", "bad minute"),
        ("٣ * * * *", "bad minute"),
        ("9" * 5000 + " * * * *", "five fields"),
        ("0 0 31 2 *", "bad day-of-month"),
        ("0 0 30,31 2 *", "bad day-of-month"),
        (None, "an expression like"),
        (5, "an expression like"),
    ],
)
def test_a_bad_expression_is_refused_in_one_line(expression: Any, words: str) -> None:
    with pytest.raises(ValueError, match="cron") as caught:
        cron(expression)

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "tz", ["Europe/Atlantis", "", "../etc/passwd", "/etc/passwd", "Europe", "CET+", None, 3, "a\0b"]
)
def test_a_bad_zone_is_refused_in_one_line(tz: Any) -> None:
    with pytest.raises(ValueError, match="is no time zone: use a name like 'Europe/Rome'"):
        cron("0 0 * * *", tz=tz)


def test_a_machine_without_zones_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    for module in ["tzdata", *(name for name in sys.modules if name.startswith("tzdata."))]:
        monkeypatch.setitem(sys.modules, module, None)
    try:
        with pytest.raises(ValueError, match=r"pip install 'bgtop\[tzdata\]'"):
            cron("0 0 * * *", tz="Europe/Vaduz")
        assert cron("0 0 * * *").tz == "UTC"
    finally:
        zoneinfo.reset_tzpath()


@pytest.mark.parametrize("missed", ["", "none", "ALL", None, 1])
def test_a_bad_policy_is_refused(missed: Any) -> None:
    for declare in (
        lambda: cron("* * * * *", missed=missed),
        lambda: every(hours=1, missed=missed),
    ):
        with pytest.raises(ValueError, match="must be one of 'skip', 'last', 'all'"):
            declare()


@pytest.mark.parametrize(
    "period",
    [
        {},
        {"seconds": 0},
        {"seconds": -1},
        {"seconds": 0.09},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"seconds": 1e12},
        {"seconds": "30"},
        {"minutes": None},
    ],
)
def test_a_bad_period_is_refused(period: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match=r"every\(\): seconds=.* must be from 0.1 to 1e\+09 second"
    ):
        every(**period)


def test_periods_add_up() -> None:
    assert every(seconds=30) == Schedule(every=30_000, missed=Missed.LAST)
    assert every(hours=1, minutes=30, seconds=0.5).every == 5_400_500
    assert every(minutes=2, missed="all").missed is Missed.ALL
    assert every(minutes=1.5).expression == "every 90 s"
    assert every(seconds=0.25).expression == "every 0.25 s"


def test_an_expression_is_kept_as_written_but_for_blanks() -> None:
    schedule = cron("  */5\t* * *  mon-fri ", tz="Europe/Rome", missed="skip")

    assert schedule.expression == "*/5 * * * mon-fri"
    assert (schedule.tz, schedule.missed) == ("Europe/Rome", Missed.SKIP)


def test_a_scheduled_task_is_called_without_arguments() -> None:
    bg = BgWorker("sqlite:///unused.db")

    @bg.task(schedule=every(hours=1))
    def fine(a: int = 1, *rest: int, b: int = 2, **more: int) -> None: ...

    assert fine.policy.schedule == every(hours=1)
    for function in (lambda a: a, lambda *, b: b):
        with pytest.raises(ValueError, match="must be callable without arguments: missing a req"):
            bg.task(name="t", schedule=every(hours=1))(function)
    assert list(bg.tasks) == [fine.name]


@pytest.mark.parametrize("schedule", ["* * * * *", 30, {"every": 3}])
def test_a_schedule_is_made_by_our_functions(schedule: Any) -> None:
    with pytest.raises(ValueError, match=r"must be cron\(…\) or every\(…\)"):
        BgWorker("sqlite:///unused.db").task(schedule=schedule)(lambda: 1)


@pytest.mark.parametrize(
    "schedule",
    [None, every(seconds=7, missed="skip"), cron("0 0 L * *", tz="Europe/Rome", missed="all")],
)
def test_a_schedule_reaches_the_supervisor_as_it_was_declared(schedule: Schedule | None) -> None:
    policy = TaskPolicy(name="t", queue="q", priority=1, retry=Retry(max=1), schedule=schedule)

    assert policy_from_json(json.loads(json.dumps(policy_to_json(policy)))) == policy


def test_nothing_is_imported_for_those_who_schedule_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from bgworker import BgWorker, every;"
        "bg = BgWorker('sqlite:///jobs.db');"
        "bg.task(name='t', schedule=every(hours=1))(lambda: 1); bg.tasks['t'].delay();"
        "print([name for name in ('cronsim', 'zoneinfo') if name in sys.modules])"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_workers_begin_with_different_batches_of_one_moment() -> None:
    """Together they have all of it, and what was due before or is made up for keeps its place."""
    now = 10 * LATE
    early = [(f"early{n}", now - 1, 0) for n in range(3)]
    many = [(f"many{n}", now, 0) for n in range(5 * BATCH)]
    late = [("late", now - LATE - 1, 0)]
    coming = [*late, *many, ("later", now + 1, 0), ("never", None, 0)]

    orders = [in_turn(coming, now, worker) for worker in range(16)]

    assert {frozenset(order[:BATCH]) for order in orders} == {
        frozenset(f"many{n}" for n in range(first, first + BATCH))
        for first in range(0, 5 * BATCH, BATCH)
    }
    for order in orders:
        assert sorted(order[:-1]) == sorted(task for task, _, _ in many)
        assert order[-1] == "late"
    assert in_turn([*many, *early], now, 3)[:3] == ["early0", "early1", "early2"]


def test_what_the_clock_was_put_back_over_is_due() -> None:
    assert in_turn([("a", 200, 150), ("b", None, 150), ("c", 200, 50)], 100, 7) == ["b", "a"]
