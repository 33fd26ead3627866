"""The conformance suite on every engine there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgworker.clock import ManualClock
from bgworker.contracts import Engine, Membership
from bgworker.engines.memory import MemoryEngine, MemorySeat
from bgworker.engines.sqlite import SqliteEngine
from bgworker.engines.sqlite.seat import SqliteSeat
from bgworker.testing import EngineSuite


class TestMemory(EngineSuite):
    def open_engine(self, clock: ManualClock) -> Engine:
        return MemoryEngine(clock=clock)

    def kill(self, engine: Engine, seat: Membership) -> None:
        assert isinstance(seat, MemorySeat)
        seat.dead = True


class TestSqlite(EngineSuite):
    durable = True

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = str(tmp_path / "jobs.db")

    def open_engine(self, clock: ManualClock) -> Engine:
        return SqliteEngine(self.path, clock=clock, durable=self.durable)

    def kill(self, engine: Engine, seat: Membership) -> None:
        """The kernel closes a dead process's files, and the lock is free."""
        assert isinstance(seat, SqliteSeat)
        seat.vanish()


class TestSqliteProcessDurability(TestSqlite):
    durable = False
