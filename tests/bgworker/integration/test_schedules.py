"""Schedules in real workers: each tick once, at its time, and nothing in between."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bgworker.report import look
from bgworker.schedule_report import look_at_schedules

StartWorker = Callable[..., Any]
WaitUntil = Callable[..., object]

APP = """
from bgworker import BgWorker, cron, every
bg = BgWorker()
@bg.task(name="tick", schedule=every(seconds=1{missed}))
def tick(): return 7
@bg.task(name="nightly", schedule=cron("30 2 * * *", tz="Europe/Rome"))
def nightly(): ...
"""
WITHOUT = """
from bgworker import BgWorker
bg = BgWorker()
@bg.task(name="tick")
def tick(): return 8
"""


@pytest.fixture
def app(tmp_path: Path, worker: StartWorker) -> Callable[..., Any]:
    """Start a worker with the schedules above: ``app("shop", ', missed="all"')``."""

    def start(name: str, missed: str = "", source: str = APP) -> Any:
        (tmp_path / f"{name}.py").write_text(source.replace("{missed}", missed))
        return worker("--concurrency", "1", app=name, env={"PYTHONPATH": str(tmp_path)})

    return start


def fired(*workers: Any) -> list[str]:
    """The ticks that these workers told of."""
    lines = [line for one in workers for line in one.events("cron_enqueued", task="tick")]
    return sorted(line["fire_at"] for line in lines)


def seconds(ticks: list[str]) -> list[int]:
    return [int(tick[11:13]) * 3600 + int(tick[14:16]) * 60 + int(tick[17:19]) for tick in ticks]


def test_three_workers_run_each_tick_once(
    app: Callable[..., Any], url: str, wait_until: WaitUntil
) -> None:
    workers = [app("shop") for _ in range(3)]
    wait_until(lambda: len(fired(*workers)) >= 5, seconds=15, why="five ticks")
    wait_until(
        lambda: [e for w in workers for e in w.events("task_success", task="tick")], why="a run"
    )
    for one in workers:
        one.stop()
    ticks = fired(*workers)
    stored = sum(look(url).queues[0].states.values())

    assert all(tick.endswith(".000Z") for tick in ticks)
    assert {(b - a) % 86_400 for a, b in pairwise(seconds(ticks))} == {1}
    assert stored == len(ticks), "as many jobs as ticks"
    for line in (e for w in workers for e in w.events("cron_enqueued")):
        assert line["schedule"] == "every 1 s"
        assert line["fire_at"] <= line["ts"], "no run before its time"
        assert {"job_id", "level"} <= set(line)


def test_a_schedule_is_shown_and_disabled_when_it_is_removed(
    app: Callable[..., Any], url: str, wait_until: WaitUntil
) -> None:
    first = app("shop")
    wait_until(lambda: fired(first), why="a tick")
    first.stop()
    nightly, tick = look_at_schedules(url)
    assert (nightly.task, nightly.enabled, nightly.last_fired_at) == ("nightly", True, None)
    assert (tick.task, tick.enabled, tick.last_fired_at is not None) == ("tick", True, True)
    second = app("without", source=WITHOUT)
    assert [(one.enabled, one.next_at) for one in look_at_schedules(url)] == [(False, None)] * 2
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 1.5, why="a tick would have come")
    second.stop()
    assert fired(second) == []


@pytest.mark.parametrize(("missed", "made_up_for"), [("skip", 0), ("last", 1), ("all", 3600)])
def test_ticks_missed_while_no_worker_ran(
    app: Callable[..., Any],
    url: str,
    tmp_path: Path,
    wait_until: WaitUntil,
    missed: str,
    made_up_for: int,
) -> None:
    """An hour ago the last worker stopped."""
    first = app("shop", f', missed="{missed}"')
    wait_until(lambda: fired(first), why="a tick")
    stopped_at = time.monotonic()
    first.stop()
    db = sqlite3.connect(tmp_path / "jobs.db")
    hour = 3_600_000
    with db:
        db.execute(
            "UPDATE bgworker_schedule SET cursor = cursor - ?, next_at = next_at - ?", (hour, hour)
        )
        db.execute("UPDATE bgworker_tick SET fire_at = fire_at - ?", (hour,))
    db.close()
    launched_at, launched = time.monotonic(), time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    second = app("shop", f', missed="{missed}"')
    began = second.wait_for("worker_start")["ts"]
    # Ticks that come while it starts are not missed; on a busy machine that takes seconds.
    starting = 1 + int(time.monotonic() - launched_at)
    meanwhile = 1 + int(time.monotonic() - stopped_at)
    wait_until(lambda: len([tick for tick in fired(second) if tick > began]) >= 2, why="it goes on")
    wait_until(lambda: len(fired(second)) >= made_up_for + 2, seconds=20, why="it made up for them")
    second.stop()
    late = [tick for tick in fired(second) if tick < began]

    assert len(late) == len(set(late))
    # The first worker had told of its ticks up to the second before it stopped.
    most = made_up_for + (1 + meanwhile if missed == "all" else starting)
    assert made_up_for <= len(late) <= most
    if missed == "skip":
        assert [tick for tick in late if tick < launched] == []


def test_between_ticks_an_idle_worker_reads_no_table(
    app: Callable[..., Any], url: str, wait_until: WaitUntil
) -> None:
    """Its supervisor is woken by its timer, at the tick."""
    source = APP.replace("every(seconds=1{missed})", "every(hours=1)")
    running = app("rare", source=source)
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 0.8, why="it has settled")

    def reads() -> int:
        with open(f"/proc/{running.pid}/io", encoding="ascii") as file:
            return int(dict(line.split(": ") for line in file.read().splitlines())["syscr"])

    before, cpu = reads(), running.cpu_seconds()
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 1.2, every=0.4, why="two looks")
    assert reads() - before <= 1
    assert running.cpu_seconds() - cpu < 0.02
    assert [one.next_at for one in look_at_schedules(url)] != []


def test_ticks_come_at_their_time(app: Callable[..., Any], wait_until: WaitUntil) -> None:
    """The timer is set to them: the safety net of half a second is not what wakes the worker."""
    running = app("shop")
    wait_until(lambda: len(fired(running)) >= 6, seconds=15, why="some ticks")
    delays = sorted(float(e["ts"][20:23]) for e in running.events("cron_enqueued"))

    assert delays[len(delays) // 2] < 100, delays
