"""What `bgworker stats` counts for ever: jobs taken from the dead, and words that came too late."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bgworker.engines.sqlite import SqliteEngine
from bgworker.engines.sqlite.seat import SqliteSeat
from bgworker.model import Ended, Failed, Released, Succeeded
from bgworker.report import look
from bgworker.testing.hooks import ERROR, join, show_running, spec


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SqliteEngine]:
    found = SqliteEngine(str(tmp_path / "jobs.db"), durable=False)
    yield found
    found.close()


def test_each_job_that_is_rescued_is_counted(engine: SqliteEngine, url: str) -> None:
    """Whether the dead worker ran it or only held it; not what it had given back before."""
    engine.enqueue([spec()] * 4)
    dead, alive = join(engine, "dead"), join(engine, "alive")
    claims = engine.exchange(dead, [], 4).claims
    show_running(dead, claims[0])
    engine.exchange(dead, [Ended(claims[3], Released())], 0)
    assert isinstance(dead, SqliteSeat)
    dead.vanish()
    assert look(url).rescued == 0
    engine.rescue(alive)
    engine.rescue(alive)

    assert (look(url).rescued, look(url).stale_writes) == (3, 0)


def test_each_word_that_came_too_late_is_counted(engine: SqliteEngine, url: str) -> None:
    """Alone or among others; also when there are enough others to be settled together."""
    engine.enqueue([spec()] * 6)
    seat = join(engine)
    old = engine.exchange(seat, [], 6).claims
    new = engine.exchange(seat, [Ended(claim, Released()) for claim in old], 6).claims
    engine.exchange(seat, [Ended(old[0], Failed(ERROR))], 0)
    assert look(url).stale_writes == 1
    good = [Ended(claim, Succeeded("1")) for claim in new]
    engine.exchange(seat, [Ended(old[1], Succeeded("2")), *good, good[0]], 0)

    assert (look(url).rescued, look(url).stale_writes) == (0, 3)
    assert look(url).queues[0].states["succeeded"] == 6
