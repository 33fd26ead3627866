"""Which child gets which job, and how far ahead."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest
from hands import Hands, MakeCrew, age, claim, make_quick
from hypothesis import given
from hypothesis import strategies as st

from bgworker.worker.pace import DEPTH, HORIZON, Pace
from bgworker.worker.pool import Pool, new_child

# How far ahead


def test_nothing_is_handed_out_ahead_before_anything_is_known(crew: MakeCrew) -> None:
    pool, _ = crew(2)

    assert pool.appetite() == 2
    pool.backlog.extend(claim(n) for n in range(5))
    assert [c.id for c in pool.dispatch()] == ["2", "3", "4"]
    assert [[c.id for c in child.held] for child in pool.children.values()] == [["0"], ["1"]]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 100)), max_size=60))
def test_the_depth_is_always_within_its_bounds(runs: list[tuple[str, float]]) -> None:
    pace = Pace()
    assert pace.depth() == 1
    for task, seconds in runs:
        pace.note(task, seconds)
        assert 1 <= pace.depth() <= DEPTH
        assert 0 <= pace.of(task) <= max(s for _, s in runs)


def test_one_run_that_was_kept_from_its_processor_does_not_make_a_task_slow() -> None:
    pace = Pace()
    for _ in range(500):
        pace.note("t", 0.00001)
    assert pace.depth() == DEPTH
    pace.note("t", 1.0)

    assert pace.of("t") * 8 < HORIZON, "jobs of it may still wait for a child"
    for _ in range(20):
        pace.note("t", 0.00001)
    assert pace.depth() == DEPTH


def test_a_task_that_has_become_slow_is_handed_out_one_by_one() -> None:
    pace = Pace()
    for _ in range(500):
        pace.note("t", 0.00001)
    for _ in range(10):
        pace.note("t", 1.0)

    assert pace.depth() == 1
    assert pace.of("t") > HORIZON / 2, "none waits behind another of it"
    assert pace.of("never seen") == HORIZON


def test_quick_jobs_are_handed_out_ahead_but_only_so_many(crew: MakeCrew) -> None:
    pool, (hands,) = crew(1)
    make_quick(pool, hands)

    assert pool.appetite() == 2 * DEPTH, "what it holds, and as many again for the time we write"
    pool.backlog.extend(claim(n) for n in range(DEPTH + 20))
    assert pool.dispatch() == []
    assert len(hands.child.held) == DEPTH
    assert [c.id for c in pool.backlog] == [str(n) for n in range(DEPTH, DEPTH + 20)]
    assert pool.appetite() == DEPTH - 20

    for _ in range(20):
        hands.take()
        hands.finish(0.00001)
    pool.receive(hands.child)
    assert pool.dispatch() == []
    assert not pool.backlog
    assert len(hands.child.held) == DEPTH


def test_what_was_claimed_ahead_goes_back_when_the_children_turn_out_busy(crew: MakeCrew) -> None:
    pool, (hands,) = crew(1)
    make_quick(pool, hands)
    pool.backlog.extend(claim(n) for n in range(DEPTH + 2))
    assert pool.dispatch() == []
    assert hands.take() == "0"
    age(hands)
    pool.recall_stuck(time.monotonic())

    assert [c.id for c in hands.child.held] == ["0"]
    assert [c.id for c in pool.dispatch()] == [str(n) for n in range(1, DEPTH + 2)]
    assert not pool.backlog
    assert pool.appetite() == 0


def test_a_slow_task_is_never_kept_waiting_among_what_was_claimed_ahead(crew: MakeCrew) -> None:
    pool, (hands,) = crew(1)
    make_quick(pool, hands)
    pool.backlog.extend([*(claim(n) for n in range(DEPTH)), claim(900, "slow")])

    assert [c.task for c in pool.dispatch()] == ["slow"]
    assert not pool.backlog


def test_reports_that_came_while_we_were_writing_do_not_make_a_child_look_stuck(
    crew: MakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has gone on meanwhile: only when a look finds nothing new has a run taken long."""
    pool, (hands,) = crew(1)
    make_quick(pool, hands)
    pool.backlog.extend(claim(n) for n in range(3))
    assert pool.dispatch() == []
    began = hands.child.head_since
    pool.recall_stuck(began)
    monkeypatch.setattr(time, "monotonic", lambda: began + 1.0)  # a transaction on a slow disk

    pool.backlog.append(claim(3))
    assert pool.dispatch() == []
    assert [c.id for c in hands.child.held] == ["0", "1", "2", "3"]


def test_a_task_never_seen_waits_behind_nothing(crew: MakeCrew) -> None:
    """It may be slow, and what may be slow goes to an idle child or back."""
    pool, (hands,) = crew(1)
    make_quick(pool, hands)
    pool.backlog.extend([claim(1), claim(2, "slow"), claim(3)])

    assert [c.task for c in pool.dispatch()] == ["slow"]
    assert [c.id for c in hands.child.held] == ["1", "3"]


# Claims that no child may hold now


def test_refused_claims_are_not_claimed_again_at_once(crew: MakeCrew) -> None:
    """Otherwise the worker would claim and give back the same jobs in a loop."""
    pool, (hands,) = crew(1)
    make_quick(pool, hands)
    pool.backlog.extend([claim(1, "slow"), claim(2, "slow"), claim(3, "slow")])

    assert [c.id for c in pool.dispatch()] == ["2", "3"]
    assert pool.appetite() == 0
    hands.take()
    hands.finish(0.001)
    pool.receive(hands.child)
    assert pool.appetite() >= 1


def test_appetite_counts_what_is_still_in_the_backlog(crew: MakeCrew) -> None:
    pool, _ = crew(3)
    pool.backlog.append(claim(1))

    assert pool.appetite() == 2
    pool.backlog.extend(claim(n) for n in range(9))
    assert pool.appetite() == 0


@pytest.mark.parametrize("fault", ["unborn", "condemned", "deaf"])
def test_a_child_that_is_not_there_gets_nothing(crew: MakeCrew, fault: str) -> None:
    pool, (hands,) = crew(1)
    if fault == "unborn":
        hands.child.pid = None
    elif fault == "condemned":
        hands.child.stopped_for = "timeout"
    else:
        hands.child.deaf = True

    assert pool.appetite() == 0
    pool.backlog.append(claim(1))
    assert [c.id for c in pool.dispatch()] == ["1"]
    assert pool.idle()


def test_a_task_that_is_not_known_any_more_is_given_back(crew: MakeCrew) -> None:
    """The application was imported anew while the job was waiting here."""
    pool, (hands,) = crew(1)
    pool.backlog.extend([claim(1, "gone"), claim(2)])

    assert [c.task for c in pool.dispatch()] == ["gone"]
    assert [c.id for c in hands.child.held] == ["2"]


# The books


def test_no_child_is_handed_more_than_it_will_run(crew: MakeCrew) -> None:
    """A child that is replaced after each job gets one at a time, however short they are."""
    _, (hands,) = crew(1)
    pool = Pool({"quick": 0}, 1)
    pool.children[0] = hands.child
    make_quick(pool, hands)
    assert pool.appetite() == 1
    pool.backlog.extend(claim(n) for n in range(5))
    pool.dispatch()

    assert [c.id for c in hands.child.held] == ["0"]


def test_a_flood_of_large_orders_never_blocks(crew: MakeCrew) -> None:
    """A socket takes about 200 kB; what does not fit is given back, and the books still agree."""
    pool, (hands,) = crew(1)
    make_quick(pool, hands)
    pool.backlog.extend(claim(n, args="x" * 60_000) for n in range(30))
    refused = pool.dispatch()
    sent = [c.id for c in hands.child.held]

    assert refused
    assert sent + [c.id for c in refused] == [str(n) for n in range(30)]
    assert [hands.take() for _ in sent] == sent
    with pytest.raises(BlockingIOError):
        hands.take()


class World:
    """A pool with two children, and every claim that was made for it."""

    def __init__(self) -> None:
        self.pool = Pool({"quick": 0})
        self.hands: list[Hands] = []
        for slot in range(2):
            child, jobs, reports = new_child(slot)
            child.pid = slot + 1
            self.pool.children[slot] = child
            self.hands.append(Hands(child, jobs, reports))
        self.claimed = 0
        self.gone: list[str] = []

    def claim(self, _: Hands) -> None:
        more = range(self.claimed, self.claimed + self.pool.appetite())
        self.claimed = more.stop
        self.pool.backlog.extend(claim(n) for n in more)
        self.gone += [c.id for c in self.pool.dispatch()]

    def take(self, hands: Hands) -> None:
        if hands.order is None:
            with contextlib.suppress(BlockingIOError):
                hands.take()

    def finish(self, hands: Hands) -> None:
        if hands.order is not None:
            hands.finish()
            hands.order = None
            self.gone += [c.id for c, *_ in self.pool.receive(hands.child)[0]]

    def recall(self, hands: Hands) -> None:
        self.pool.recall(hands.child)

    def dawdle(self, hands: Hands) -> None:
        age(hands)
        self.pool.recall_stuck(time.monotonic())

    def everything(self) -> list[str]:
        """Every claim, wherever it is."""
        held = [c.id for child in self.pool.children.values() for c in child.held]
        return sorted(held + self.gone + [c.id for c in self.pool.backlog], key=int)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([World.claim, World.take, World.finish, World.recall, World.dawdle]),
            st.integers(0, 1),
        ),
        max_size=80,
    )
)
def test_no_job_is_lost_or_doubled(steps: list[tuple[Callable[[World, Hands], None], int]]) -> None:
    """Whatever happens in which order, each claim is in exactly one place."""
    world = World()
    for step, turn in steps:
        step(world, world.hands[turn])

        assert world.everything() == [str(n) for n in range(world.claimed)]
        for hands in world.hands:
            assert hands.order is None or hands.order.id == hands.child.held[0].id
    for hands in world.hands:
        hands.close()
