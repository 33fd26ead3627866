"""When a worker is called well, from what its scoreboard shows and on a clock of the test's own."""

from __future__ import annotations

from bgworker.scoreboard import Board
from bgworker.worker.pulse import PATIENCE, Pulse


def board(beat: int, children: int = 1) -> Board:
    return Board(beat, 0, 0, (None,), children)


def beating(*, until: float, children: int = 1) -> Pulse:
    """Looked at twice a second, from 0 on."""
    pulse = Pulse()
    for half in range(int(until * 2) + 1):
        pulse.look(board(half, children), half / 2)
    return pulse


def test_what_beats_and_has_children_is_well() -> None:
    pulse = beating(until=3)

    assert pulse.complaint(3.0) is None
    assert pulse.age(3.25) == 0.25


def test_a_beat_from_before_we_looked_proves_nothing() -> None:
    pulse = Pulse()
    pulse.look(board(1_700_000_000_000), 0.0)
    pulse.look(board(1_700_000_000_000), 0.5)

    assert pulse.age(0.5) is None
    assert pulse.complaint(0.5) == "the worker has not begun yet"


def test_a_loop_that_stands_still_is_told_once_patience_is_over() -> None:
    pulse = beating(until=3)
    for at in range(8, 20):
        pulse.look(board(6), at / 2)

    assert pulse.complaint(3 + PATIENCE) is None
    assert pulse.complaint(3 + PATIENCE + 0.5) == (
        "the worker's loop has not turned for 6 s: it is stopped, or it hangs"
    )


def test_a_clock_that_is_set_back_is_no_illness() -> None:
    pulse = beating(until=3)
    pulse.look(board(-3_600_000), 3.5)

    assert pulse.age(3.5) == 0.0


def test_a_moment_without_children_is_not_told_but_a_long_one_is() -> None:
    pulse = beating(until=3)
    for half in range(7, 20):
        pulse.look(board(half, children=0), half / 2)

    assert pulse.complaint(3 + PATIENCE) is None
    assert pulse.complaint(9.5) == "the worker has no process that could run a job"
    assert beating(until=1, children=0).complaint(1.0) == pulse.complaint(9.5)


def test_a_missing_scoreboard_is_told_at_once() -> None:
    pulse = beating(until=3)
    pulse.look(None, 3.5)

    assert pulse.complaint(3.5) == "the worker's own file beside the database is gone"


def test_after_we_were_suspended_ourselves_the_worker_gets_its_time_again() -> None:
    pulse = beating(until=3)
    pulse.look(board(6), 1000.0)  # with the worker: it has not had the time to beat

    assert pulse.complaint(1000.0) is None
    for at in range(1001, 1010):
        pulse.look(board(6), float(at))
    assert pulse.complaint(1009.0) is not None
