"""Counters become rates: never negative, whatever the counters do, and in bounded memory."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import timedelta

import pytest
from frames import INFO, T0, polled
from hypothesis import given
from hypothesis import strategies as st

from bgtop.model import QueueReading, Rates, Reading, Snapshot, Source
from bgtop.state.fold import fold
from bgtop.state.history import MOST_POINTS, WINDOW, History, rates_of, remember

Counters = Mapping[str, tuple[int | None, int | None]]


def played(steps: list[tuple[float, Counters]], depth: int = 0) -> tuple[History, Mapping]:
    """The history and the rates after readings at these clocks."""
    history = History()
    snapshot = Snapshot(taken_at=T0, sources=(Source(name="a", info=INFO),))
    for clock, counters in steps:
        reading = Reading(
            taken_at=T0 + timedelta(seconds=clock),
            queues=tuple(
                QueueReading(name=name, depth=depth, entered_total=entered, left_total=left)
                for name, (entered, left) in sorted(counters.items())
            ),
        )
        sample = polled(reading, clock)
        history = remember(history, sample)
        snapshot = fold(snapshot, sample)
    return history, rates_of(history, snapshot)


def rates_after(*steps: tuple[float, int | None, int | None], depth: int = 0) -> Rates | None:
    _, rates = played([(clock, {"mail": (e, left)}) for clock, e, left in steps], depth)
    return rates.get(("a", "mail"))


def test_one_reading_gives_no_rate() -> None:
    assert rates_after((0, 10, 5)) is None


def test_two_readings_give_rates() -> None:
    assert rates_after((0, 10, 5), (5, 20, 30)) == Rates(in_per_second=2.0, out_per_second=5.0)


def test_a_counter_that_is_not_told_gives_no_rate() -> None:
    assert rates_after((0, None, 5), (5, None, 30)) == Rates(out_per_second=5.0)
    assert rates_after((0, None, None), (5, None, None)) is None


def test_a_counter_that_went_back_gives_no_rate_until_the_next_reading() -> None:
    before = [(0.0, 100, 100), (5.0, 110, 110)]

    assert rates_after(*before, (10, 0, 120)) == Rates(out_per_second=2.0)
    assert rates_after(*before, (10, 0, 120), (15, 5, 130)) == Rates(
        in_per_second=1.0, out_per_second=2.0
    )


def test_a_queue_that_came_back_begins_anew() -> None:
    steps: list[tuple[float, Counters]] = [
        (0, {"mail": (0, 0)}),
        (5, {}),
        (10, {"mail": (1000, 1000)}),
    ]

    assert played(steps)[1] == {}


def test_a_rate_forgets_what_was_before_the_window() -> None:
    burst = [(float(second), min(second, 10) * 100, 0) for second in range(10 + int(WINDOW) + 1)]

    assert rates_after(*burst[:11]) == Rates(in_per_second=100.0, out_per_second=0.0)
    assert rates_after(*burst) == Rates(in_per_second=0.0, out_per_second=0.0)


def test_a_slow_interval_still_has_rates() -> None:
    assert rates_after((0, 0, 0), (600, 600, 0)) == Rates(in_per_second=1.0, out_per_second=0.0)


def test_the_time_a_source_was_down_is_forgotten_soon() -> None:
    rates = rates_after((0, 0, 0), (5, 5, 0), (600, 600, 0), (605, 1100, 0))

    assert rates is not None
    assert rates.in_per_second == pytest.approx(100.0)


def test_drain_time_is_known_only_while_a_queue_drains() -> None:
    assert rates_after((0, 0, 0), (5, 10, 20), depth=30) == Rates(
        in_per_second=2.0, out_per_second=4.0, drain_seconds=15.0
    )
    for growing in ((5, 10, 10), (5, 20, 10)):
        rates = rates_after((0, 0, 0), growing, depth=30)
        assert rates is not None
        assert rates.drain_seconds is None
    empty = rates_after((0, 0, 0), (5, 10, 20), depth=0)
    assert empty is not None
    assert empty.drain_seconds is None


def drain_after(depths: list[int | None], interval: float = 5.0, **counters: int) -> Rates | None:
    """The rates of a queue that was seen this deep, every so many seconds."""
    history, snapshot = History(), Snapshot(taken_at=T0, sources=(Source(name="a", info=INFO),))
    for number, depth in enumerate(depths):
        queue = QueueReading(name="mail", depth=depth, **counters)
        reading = Reading(taken_at=T0 + timedelta(seconds=number * interval), queues=(queue,))
        history = remember(history, polled(reading, number * interval))
        snapshot = fold(snapshot, polled(reading, number * interval))
    return rates_of(history, snapshot).get(("a", "mail"))


def test_without_counters_the_time_to_drain_is_estimated_from_the_fall() -> None:
    found = drain_after([100, 95, 88, 80])

    assert found == Rates(drain_seconds=pytest.approx(60.0), drain_is_estimate=True)
    assert drain_after([100, 95, 88, 80], left_total=5) == Rates(
        out_per_second=0.0, drain_seconds=pytest.approx(60.0), drain_is_estimate=True
    )


@pytest.mark.parametrize(
    "depths",
    [
        [100, 95, 88],  # too few
        [100, 100, 100, 100],
        [80, 88, 95, 100],
        [100, 100, 100, 10],  # a purge, or a burst that was over at once
        [1000, 10, 10, 9],
        [100, 60, 100, 80],  # up and down
        [100, 95, None, 80],
        [100, 60, 20, 0],  # nothing left to drain
        [None, None, None, None],
    ],
)
def test_what_does_not_fall_steadily_has_no_time_to_drain(depths) -> None:
    assert drain_after(depths) is None


def test_counters_are_believed_more_than_a_falling_depth() -> None:
    """A system that counts says itself whether more leaves than comes."""
    found = drain_after([100, 90, 80, 70], entered_total=5, left_total=5)

    assert found == Rates(in_per_second=0.0, out_per_second=0.0)


@given(st.lists(st.integers(0, 10_000), max_size=40), st.floats(0.5, 30))
def test_an_estimate_is_positive_and_no_longer_than_the_slowest_fall(depths, interval) -> None:
    found = drain_after(list(depths), interval)

    assert found is None or (found.drain_seconds > 0 and found.drain_is_estimate)
    if found is not None:
        # One job less in the whole window is the slowest fall there is.
        assert found.drain_seconds <= depths[-1] * max(WINDOW + 2 * interval, 4 * interval)


COUNTER = st.none() | st.integers(0, 2**70)
STEPS = st.lists(
    st.tuples(
        st.floats(0.01, 200),
        st.dictionaries(st.sampled_from("abc"), st.tuples(COUNTER, COUNTER), max_size=3),
    ),
    max_size=40,
)


@given(STEPS)
def test_rates_are_never_negative(steps: list[tuple[float, Counters]]) -> None:
    clock = 0.0
    timed = []
    for pause, counters in steps:
        clock += pause
        timed.append((clock, counters))

    for rates in played(timed)[1].values():
        for value in (rates.in_per_second, rates.out_per_second, rates.drain_seconds):
            assert value is None or value >= 0


@given(st.lists(st.integers(0, 50), min_size=2, max_size=60), st.floats(0.1, 20))
def test_growing_counters_always_have_a_rate(growth: list[int], interval: float) -> None:
    total = 0
    steps = []
    for number, more in enumerate(growth):
        total += more
        steps.append((number * interval, total, total))

    rates = rates_after(*steps)

    assert rates is not None
    assert rates.in_per_second is not None
    assert rates.in_per_second <= max(growth) / interval + 1e-6


@given(STEPS)
def test_memory_is_bounded(steps: list[tuple[float, Counters]]) -> None:
    clock = 0.0
    history = History()
    for pause, counters in steps * 3:
        clock += pause
        reading = Reading(taken_at=T0, queues=tuple(QueueReading(name=name) for name in counters))
        history = remember(history, polled(reading, clock))

        assert len(history.points["a"]) <= MOST_POINTS


def test_five_thousand_queues_take_little_memory() -> None:
    names = [f"queue-{number}" for number in range(5000)]
    steps = [(float(second), dict.fromkeys(names, (second, second))) for second in range(0, 80, 2)]

    points = played(steps)[0].points["a"]

    assert len({id(point.places) for point in points}) == 1, "one index for all points"
    assert sum(sys.getsizeof(point.entered) * 2 for point in points) < 2_000_000
