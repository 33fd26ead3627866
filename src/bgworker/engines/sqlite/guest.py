"""Storing jobs in a transaction of the application's own, on its own connection.

SQLite's lock is all that is held, not the writer mutex: until the application commits, our writers
meet it as they meet any foreign program, and go on looking after what they run. For the same reason
nobody is rung before the commit: a worker would look at once, and too early.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bgworker.engines.sqlite.enqueue import insert
from bgworker.engines.sqlite.locks import QueueFiles
from bgworker.engines.sqlite.migrate import VERSION, refuse_newer, version_of
from bgworker.errors import UnusableDatabase
from bgworker.model import JobId, JobSpec, Millis


def enqueue_as_guest(
    connection: sqlite3.Connection, files: QueueFiles, jobs: Sequence[JobSpec], now: Millis
) -> Sequence[JobId]:
    """See :meth:`bgworker.engines.sqlite.SqliteEngine.enqueue_in`."""
    if not connection.in_transaction:
        raise ValueError("the connection is in no transaction: BEGIN one, or use enqueue()")
    if not jobs:
        return []
    with _plain_rows(connection):
        _refuse_stranger(connection, files)
        connection.execute("SAVEPOINT bgworker_enqueue")
        try:
            ids = insert(connection, jobs, now)
        except BaseException:
            if connection.in_transaction:  # SQLite ends it by itself when the disk is full
                connection.execute("ROLLBACK TO bgworker_enqueue")
                connection.execute("RELEASE bgworker_enqueue")
            raise
        connection.execute("RELEASE bgworker_enqueue")
    return ids


def _refuse_stranger(connection: sqlite3.Connection, files: QueueFiles) -> None:
    for _, name, path in connection.execute("PRAGMA database_list").fetchall():
        if name == "main" and os.path.realpath(path or "") != files.database:
            raise ValueError(f"the connection is to {path or 'no file'}, not to {files.database}")
    version = version_of(connection)
    refuse_newer(version, files.database)
    if version < VERSION:
        raise UnusableDatabase(
            f"{files.database} has no queue yet, and one cannot be made inside a transaction:"
            " start a worker on it once, or enqueue a job outside"
        )


@contextmanager
def _plain_rows(connection: sqlite3.Connection) -> Iterator[None]:
    """Rows as tuples and text as ``str``, whatever the application has chosen for itself."""
    before = connection.row_factory, connection.text_factory
    connection.row_factory, connection.text_factory = None, str
    try:
        yield
    finally:
        connection.row_factory, connection.text_factory = before
