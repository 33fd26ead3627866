"""Rates and the choice under limits, as arithmetic."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgworker.limits import Bucket, Limit, Line, choose, parse_rate

SECOND = 1_000_000


@pytest.mark.parametrize(
    ("text", "rate"),
    [("5/s", 5.0), ("100/m", 100 / 60), ("10/h", 10 / 3600), ("0.5/s", 0.5), (" 7 / s ", 7.0)],
)
def test_a_rate_is_a_number_per_time(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "5", "5/d", "/s", "x/s", "0/s", "-1/s", "nan/s", "inf/s", "5//s"]
)
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match='is no rate: write "5/s"'):
        parse_rate(text)


@given(
    st.floats(0.2, 5000),
    st.lists(st.tuples(st.integers(0, 300_000), st.integers(1, 50)), min_size=1, max_size=80),
)
def test_no_second_holds_more_than_the_rate_and_one_burst(
    rate: float, asks: list[tuple[int, int]]
) -> None:
    """However greedily it is asked, and at whatever moments."""
    bucket, now = Bucket(rate), 10**15
    starts: list[int] = []
    for wait, want in asks:
        now += wait
        n = min(want, bucket.allowance(now))
        if n:
            bucket.take(n, now)
            starts += [now] * n

    burst = max(1, int(rate / 100))
    for at in starts:
        window = bisect_left(starts, at + SECOND) - bisect_left(starts, at)
        # Intervals are whole microseconds: at 5,000 a second that is half a percent at most.
        assert window <= rate * 1.005 + burst + 1


@given(st.floats(0.2, 1000), st.integers(1, 2000))
def test_a_closed_rate_opens_when_it_says(rate: float, want: int) -> None:
    bucket, now = Bucket(rate), 10**15
    bucket.take(min(want, bucket.allowance(now)), now)
    opens_at = bucket.opens_at(now)
    if bucket.allowance(now) == 0:
        assert bucket.allowance(opens_at - 1) == 0
    assert bucket.allowance(max(now, opens_at)) >= 1


def test_jobs_are_chosen_in_order_and_a_closed_line_holds_up_no_other() -> None:
    shared = Limit(concurrency=2)
    first = Line([(1, 0, 1), (5, 0, 4)], [shared])
    second = Line([(2, 0, 2), (2, 0, 3)], [shared, Limit(concurrency=5)])
    third = Line([(9, 0, 9)], [])

    assert choose([first, second, third], 9, 0) == [1, 2, 9]
    assert choose([third], 0, 0) == []
    assert choose([Line([], [])], 5, 0) == []


def test_a_paused_queue_opens_at_no_time() -> None:
    limit = Limit(bucket=Bucket(1.0), paused=True)

    assert limit.allowance(0) == 0
    assert limit.opens_at(0) is None
