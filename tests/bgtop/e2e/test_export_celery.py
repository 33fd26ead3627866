"""Real Celery tasks with known ends are told exactly by everything numbers are sent to."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from known_ends import TARGETS, Counts, Plan, Sight, Stage, on_redis, play
from redis_server import RedisServer

from bgtop.testing import wait_until

PLAN = Plan.of(300)
Place = tuple[Stage, RedisServer]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with on_redis(tmp_path_factory.mktemp("known"), dead_after=6.0) as made:
        yield made


@pytest.fixture(scope="module")
def rests(place: Place) -> list[tuple[Sight, dict[str, Sight]]]:
    """The truth and what was told of it, while some tasks are held and when they are lost."""
    return [*play(place[0], PLAN, seconds=60)]


def counted(stage: Stage, expression: str, *labels: str) -> Counts:
    """What Prometheus says, by two labels, where it is not nothing."""
    return {
        (row["metric"][labels[0]], row["metric"][labels[1]]): float(row["value"][1])
        for row in stage.prometheus.ask(f"{expression} > 0")
    }


def test_every_way_tells_exactly_what_happened(
    rests: list[tuple[Sight, dict[str, Sight]]],
) -> None:
    for truth, told in rests:
        assert told == dict.fromkeys(told, truth)


def test_it_was_red_while_something_was_missing_and_is_green_at_rest(
    rests: list[tuple[Sight, dict[str, Sight]]], place: Place
) -> None:
    (_, held), (_, over) = rests

    assert (held["StatsD"].unfinished, over["StatsD"].unfinished) == (PLAN.held, 0)
    [panel] = place[0].receivers.render.ask(TARGETS["Is it working?"], since="-10min")
    assert sum(value or 0 for value, _ in panel["datapoints"]) == PLAN.fail + PLAN.held


@pytest.mark.usefixtures("rests")
def test_no_failure_of_the_last_five_minutes_is_rounded_away(place: Place) -> None:
    """Neither when the clock passes a round minute, nor where a pixel stands for many points."""
    render = place[0].receivers.render
    [panel] = render.ask(TARGETS["Is it working?"], since="-10min")
    [coarse] = render.ask(TARGETS["Is it working?"], since="-60min", most=3)

    _, began = panel["datapoints"][-1]
    assert 290 <= time.time() - began <= 310
    most = max(value or 0 for value, _ in panel["datapoints"])
    assert max(value or 0 for value, _ in coarse["datapoints"]) >= most > 0


@pytest.mark.usefixtures("rests")
def test_every_panel_on_graphite_has_something_to_draw(place: Place) -> None:
    empty = [name for name, asked in TARGETS.items() if place[0].receivers.shown(asked) is None]

    assert empty == []


@pytest.mark.usefixtures("rests")
def test_other_exporters_names_count_the_same(place: Place) -> None:
    stage, _ = place

    flower = counted(stage, "sum by (task, type) (flower_events_total)", "task", "type")
    failed = counted(stage, "celery_task_failed_total", "name", "exception")
    succeeded = counted(stage, "celery_task_succeeded_total", "name", "queue_name")

    told = {(task, kind.removeprefix("task-")): count for (task, kind), count in flower.items()}
    truth = PLAN.seen(lost=True).counts
    assert told == {key: count for key, count in truth.items() if key != ("hold", "lost")}
    assert failed == {("falter", "ValueError"): PLAN.fail}
    assert succeeded == {("add", "mail"): PLAN.succeed, ("again", "mail"): PLAN.retry}
    assert counted(stage, "flower_worker_online", "worker", "job")


@pytest.mark.usefixtures("rests")
def test_a_broker_that_goes_and_comes_back_changes_no_count(place: Place) -> None:
    stage, server = place
    truth = PLAN.seen(lost=True)

    server.stop()
    wait_until(lambda: stage.prometheus.value("bgtop_source_up") == 0, seconds=20)
    assert stage.by_prometheus().counts == truth.counts
    server.start()
    wait_until(lambda: stage.prometheus.value("bgtop_source_up") == 1, seconds=40)

    assert stage.told()["StatsD"].counts == truth.counts
    assert stage.by_prometheus() == truth
    assert stage.export is not None
    assert stage.export.poll() is None
