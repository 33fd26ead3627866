"""How long to wait between polls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.state.pacing import back_off, pause

CHANCES = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10**9), CHANCES)
def test_back_off_stays_between_half_a_second_and_half_a_minute(
    attempts: int, chance: float
) -> None:
    assert 0.5 <= back_off(attempts, chance) <= 30


def test_back_off_grows_with_the_attempts_and_spreads_over_the_whole_range() -> None:
    assert [back_off(attempts, 0.999) for attempts in (1, 2, 3, 6, 7, 20)] == pytest.approx(
        [1, 2, 4, 30, 30, 30], rel=0.01
    )
    assert {back_off(attempts, 0.0) for attempts in range(1, 20)} == {0.5}


@pytest.mark.parametrize(
    ("interval", "took", "complete", "expected"),
    [
        (5, 0.1, True, 4.9),
        (1, 0.7, True, 0.7),
        (1, 30, True, 1),
        (5, 0.1, False, 0.2),
        (0.1, 0.0, False, 0.1),
    ],
)
def test_pause(interval: float, took: float, complete: bool, expected: float) -> None:
    assert pause(interval, took, complete=complete) == pytest.approx(expected)
