"""What the tests of the pool share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hands import Hands, MakeCrew

from bgworker.worker.pool import Pool, new_child


@pytest.fixture
def crew() -> Iterator[MakeCrew]:
    """A pool with this many children, and their hands."""
    made: list[Hands] = []

    def make(children: int) -> tuple[Pool, list[Hands]]:
        pool = Pool({"quick": 0, "slow": 1})
        for slot in range(children):
            child, jobs, reports = new_child(slot)
            child.pid = 1_000_000 + slot
            pool.children[slot] = child
            made.append(Hands(child, jobs, reports))
        return pool, made

    yield make
    for hands in made:
        hands.close()
