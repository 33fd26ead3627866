"""Opening the file: refusing what cannot be a queue before anything is changed."""

from __future__ import annotations

import os
import sqlite3
import time

from bgworker.engines.sqlite.faults import is_busy, refuse_what_is_no_file
from bgworker.engines.sqlite.locks import QueueFiles, size_of
from bgworker.engines.sqlite.migrate import OLDEST_SQLITE
from bgworker.engines.sqlite.mounts import mount_of
from bgworker.errors import UnusableDatabase

MOUNTINFO = "/proc/self/mountinfo"
PATIENCE = 30.0
"""Seconds to wait for a foreign program's lock; our own writers queue on the mutex instead."""
_PAGE_SIZE = 1024
"""Bytes. A job changes four pages; smaller ones make its commit some 10 % cheaper."""

_CACHE_KB = 512
"""What is hot fits: the heads of the queues and the ends of job table, history and indexes."""


def refuse_place(files: QueueFiles, *, allow_network_fs: bool) -> None:
    """Look without touching: at SQLite, the disk, and what is in the file.

    Raises:
        UnusableDatabase: no queue can be there.
        sqlite3.DatabaseError: there is a file, and it is no database.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise UnusableDatabase(
            f"SQLite {sqlite3.sqlite_version} is too old: bgworker needs 3.37 or newer"
        )
    path = files.database
    refuse_what_is_no_file(path)
    mount = None if allow_network_fs else network_mount(path)
    if mount is not None:
        raise UnusableDatabase(
            f"{path} is on a network file system ({mount}), where SQLite loses data: "
            "use a local disk, or allow_network_fs=1 if only this machine ever uses it"
        )
    if not os.path.isdir(files.directory) and size_of(path):
        _read_once(path)


def refuse_orphaned_log(files: QueueFiles) -> None:
    """SQLite would delete the log of a file that was cut to nothing, and with it the jobs there."""
    if size_of(files.database) == 0 and size_of(files.wal):
        raise UnusableDatabase(
            f"{files.database} is empty but {files.wal} is not: put a backup of both in their "
            "place, or move them away to begin anew"
        )


def connect(path: str, *, durable: bool, log_limit: int) -> sqlite3.Connection:
    """A connection in WAL mode; under the mutex, because the switch ignores the busy handler."""
    db = sqlite3.connect(
        path, timeout=PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        db.execute(f"PRAGMA page_size = {_PAGE_SIZE}")  # heeded by a new file only
        _use_log(db, path)
        for pragma in (
            f"synchronous = {'FULL' if durable else 'NORMAL'}",
            "wal_autocheckpoint = 0",
            f"journal_size_limit = {log_limit}",
            f"cache_size = -{_CACHE_KB}",
            "temp_store = MEMORY",
            "trusted_schema = OFF",
        ):
            db.execute(f"PRAGMA {pragma}")
    except BaseException:
        db.close()
        raise
    return db


def _use_log(db: sqlite3.Connection, path: str) -> None:
    deadline = time.monotonic() + PATIENCE
    mode = db.execute("PRAGMA journal_mode").fetchone()[0]
    while mode != "wal":
        try:
            mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:  # a foreign program reads at this moment
            if not is_busy(error) or time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
        else:
            if mode != "wal":
                raise UnusableDatabase(f"{path} cannot be used as a queue: it stays in {mode} mode")


def network_mount(path: str) -> str | None:
    """Type and mount point, if a real path is on a network file system."""
    try:
        with open(MOUNTINFO, encoding="utf-8", errors="surrogateescape") as file:
            found = mount_of(path, file.read())
    except OSError:  # a system without it: nothing is known
        return None
    return f"{found.type} at {found.point}" if found is not None and found.is_remote else None


def _read_once(path: str) -> None:
    """Through SQLite: if we opened and closed the file, this process would lose its locks on it."""
    from urllib.parse import quote

    db = sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode=ro", uri=True, isolation_level=None, timeout=PATIENCE
    )
    try:
        db.execute("PRAGMA schema_version").fetchone()
    finally:
        db.close()
