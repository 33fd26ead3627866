"""Taking prefetched jobs back from a child while it reads on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from specimens import claim

from bgworker.worker.frames import receive_order
from bgworker.worker.pool import Child, Pool, new_child


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
    pool = Pool({"t": 0})
    pool.children[0] = child
    pool.pace.note("t", 0.00001)
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
    large = claim(7)
    object.__setattr__(large, "args", "x" * 500_000)
    pool.backlog.append(large)
    assert pool.dispatch() == []
    pool.recall(child)

    assert [c.id for c in pool.backlog] == ["0", "7"]
    assert len(os.listdir("/proc/self/fd")) == before
