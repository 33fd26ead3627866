"""What is remembered for pictures, and how little of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from frames import T0, polled, queues

from bgtop.model import QueueReading, Rates, Reading, WorkerReading
from bgtop.state.fold import Polled
from bgtop.state.history import places_of
from bgtop.state.trends import MOST_POINTS, SPACING, Memory, keep, worker_key
from bgtop.view.text import ascii_only, bar, spark, width


def kept(memory: Memory, sample: Polled, rates: Mapping[tuple[str, str], Rates]) -> Memory:
    return keep(memory, sample, rates, places_of([q.name for q in sample.reading.queues], {}))


def depths(*values: int | None, step: float = SPACING) -> Memory:
    memory = Memory()
    for at, depth in enumerate(values):
        reading = Reading(taken_at=T0, queues=(QueueReading(name="q", depth=depth),))
        memory = kept(memory, polled(reading, clock=at * step), {})
    return memory


def test_depths_are_remembered_with_their_gaps() -> None:
    assert depths(1, None, 3).of("a", "q", "depth") == (1, None, 3)


def test_what_was_never_seen_has_no_values() -> None:
    memory = depths(1, 2)

    assert memory.of("a", "other", "depth") == (None, None)
    assert memory.of("nobody", "q", "depth") == ()
    assert memory.of("a", "q", "nonsense") == (None, None)


def test_memory_is_bounded_in_points() -> None:
    assert len(depths(*range(500)).of("a", "q", "depth")) == MOST_POINTS


def test_fast_readings_share_a_point() -> None:
    values = depths(*range(101), step=SPACING / 10).of("a", "q", "depth")

    assert 9 <= len(values) <= 12
    assert values[-1] == 100


def test_workers_are_apart_from_queues_of_the_same_name() -> None:
    reading = Reading(
        taken_at=T0,
        queues=(QueueReading(name="x", depth=5),),
        workers=(WorkerReading(name="x", running=2),),
    )
    memory = kept(Memory(), polled(reading), {("a", "x"): Rates(in_per_second=1.5)})

    assert memory.of("a", "x", "depth") == (5,)
    assert memory.of("a", "x", "in") == (1.5,)
    assert memory.of("a", worker_key("x"), "running") == (2,)
    assert memory.of("a", "x", "running") == (None,)
    assert memory.of("a", worker_key("x"), "depth") == (None,)


def test_rows_that_come_and_go_keep_their_own_values() -> None:
    memory = kept(Memory(), polled(queues("a", "b"), clock=0), {})
    more = replace(queues("b"), queues=(QueueReading(name="b", depth=7),))
    memory = kept(memory, polled(more, clock=10), {})

    assert memory.of("a", "b", "depth") == (1, 7)
    assert memory.of("a", "a", "depth") == (1, None)


def test_a_clock_that_goes_back_begins_anew() -> None:
    memory = kept(depths(1, 2, 3), polled(queues("q"), clock=-5), {})

    assert memory.of("a", "q", "depth") == (1,)


@pytest.mark.parametrize(
    ("values", "change"),
    [((1, 2, 3), 2), ((5,), None), ((None, None), None), ((9, 9, 9, 9, 9, 9, 9, 30), 21)],
)
def test_change(values: tuple[int | None, ...], change: float | None) -> None:
    assert depths(*values).change("depth") == change


def test_numbers_beyond_all_measure_are_unknown() -> None:
    assert depths(10**60).of("a", "q", "depth") == (None,)


@pytest.mark.parametrize(
    ("values", "picture"),
    [
        ((), "    "),
        ((0, 0), "  ▁▁"),
        ((0, 4, 8), " ▁▄█"),
        ((1, None, 1), " █ █"),
        ((9, 9, 0, 1, 2, 8), "▁▁▂█"),
    ],
)
def test_spark(values: tuple[float | None, ...], picture: str) -> None:
    assert spark(values, 4) == picture
    assert width(picture) == 4
    assert len(ascii_only(picture)) == 4


@pytest.mark.parametrize(
    ("share", "picture"), [(0, "····"), (0.5, "██··"), (1, "████"), (7, "████")]
)
def test_bar(share: float, picture: str) -> None:
    assert bar(share, 4) == picture
