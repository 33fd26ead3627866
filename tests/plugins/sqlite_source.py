"""What the conformance tests of every system in an SQLite file share: the file and its witness."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bgtop.testing import BackendSuite


class SqliteSource(BackendSuite):
    """The file is at ``path``, which the test sets; moving it away is its outage."""

    path: Path

    def stop_source(self) -> None:
        self.path.rename(self.path.with_suffix(".away"))

    def start_source(self) -> None:
        self.path.with_suffix(".away").rename(self.path)

    @contextmanager
    def writes_seen(self) -> Iterator[list[str]]:
        """Commits to the file, and files that come or go beside it."""
        witness = sqlite3.connect(self.path, isolation_level=None)
        before = witness.execute("PRAGMA data_version").fetchone()
        files = sorted(os.listdir(self.path.parent))
        writes: list[str] = []
        yield writes
        if witness.execute("PRAGMA data_version").fetchone() != before:
            writes.append("a commit")
        if sorted(os.listdir(self.path.parent)) != files:
            writes.append("a new file")
        witness.close()
