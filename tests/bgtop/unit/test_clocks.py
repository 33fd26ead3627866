"""How far another clock is off: what one late message proves, and what several in time do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends.clocks import Clock

SECONDS = st.floats(0.0, 100.0)


def test_one_late_message_is_no_evidence() -> None:
    clock = Clock()
    clock.hear(40.0, since=50.0, now=51.0)
    assert clock.ahead == 0.0
    clock.hear(52.5, since=52.0, now=53.0)
    assert clock.ahead == 0.0
    for late in (54.0, 56.0):
        clock.hear(late, since=late + 10.0, now=late + 11.0)
    assert clock.ahead == 0.0, "one of the last was in time"


def test_several_of_one_look_may_all_be_late() -> None:
    clock = Clock()
    for sent in (40.0, 42.0, 44.0):
        clock.hear(sent, since=50.0, now=51.0)
    assert clock.ahead == 0.0


def test_one_that_is_early_is_proof() -> None:
    clock = Clock()
    clock.hear(160.0, since=0.0, now=100.0)
    assert clock.ahead == 60.0


def test_a_clock_that_was_set_right_is_right() -> None:
    clock = Clock()
    for offset in (60.0, -60.0, 0.0):
        for look in range(100, 104):
            clock.hear(look + 0.5 + offset, since=look, now=look + 1)
        assert abs(clock.ahead - offset) <= 0.5


@given(offset=st.floats(-1e6, 1e6), delays=st.lists(SECONDS, min_size=1, max_size=9))
def test_never_more_is_claimed_than_the_least_delay_explains(
    offset: float, delays: list[float]
) -> None:
    clock = Clock()
    for number, delay in enumerate(delays):
        arrived = 1000.0 * number
        clock.hear(arrived - delay + offset, since=arrived - 1.0, now=arrived + 1.0)

    least, slack = min(delays[-3:]), 1e-6
    if clock.ahead > 0:
        assert clock.ahead <= offset + slack
    elif clock.ahead < 0:
        assert offset - least - slack <= clock.ahead <= offset + 1.0 + slack
        assert len(delays) > 1
