"""The least that can be called a queue in a file: what Python, SQLite and the disk allow here.

No retries, limits, schedules, timeouts, rescue or logs; a job is a row, a result is a column.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterable, Sequence
from functools import cache

from stamps import stamp

DATABASE = os.environ["BENCH_DATABASE"]
BELL = f"{DATABASE}.bell"
_SYNCHRONOUS = {"full": "FULL", "process": "NORMAL"}[os.environ["BENCH_DURABILITY"]]
_TABLE = """
    CREATE TABLE IF NOT EXISTS job (
        id INTEGER PRIMARY KEY, queue TEXT, priority INTEGER, state INTEGER, task TEXT, args TEXT,
        run_at REAL, enqueued_at REAL, started_at REAL, finished_at REAL, attempts INTEGER,
        result TEXT
    );
    CREATE INDEX IF NOT EXISTS ready ON job (priority, id) WHERE state = 0
"""
_INSERT = (
    "INSERT INTO job (queue, priority, state, task, args, enqueued_at, attempts)"
    " VALUES ('default', 5, 0, 'noop', ?, ?, 0)"
)


def noop(number: int) -> int:
    return stamp(number)


@cache
def database() -> sqlite3.Connection:
    """The one connection of this process."""
    db = sqlite3.connect(DATABASE, isolation_level=None, timeout=30)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {_SYNCHRONOUS}")
    db.executescript(_TABLE)
    return db


@cache
def _ringer() -> socket.socket:
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bell.setblocking(False)
    return bell


def enqueue(number: int) -> None:
    enqueue_all([number])


def enqueue_all(numbers: Sequence[int]) -> None:
    """In one transaction; the worker is told when it is there to be seen."""
    db = database()
    db.execute("BEGIN IMMEDIATE")
    db.executemany(_INSERT, _rows(numbers))
    db.execute("COMMIT")
    with contextlib.suppress(OSError):  # nobody listens, or was told often enough
        _ringer().sendto(b"", BELL)


def _rows(numbers: Iterable[int]) -> Iterable[tuple[str, float]]:
    return ((json.dumps([number]), time.time()) for number in numbers)


def stored() -> int:
    """Jobs whose result is in the file."""
    found: int = database().execute("SELECT count(result) FROM job").fetchone()[0]
    return found
