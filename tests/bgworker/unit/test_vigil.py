"""A worker notices the end of another at once, whatever the clock says."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgworker.contracts import Membership
from bgworker.engines.memory import MemoryEngine
from bgworker.engines.sqlite import SqliteEngine
from bgworker.model import WorkerProfile
from bgworker.worker.vigil import Vigil

USUAL = 30.0


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SqliteEngine]:
    engine = SqliteEngine(str(tmp_path / "jobs.db"), durable=False)
    yield engine
    engine.close()


@pytest.fixture
def selector() -> Iterator[selectors.BaseSelector]:
    with selectors.DefaultSelector() as selector:
        yield selector


@pytest.fixture
def neighbour() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    )
    yield process
    process.kill()
    process.communicate()


def join(engine: SqliteEngine, name: str, pid: int) -> Membership:
    return engine.join(WorkerProfile(name=name, host="h", pid=pid, concurrency=1), [])


def hear(selector: selectors.BaseSelector, seconds: float) -> int:
    """How many watched processes ended within this time."""
    events = selector.select(seconds)
    for key, _ in events:
        key.data()
    return len(events)


def test_the_end_of_another_worker_is_heard(
    engine: SqliteEngine, selector: selectors.BaseSelector, neighbour: subprocess.Popen[bytes]
) -> None:
    mine = join(engine, "mine", os.getpid())
    join(engine, "other", neighbour.pid)
    vigil = Vigil(selector, engine, mine)
    vigil.renew()
    assert (vigil.take(), vigil.look_after(USUAL)) == (False, USUAL)

    neighbour.send_signal(signal.SIGKILL)

    assert hear(selector, 10) == 1
    assert vigil.take() is True
    assert vigil.take() is False, "once"
    assert vigil.look_after(USUAL) < 0.1, "its children may take a moment to die"
    vigil.renew()  # the row is still there
    assert not selector.get_map(), "it is not watched again"
    vigil.close()


def test_who_leaves_is_forgotten_and_who_comes_is_watched(
    engine: SqliteEngine, selector: selectors.BaseSelector, neighbour: subprocess.Popen[bytes]
) -> None:
    mine = join(engine, "mine", os.getpid())
    vigil = Vigil(selector, engine, mine)
    vigil.renew()
    assert not selector.get_map()
    other = join(engine, "other", neighbour.pid)
    vigil.renew()
    assert len(selector.get_map()) == 1
    engine.leave(other)
    vigil.renew()
    assert not selector.get_map()
    join(engine, "next", neighbour.pid)
    vigil.renew()
    vigil.close()
    assert not selector.get_map()


def test_a_pid_of_nobody_is_watched_in_vain(
    engine: SqliteEngine, selector: selectors.BaseSelector
) -> None:
    """As another container may count: the tick is there for that."""
    mine = join(engine, "mine", os.getpid())
    join(engine, "other", 2**22 + 1)
    vigil = Vigil(selector, engine, mine)
    vigil.renew()
    assert not selector.get_map()
    assert vigil.look_after(USUAL) == USUAL


def test_looking_for_others_reads_no_table_as_long_as_nobody_comes_or_goes(
    engine: SqliteEngine, tmp_path: Path
) -> None:
    mine = join(engine, "mine", os.getpid())
    join(engine, "other", 4711)
    assert engine.peers(mine) == {4711}
    engine._store.close()
    (tmp_path / "jobs.db").rename(tmp_path / "away.db")
    assert engine.peers(mine) == {4711}
    (tmp_path / "away.db").rename(tmp_path / "jobs.db")


def test_nobody_shares_the_memory_of_a_process() -> None:
    engine = MemoryEngine()
    seat = engine.join(WorkerProfile(name="w", host="h", pid=1, concurrency=1), [])
    assert engine.peers(seat) == frozenset()
    engine.close()
