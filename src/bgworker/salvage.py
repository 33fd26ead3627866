"""What can still be read of a damaged queue: the jobs that have not ended, as JSON lines.

The file and its log are copied first and only the copy is opened, so the damaged ones stay as they
are. The table is read in ranges of ids; a range that cannot be read is halved until what is missing
is as small as the damaged pages are.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from bgworker.codec import load_args
from bgworker.engines import sqlite_path
from bgworker.engines.sqlite.faults import FAULTS
from bgworker.errors import BadUrl, NotJson, UnusableDatabase
from bgworker.values import dataclass

_COLUMNS: Final = (
    "id",
    "task",
    "queue",
    "priority",
    "state",
    "run_at",
    "enqueued_at",
    "attempts",
    "args",
    "unique_key",
)
_ROWS: Final = (
    f"SELECT {', '.join(_COLUMNS)} FROM bgworker_job NOT INDEXED WHERE id BETWEEN ? AND ?"  # noqa: S608  # constants
)
_LAST: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'bgworker_job'"

_COUNTED: Final = """
    SELECT sum(n) FROM bgworker_tally
    WHERE state IN ('scheduled', 'queued', 'running', 'retrying', 'blocked')
"""

_LARGEST_ID: Final = 2**53
_MOST_FAILURES: Final = 100_000
"""Ranges that may fail before the search is given up: a page holds a hundred rows at most."""


@dataclass(frozen=True, slots=True)
class Salvage:
    """What became of it: ``jobs`` saved, of as many as the file's own tallies ``counted``.

    ``why`` is SQLite's word for what could not be read; ``None`` when everything was.
    """

    jobs: int
    counted: int | None
    why: str | None


def salvage(url: str, into: str) -> Salvage:
    """Write every readable job of ``url`` that has not ended into the new file ``into``.

    Each line is an object with columns of the live table; ``args`` and ``kwargs`` are values, or
    ``args`` is the stored text and ``kwargs`` null where that is no JSON any more. Times are
    milliseconds of UTC.

    Raises:
        BadUrl: another engine's URL.
        UnusableDatabase: not one job can be read, ``into`` is there already, or there is no room.
    """
    if not url.startswith("sqlite:"):
        raise BadUrl(f"{url!r} is no file to look into: use sqlite:///jobs.db")
    path = os.path.realpath(sqlite_path(url))
    try:
        # Arguments may be secret; where the result has room there is room for a copy.
        with (
            tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(into))) as folder,
            closing(sqlite3.connect(_copied(path, folder))) as db,
        ):
            return _saved(_Rows(db), path, into)
    except OSError as error:
        words = (error.strerror or type(error).__name__).lower()
        raise UnusableDatabase(f"{error.filename or into}: {words}") from None


def _saved(rows: _Rows, path: str, into: str) -> Salvage:
    jobs = 0
    with os.fdopen(os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        for row in rows:
            file.write(json.dumps(_record(row)) + "\n")
            jobs += 1
    if not jobs and rows.why is not None:
        os.unlink(into)
        raise UnusableDatabase(f"{path}: not one job can be read: {rows.why}; restore a backup")
    return Salvage(jobs, rows.counted(), rows.why)


def _copied(path: str, folder: str) -> str:
    copy = os.path.join(folder, "copy.db")
    shutil.copyfile(path, copy)
    if os.path.exists(f"{path}-wal"):
        shutil.copyfile(f"{path}-wal", f"{copy}-wal")
    return copy


class _Rows:
    """The rows of a damaged table that can be read, each once."""

    def __init__(self, db: sqlite3.Connection) -> None:
        db.text_factory = bytes
        self._db = db
        self._seen: set[int] = set()
        self._failures = 0
        self.why: str | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            last = self._last()
        except FAULTS as error:
            self._failed(error)
            return
        yield from self._between(1, last)

    def counted(self) -> int | None:
        """How many there were by the tallies, if these can be read."""
        try:
            [(n,)] = self._db.execute(_COUNTED).fetchall()
        except FAULTS:
            return None
        return n if isinstance(n, int) else None

    def _last(self) -> int:
        """The largest id there can be; raises if not even the schema can be read."""
        self._db.execute("SELECT 1 FROM bgworker_job WHERE id = 0").fetchall()
        try:
            rows = self._db.execute(_LAST).fetchall()
        except FAULTS as error:
            self._failed(error)
            return _LARGEST_ID
        last = rows[0][0] if rows else 0
        return last if isinstance(last, int) and 0 < last < _LARGEST_ID else _LARGEST_ID

    def _between(self, first: int, last: int) -> Iterator[dict[str, Any]]:
        open_ranges = [(first, last)]
        while open_ranges and self._failures < _MOST_FAILURES:
            first, last = open_ranges.pop()
            try:
                for values in self._db.execute(_ROWS, (first, last)):
                    row = dict(zip(_COLUMNS, values, strict=True))
                    if isinstance(row["id"], int) and row["id"] not in self._seen:
                        self._seen.add(row["id"])
                        yield row
            except FAULTS as error:
                self._failed(error)
                if first < last:
                    middle = (first + last) // 2
                    open_ranges += [(middle + 1, last), (first, middle)]

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self.why = str(error)


def _record(row: dict[str, Any]) -> dict[str, Any]:
    record = {key: _readable(value) for key, value in row.items()}
    try:
        record["args"], record["kwargs"] = load_args(str(record["args"]))
    except NotJson:
        record["kwargs"] = None
    return record


def _readable(value: object) -> object:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
