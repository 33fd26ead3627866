"""The file of a recording: SQLite that is written once a second and drops its oldest part.

It is made of parts: a keyframe, and the samples after it. ``part.id`` is the number of its first
sample. What is committed survives the end of the process by any signal. One process writes: its
name is in the file, and every transaction makes sure that it still is.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple

from bgtop.state.coding import BadRecord, micros
from bgtop.state.fold import Sample
from bgtop.state.knowledge import Knowledge
from bgtop.state.record import FORMAT, Scribe

APPLICATION: Final = int.from_bytes(b"bgtr", "big")
"""What SQLite's ``application_id`` says of a recording."""

LEAST_OCTETS: Final = 1_000_000
"""A cap below this would leave no room for the journal."""

_JOURNAL: Final = 384 << 10
"""Octets of the cap that are left to the journal beside the file."""

_PART: Final = 180.0
"""Seconds of a part: to seek is to read one keyframe, and to play at most so much."""

_PARTS: Final = 12
"""So many parts at least fit a recording of any size: a twelfth of it is dropped at a time."""

_BEAT: Final = 20.0
"""Seconds after which a writer without news says that it is there."""

_LEASE: Final = 60.0
"""Seconds after which a writer that said nothing has lost the file."""

_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS part
        (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, keyframe BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS sample
        (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, data BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""


class RecordingError(Exception):
    """A recording cannot be written or read; the message is one line for the user."""


class Busy(RecordingError):
    """Somebody else writes it."""


class Nothing(RecordingError):
    """There is no recording, or it holds nothing yet."""


class _Row(NamedTuple):
    """What is still to be written."""

    at: int
    data: bytes
    is_keyframe: bool


def packed(record: Any) -> bytes:
    """JSON, compressed where that is shorter."""
    text = json.dumps(record, separators=(",", ":")).encode()
    if len(text) < 100:
        return text
    return min(zlib.compress(text, 6), text, key=len)


def unpacked(data: bytes) -> Any:
    """The record; raises :class:`bgtop.state.coding.BadRecord`."""
    try:
        return json.loads(data if data[:1] in {b"[", b"{"} else zlib.decompress(data))
    except (zlib.error, ValueError, RecursionError) as fault:
        raise BadRecord(f"damaged: {fault}") from None


def is_there(path: str) -> bool:
    """Whether this is a recording; ``False`` where nothing is, or an empty file.

    Raises :class:`RecordingError` for anything else. The file is looked at, and not touched.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise RecordingError(f"{path} is no regular file, and so no recording")
        with open(path, "rb") as file:
            head = file.read(100)
    except FileNotFoundError:
        return False
    except OSError as fault:
        raise RecordingError(f"{path}: {_words(fault)}") from None
    if not head:
        return False
    application, version = head[68:72], int.from_bytes(head[60:64], "big")
    if head[:16] != b"SQLite format 3\0" or int.from_bytes(application, "big") != APPLICATION:
        raise RecordingError(f"{path} is no recording of bgtop; it was left as it is")
    if version > FORMAT:
        raise RecordingError(
            f"{path} was recorded by a newer bgtop (format {version}, this one knows {FORMAT})"
        )
    return True


def _words(fault: Exception) -> str:
    strerror = getattr(fault, "strerror", None)
    return (strerror or str(fault) or type(fault).__name__).lower()


@contextmanager
def told(path: str) -> Iterator[None]:
    """Faults of SQLite and of what is stored, as :class:`RecordingError`."""
    try:
        yield
    except (sqlite3.Error, BadRecord, OSError) as fault:
        raise RecordingError(f"{path}: {_words(fault)}") from None


class Recorder:
    """Writes a recording; used from one thread. ``longest`` is how many seconds are kept.

    ``about`` says what is recorded where that must not change, as with a history.
    """

    def __init__(
        self, path: str, *, most: int, longest: float | None = None, about: str | None = None
    ) -> None:
        """Open or make it; raises :class:`RecordingError`, or :class:`Busy`."""
        self._path, self._most, self._longest = path, most, longest
        self.existed = is_there(path)
        if not self.existed:
            self._create()
        self._name = f"{os.getpid()} {_host()} {os.urandom(6).hex()}"
        self._scribe = Scribe()
        self._rows: list[_Row] = []
        self._part_at: int | None = None
        self._part_octets = self._keyframe_octets = 0
        self._interval: float | None = None
        with told(path):
            self._db = sqlite3.connect(path, timeout=2.0, isolation_level=None)
            try:
                self._open(about)
            except BaseException:
                self._db.close()
                raise

    def _create(self) -> None:
        """An empty file of its owner alone, then the schema in one transaction."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with told(self._path):
            file = os.open(self._path, flags, 0o600)
            os.fchmod(file, 0o600)
            os.close(file)
            with closing(sqlite3.connect(self._path, isolation_level=None)) as db:
                db.execute("PRAGMA auto_vacuum = INCREMENTAL")
                db.executescript(
                    f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION};"
                    f"PRAGMA user_version = {FORMAT}; COMMIT"
                )

    def _open(self, about: str | None) -> None:
        with self._transaction():
            notes = dict(self._db.execute("SELECT name, value FROM note"))
            if about is not None and (notes.get("about") or about) != about:
                raise RecordingError(f"{self._path} is the history of something else")
            self._claim(notes)
            if about is not None:
                self._note("about", about)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA wal_autocheckpoint = 32")
        self._db.execute(f"PRAGMA journal_size_limit = {_JOURNAL}")
        [(last,)] = self._db.execute(
            "SELECT max(coalesce((SELECT max(at) FROM part), 0),"
            " coalesce((SELECT at FROM sample ORDER BY id DESC LIMIT 1), 0))"
        )
        self._last_at: int = last
        [(self._next_id,)] = self._db.execute(
            "SELECT 1 + max(coalesce((SELECT max(id) FROM part), 0),"
            " coalesce((SELECT max(id) FROM sample), 0))"
        )

    def _claim(self, notes: dict[str, Any]) -> None:
        """Put our name into the file unless somebody else's is, who lives."""
        if notes.get("writer"):
            pid, host, _ = str(notes["writer"]).split(" ", 2)
            silent = time.time() - float(notes["beat"])
            if 0 <= silent < _LEASE and (host != _host() or _lives(int(pid))):
                raise Busy(f"{self._path} is being written by process {pid} on {host}")
        self._note("writer", self._name)
        self._beat()

    def _beat(self) -> None:
        self._beat_at = time.monotonic()
        self._note("beat", time.time())

    def _note(self, name: str, value: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (name, value))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def begin(self, known: Knowledge, at: datetime, interval: float | None = None) -> None:
        """Begin a part with what is known."""
        self._interval = interval
        self._keyframe(known, self._later(at))

    def hear(self, sample: Sample, known: Knowledge, at: datetime) -> None:
        """Take in a sample that came at this time, with what is known after it."""
        moment = self._later(at)
        if self._part_at is None or self._is_full(moment):
            self._keyframe(known, moment)
            return
        data = packed(self._scribe.sample(sample, known.snapshot))
        self._part_octets += len(data)
        self._rows.append(_Row(moment, data, is_keyframe=False))

    def _later(self, at: datetime) -> int:
        """The time of a sample; a clock that is set back does not turn their order round."""
        self._last_at = max(self._last_at, micros(at))
        return self._last_at

    def _is_full(self, moment: int) -> bool:
        if self._part_at is None or moment - self._part_at >= _PART * 1e6:
            return True
        # Keyframes cost no more than what they make quick to find.
        return self._part_octets >= max(self._most // _PARTS, self._keyframe_octets)

    def _keyframe(self, known: Knowledge, moment: int) -> None:
        data = packed(self._scribe.keyframe(known, self._interval))
        if len(data) > self._most // 4:
            raise RecordingError(
                f"{self._path}: one picture of all this takes {len(data) >> 10} kB;"
                f" a recording of {self._most >> 10} kB is too small for it"
            )
        self._part_at, self._part_octets, self._keyframe_octets = moment, 0, len(data)
        self._rows.append(_Row(moment, data, is_keyframe=True))

    def commit(self) -> None:
        """Write what was taken in; raises :class:`RecordingError`. Cheap when there is nothing."""
        if not self._rows and time.monotonic() - self._beat_at < _BEAT:
            return
        with told(self._path), self._transaction():
            [name] = self._db.execute("SELECT value FROM note WHERE name = 'writer'").fetchone()
            if name != self._name:
                raise RecordingError(f"{self._path} was taken over by another bgtop")
            self._make_room(sum([len(row.data) for row in self._rows]))
            for moment, data, is_keyframe in self._rows:
                insert = _ADD_PART if is_keyframe else _ADD_SAMPLE
                self._db.execute(insert, (self._next_id, moment, data))
                self._next_id += 1
            self._beat()
        self._rows.clear()

    def _make_room(self, octets: int) -> None:
        """Drop the oldest parts until so much more fits, or what is kept is young enough."""
        oldest = 0 if self._longest is None else self._last_at - int(self._longest * 1e6)
        while True:
            parts = self._db.execute("SELECT id, at FROM part ORDER BY id LIMIT 2").fetchall()
            fits = self._used() + octets + (octets >> 3) <= self._most - _JOURNAL
            if len(parts) < 2 or (fits and parts[1][1] >= oldest):
                break
            # A sample and a part never have the same number.
            for drop in _DROP:
                self._db.execute(drop, (parts[1][0],))
        if self._pragma("page_count") * self._pragma("page_size") > self._most - _JOURNAL:
            self._db.execute("PRAGMA incremental_vacuum").fetchall()

    def _used(self) -> int:
        pages = self._pragma("page_count") - self._pragma("freelist_count")
        return pages * self._pragma("page_size")

    def _pragma(self, name: str) -> int:
        number: int = self._db.execute(f"PRAGMA {name}").fetchone()[0]
        return number

    def close(self) -> None:
        """Write what is left and leave one file behind; raises :class:`RecordingError`."""
        try:
            self.commit()
            with told(self._path), self._transaction():
                self._db.execute(
                    "DELETE FROM note WHERE name = 'writer' AND value = ?", (self._name,)
                )
            with told(self._path):
                self._db.execute("PRAGMA journal_mode = DELETE").fetchall()
        finally:
            self._db.close()

    @property
    def octets(self) -> int:
        """How large the file is."""
        return os.stat(self._path).st_size


_ADD_PART: Final = "INSERT INTO part VALUES (?, ?, ?)"
_ADD_SAMPLE: Final = "INSERT INTO sample VALUES (?, ?, ?)"
_DROP: Final = ("DELETE FROM part WHERE id < ?", "DELETE FROM sample WHERE id < ?")


def _host() -> str:
    return os.uname().nodename.replace(" ", "-")


def _lives(pid: int) -> bool:
    """Whether another process of this number lives; ours had this number in an earlier life."""
    if pid in {0, os.getpid()}:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
