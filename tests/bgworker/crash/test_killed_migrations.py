"""A queue is made by one transaction: who dies in it leaves nothing, and the next one makes it."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from bgworker.engines.sqlite import SqliteEngine
from bgworker.engines.sqlite.migrate import VERSION, migrate, version_of
from bgworker.model import JobSpec


class Doomed(sqlite3.Connection):
    """Dies instead of executing its n-th statement."""

    left = 0

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        return super().execute(*arguments)


def migrate_and_die_at(path: Path, statement: int) -> bool:
    """In a process of its own; whether it came so far."""
    pid = os.fork()
    if pid == 0:
        try:
            db = sqlite3.connect(path, isolation_level=None, factory=Doomed)
            db.left = statement
            migrate(db, str(path), 0)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in {0, -signal.SIGKILL}
    return status != 0


def test_a_process_that_is_killed_at_any_statement(tmp_path: Path) -> None:
    died = 0
    while True:
        path = tmp_path / f"{died}.db"
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("CREATE TABLE ours (n)")
        if not migrate_and_die_at(path, died):
            break
        with closing(sqlite3.connect(path)) as db:
            assert version_of(db) == 0
            assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("ours",)]
        with closing(SqliteEngine(str(path), durable=False)) as engine:
            (job,) = engine.enqueue([JobSpec(task="t")])
            assert engine.fetch(job).task == "t"
        with closing(sqlite3.connect(path)) as db:
            assert version_of(db) == VERSION
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        died += 1
    assert died > 30, "begin, every table, index and trigger, the version, and commit"
