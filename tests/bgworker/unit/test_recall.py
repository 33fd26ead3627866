"""No job waits behind a long run: what a child was handed ahead is taken back while it reads."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from hands import MakeCrew, age, claim, make_quick

from bgworker.worker.frames import receive_order
from bgworker.worker.pool import RECALL_AFTER, Child, Pool, new_child


@pytest.fixture
def child() -> Iterator[Child]:
    child, jobs, reports = new_child(0)
    os.close(jobs)
    os.close(reports)
    child.pid = os.getpid()
    yield child
    child.close()


def pool_with(child: Child, jobs: int) -> Pool:
    """A pool whose only child was handed this many quick jobs."""
    pool = Pool({"quick": 0})
    pool.children[0] = child
    pool.pace.note("quick", 0.00001)
    pool.backlog.extend(claim(n) for n in range(jobs))
    assert pool.dispatch() == []
    return pool


def test_what_the_child_has_not_read_comes_back(child: Child) -> None:
    """In its order, at the front; what it has read stays with it."""
    pool = pool_with(child, 5)
    receive_order(child.jobs_end)
    receive_order(child.jobs_end)
    pool.backlog.append(claim(9))
    pool.recall(child)

    assert [c.id for c in child.held] == ["0", "1"]
    assert [c.id for c in pool.backlog] == ["2", "3", "4", "9"]
    assert len(child.costs) == 2


def test_a_child_may_read_during_a_recall(child: Child) -> None:
    """Between two of our reads it takes the next one: then exactly the others come back."""
    pool = pool_with(child, 4)
    receive_order(child.jobs_end)  # the child runs 0
    messages = [receive_order(child.jobs_end)[0] for _ in range(3)]
    for message in (messages[0], messages[2]):  # we get 1 and 3, the child got 2
        child.jobs.send(message)
    pool.recall(child)

    assert [c.id for c in child.held] == ["0", "2"]
    assert [c.id for c in pool.backlog] == ["1", "3"]


def test_large_arguments_come_back_whole(child: Child) -> None:
    """A job that travels with an open file leaves no descriptor behind."""
    pool = pool_with(child, 1)
    before = len(os.listdir("/proc/self/fd"))
    pool.backlog.append(claim(7, args="x" * 500_000))
    assert pool.dispatch() == []
    pool.recall(child)

    assert [c.id for c in pool.backlog] == ["0", "7"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_start_is_told_once_although_the_job_was_taken_back_unread(crew: MakeCrew) -> None:
    """On a busy machine a child takes its time to read: the first job, or the one that follows."""
    pool, (hands,) = crew(1)
    make_quick(pool, hands)
    pool.backlog.extend(claim(n) for n in range(3))
    assert pool.dispatch() == []
    assert [c.id for c in pool.take_started()] == ["0"]
    followed = []
    for n in range(3):
        pool.recall(hands.child)
        assert [c.id for c in pool.backlog] == [str(m) for m in range(n, 3)]
        assert pool.dispatch() == []
        assert pool.take_started() == []
        assert hands.take() == str(n)
        hands.finish()
        followed += [following and following.id for *_, following in pool.receive(hands.child)[0]]

    assert followed == ["1", "2", None]


def test_a_start_is_told_anew_when_the_job_had_left(crew: MakeCrew) -> None:
    pool, (hands,) = crew(1)
    pool.backlog.append(claim(0))
    assert pool.dispatch() == []
    assert [c.id for c in pool.take_started()] == ["0"]
    pool.recall(hands.child)
    (gone,) = pool.withdraw(frozenset({(claim(0).id, 1)}))
    pool.backlog.append(gone)
    assert pool.dispatch() == []

    assert [c.id for c in pool.take_started()] == ["0"]


def test_jobs_behind_a_long_run_go_to_the_child_that_is_idle(crew: MakeCrew) -> None:
    pool, (first, second) = crew(2)
    make_quick(pool, first)
    second.child.pid = None
    pool.backlog.extend(claim(n) for n in range(10))
    assert pool.dispatch() == []
    assert first.take() == "0"
    second.child.pid = 7
    pool.recall_stuck(first.child.head_since)
    assert len(first.child.held) == 10, "not yet"
    age(first)
    pool.recall_stuck(time.monotonic())

    assert [c.id for c in first.child.held] == ["0"]
    assert [c.id for c in pool.backlog] == [str(n) for n in range(1, 10)]
    assert pool.dispatch() == []
    assert [c.id for c in second.child.held] == [str(n) for n in range(1, 10)]


def test_a_stuck_child_gets_nothing_more(crew: MakeCrew) -> None:
    """What is taken back from it must not be sent to it again, nor claimed for it."""
    pool, (hands,) = crew(1)
    make_quick(pool, hands)
    pool.backlog.extend(claim(n) for n in range(10))
    assert pool.dispatch() == []
    assert hands.take() == "0"
    age(hands)
    pool.recall_stuck(time.monotonic())

    assert pool.appetite() == 0
    assert [c.id for c in pool.dispatch()] == [str(n) for n in range(1, 10)]
    assert [c.id for c in hands.child.held] == ["0"]
    assert pool.next_recall() is None


def test_the_next_recall_is_known(crew: MakeCrew) -> None:
    pool, (hands,) = crew(1)
    make_quick(pool, hands)
    assert pool.next_recall() is None
    pool.backlog.extend([claim(1)])
    pool.dispatch()
    assert pool.next_recall() is None, "a run with nothing behind it may take its time"
    pool.backlog.extend([claim(2)])
    pool.dispatch()
    found = pool.next_recall()

    assert found is not None
    assert found - time.monotonic() <= RECALL_AFTER
