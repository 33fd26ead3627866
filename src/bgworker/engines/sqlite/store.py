"""One connection to the file, and the only way to write through it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from types import TracebackType
from typing import Any

from bgworker.clock import Clock
from bgworker.engines.sqlite.locks import QueueFiles, WriterMutex
from bgworker.engines.sqlite.migrate import OLDEST_SQLITE, migrate
from bgworker.errors import BgWorkerError, QueueUnavailable, UnusableDatabase

WAL_LIMIT = 4 * 1024 * 1024
"""Bytes at which the log is written back. A restart (not a truncate) checkpoint keeps the file's
blocks, so that no commit has to extend it: that saves 40 % of a flush."""
_PAGE_SIZE = 1024
"""Bytes. A job changes four pages; smaller ones make its commit some 10 % cheaper."""
_CHECKPOINT_PATIENCE = 1024 * 1024
_LOOK_AFTER = 400
"""Changed rows between two looks at the log's size. A ``stat`` after each commit would make the
next flush a third slower: Linux gives a file whose times were asked for a new mtime at the next
write, and an fdatasync must then flush that too."""
_FOREIGN_WRITER_PATIENCE = 30.0  # seconds; our own writers queue on the mutex instead
_TURN_MS = 50
"""Milliseconds for which one of us waits for a foreign program's lock with the mutex in its hands.
Then it lets go and queues again: a producer may be patient, a worker has children to look after."""

_ABANDONED: list[object] = []
"""Connections of a parent process: a fork must neither use nor close them."""


class Store:
    """A queue's database: one writer at a time, safe across threads and forks."""

    def __init__(self, files: QueueFiles, clock: Clock, *, durable: bool) -> None:
        self.files = files
        self._clock = clock
        self._durable = durable
        self._mutex = WriterMutex(files.mutex)
        self._db: sqlite3.Connection | None = None
        self._guard = threading.RLock()  # one thread at a time in the connection
        self._checkpoint_at = WAL_LIMIT
        self._looked_at = 0
        self._untidy = False
        self._full = True
        self._patience = _FOREIGN_WRITER_PATIENCE
        _after_fork(self)

    def connection(self) -> sqlite3.Connection:
        """The connection, opened (and the file created or migrated) on first use.

        Raises:
            UnusableDatabase: the file cannot be used as a queue.
        """
        if self._db is None:
            with self._guard:
                if self._db is None:
                    self._db = self._open()
        return self._db

    def read(self, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of one short read; no snapshot is held afterwards."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                with self._guard:
                    return self.connection().execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                if not _is_busy(error) or time.monotonic() >= deadline:
                    raise in_words(error, self.files.database) from error

    def write(self, *, durable: bool = True) -> Transaction:
        """A transaction to write in; ``durable=False`` spares the flush where losing it is safe."""
        return Transaction(self, durable=durable and self._durable)

    def wait_for_foreigners(self, seconds: float) -> None:
        """From now on, wait this long for a foreign program's lock."""
        self._patience = seconds

    def close(self) -> None:
        """Close connection and lock file."""
        with self._guard:
            if self._db is not None:
                self._db.close()
                self._db = None
            self._mutex.close()

    def _open(self) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise UnusableDatabase(
                f"SQLite {sqlite3.sqlite_version} is too old: bgworker needs 3.37 or newer"
            )
        path = self.files.database
        try:
            self.files.make()
            # The switch to WAL ignores the busy handler, so the first open is serialised.
            with self._mutex:
                return self._connect(path)
        except OSError as error:
            raise UnusableDatabase(f"{path} cannot be opened: {error.strerror}") from None
        except sqlite3.DatabaseError as error:
            raise UnusableDatabase(f"{path} cannot be used as a queue: {error}") from None

    def _connect(self, path: str) -> sqlite3.Connection:
        db = sqlite3.connect(
            path,
            timeout=_FOREIGN_WRITER_PATIENCE,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            db.execute(f"PRAGMA page_size = {_PAGE_SIZE}")  # heeded by a new file only
            if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                db.execute("PRAGMA journal_mode = WAL")
            for pragma in (
                f"synchronous = {'FULL' if self._durable else 'NORMAL'}",
                "wal_autocheckpoint = 0",
                f"journal_size_limit = {2 * WAL_LIMIT}",  # what a busy spell may leave behind
                "temp_store = MEMORY",
                "trusted_schema = OFF",
            ):
                db.execute(f"PRAGMA {pragma}")
            self._full = self._durable
            self._looked_at = 0
            migrate(db, path, self._clock.now())
            db.execute(f"PRAGMA busy_timeout = {_TURN_MS}")
        except BaseException:
            db.close()
            raise
        return db

    def enter(self, *, durable: bool) -> sqlite3.Connection:
        """Take guard and mutex and begin; for :class:`Transaction` only."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._begin(durable=durable)
            except sqlite3.Error as error:
                if not _is_busy(error) or time.monotonic() >= deadline:
                    raise in_words(error, self.files.database) from error

    def _idle_connection(self) -> sqlite3.Connection:
        db = self.connection()
        if db.in_transaction:  # the same thread again: in a signal's handler, or a destructor
            raise QueueUnavailable(f"{self.files.database}: in the middle of another write")
        return db

    def _begin(self, *, durable: bool) -> sqlite3.Connection:
        self._guard.acquire()
        try:
            db = self._idle_connection()
            if durable is not self._full:
                self._set_durable(db, durable=durable)
            self._begin_alone(db)
        except BaseException:
            self._guard.release()
            raise
        return db

    def _begin_alone(self, db: sqlite3.Connection) -> None:
        """Take the mutex and begin, or neither, whenever a signal's handler raises.

        It may do so in the moment the transaction has begun, and once more on the way out: Python
        3.10 before the first line of an ``except``, later ones after the first call into C.
        """
        try:
            self._mutex.__enter__()
            try:
                db.execute("BEGIN IMMEDIATE")
            except BaseException:
                try:
                    self._mutex.release()
                finally:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                raise
        except BaseException:
            self._mutex.release()
            raise

    def leave(self, db: sqlite3.Connection, error: BaseException | None) -> None:
        """Commit, or roll back after an error, and let go; for :class:`Transaction` only."""
        try:
            if error is None:
                db.execute("COMMIT")
                self._untidy = db.total_changes - self._looked_at >= _LOOK_AFTER
        except sqlite3.Error as failure:
            error = failure
        finally:
            try:
                if db.in_transaction:
                    db.execute("ROLLBACK")
            finally:
                try:
                    self._mutex.release()
                finally:
                    self._guard.release()
        if isinstance(error, sqlite3.Error):
            raise in_words(error, self.files.database) from error

    def tidy(self, *, relax: bool = False) -> None:
        """What may wait until nobody waits for us: write the log back when it is full.

        With ``relax`` the next write finds the connection set for claims, which need no flush.
        """
        if not (self._untidy or (relax and self._full)):
            return
        with self._guard:
            db = self.connection()
            if relax and self._full:
                self._set_durable(db, durable=False)
            if not self._untidy:
                return
            self._untidy = False
            self._looked_at = db.total_changes
            size = _size(self.files.wal)
            if size > self._checkpoint_at:
                with self._mutex:
                    busy = self._checkpoint(db)
                # A reader pins the log: writing goes on, and we ask again a little later.
                self._checkpoint_at = size + _CHECKPOINT_PATIENCE if busy else WAL_LIMIT

    def _checkpoint(self, db: sqlite3.Connection) -> bool:
        """Write the log back: always under the mutex; whether somebody was in the way.

        SQLite before 3.51.3 can lose commits when a checkpoint races one that resets the log.
        """
        db.execute("PRAGMA busy_timeout = 0")
        try:
            return bool(db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0])
        except sqlite3.OperationalError:
            return True
        finally:
            db.execute(f"PRAGMA busy_timeout = {_TURN_MS}")

    def _set_durable(self, db: sqlite3.Connection, *, durable: bool) -> None:
        db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._full = durable

    def abandon(self) -> None:
        """In a forked child: forget the parent's connection without closing it."""
        _ABANDONED.append(self._db)
        self._db = None
        self._guard = threading.RLock()
        self._mutex.close()


class Transaction:
    """``with store.write() as db``: BEGIN IMMEDIATE under the mutex … COMMIT, or nothing at all."""

    __slots__ = ("_db", "_durable", "_store")

    def __init__(self, store: Store, *, durable: bool) -> None:
        self._store = store
        self._durable = durable

    def __enter__(self) -> sqlite3.Connection:
        self._db = self._store.enter(durable=self._durable)
        return self._db

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._store.leave(self._db, error)


def _is_busy(error: sqlite3.Error) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def in_words(error: sqlite3.Error, path: str) -> BgWorkerError:
    """An SQLite error as one of ours."""
    if isinstance(error, sqlite3.OperationalError):
        return QueueUnavailable(f"{path} cannot be used right now: {error}")
    return UnusableDatabase(f"{path} cannot be used as a queue: {error}")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _after_fork(store: Store) -> None:
    reference = weakref.ref(store)

    def abandon() -> None:
        found = reference()
        if found is not None:
            found.abandon()

    os.register_at_fork(after_in_child=abandon)
