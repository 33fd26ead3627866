"""One connection to the file, and the only way to write through it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, NoReturn

from bgworker.clock import Clock
from bgworker.engines.sqlite.faults import (
    FAULTS,
    Fault,
    cannot_open,
    has_outgrown,
    in_words,
    is_busy,
)
from bgworker.engines.sqlite.gauge import Gauge
from bgworker.engines.sqlite.locks import QueueFiles, WriterMutex
from bgworker.engines.sqlite.migrate import migrate
from bgworker.engines.sqlite.opening import PATIENCE, connect, refuse_orphaned_log, refuse_place
from bgworker.engines.sqlite.place import Place
from bgworker.engines.sqlite.reserve import Reserve
from bgworker.engines.sqlite.transaction import Transaction
from bgworker.errors import DiskFull, QueueUnavailable
from bgworker.lock import Lock

WAL_LIMIT = 4 * 1024 * 1024
"""Bytes at which the log is written back. A restart (not a truncate) checkpoint keeps the file's
blocks, so that no commit has to extend it: that saves 40 % of a flush."""
_CHECKPOINT_PATIENCE = 1024 * 1024
_LOOK_AFTER = 400
"""Changed rows between two looks at how full the log is."""
_AS_A_ROW = WAL_LIMIT // _LOOK_AFTER
"""Bytes of arguments and results that count as one more row: a few large ones fill the log too."""
_TURN_MS = 50
"""Milliseconds for which one of us waits for a foreign program's lock with the mutex in its hands.
Then it lets go and queues again: a producer may be patient, a worker has children to look after."""

_STOPPED = 2.0
"""Seconds after which a worker that waits for one of us asks whether that process is stopped: then
it has other things to do, children and signals to look after."""
_CHECKPOINT_TURN = 1.0

_FORK_PATIENCE = 5.0
"""Seconds for which a fork waits for a write that another thread is at."""
_ABANDONED: dict[str, sqlite3.Connection] = {}
"""Connections that were in use at a fork: a child must neither use nor close them, nor open others
to the same file."""


class Store:
    """A queue's database: one writer at a time, safe across threads and forks."""

    def __init__(
        self, files: QueueFiles, clock: Clock, *, durable: bool, allow_network_fs: bool = False
    ) -> None:
        self.files = files
        self._clock = clock
        self._durable = durable
        self._allow_network_fs = allow_network_fs
        self._reserve = Reserve(files.reserve)
        self._place: Place | None = None
        self._mutex = WriterMutex(files.mutex)
        self._db: sqlite3.Connection | None = None
        self.guard = Lock()  # one thread at a time in the connection
        self._gauge = Gauge(files.wal)
        self._checkpoint_at = WAL_LIMIT
        self._looked_at = 0
        self._carried = 0
        self._untidy = False
        self._full = True
        self._patience = PATIENCE
        self._forker: int | None = None
        _at_fork(self)

    def connection(self) -> sqlite3.Connection:
        """The connection, opened (and the file created or migrated) on first use.

        Raises:
            UnusableDatabase: the file cannot be used as a queue.
        """
        if self._db is None:
            with self.guard:
                if self._db is None:
                    self._db = self._open()
        return self._db

    def read(self, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of one short read; no snapshot is held afterwards."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                with self.guard:
                    return self.connection().execute(sql, parameters).fetchall()
            except FAULTS as error:
                if not is_busy(error) or time.monotonic() >= deadline:
                    raise in_words(error, self.files.database) from error

    def write(self, *, durable: bool = True, vital: bool = False) -> Transaction:
        """A transaction to write in; ``durable=False`` spares the flush where losing it is safe.

        While the disk is full only what is ``vital`` is tried: see :meth:`spend_reserve`.
        """
        return Transaction(self, durable=durable and self._durable, vital=vital)

    def carry(self, size: int) -> None:
        """Tell, in a transaction, how many bytes of arguments and results are written in it."""
        self._carried += size

    def wait_for_foreigners(self, seconds: float) -> None:
        """From now on, wait this long for a foreign program's lock."""
        self._patience = seconds
        self._mutex.patience_with_stopped = _STOPPED

    def close(self) -> None:
        """Close connection and lock file."""
        with self.guard:
            self._close_connection()
            self._mutex.close()

    def _close_connection(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
            self._place = None
        self._gauge.close()

    def _open(self) -> sqlite3.Connection:
        path = self.files.database
        if path in _ABANDONED:
            raise QueueUnavailable(f"{path}: this process was forked in the middle of a write")
        try:
            refuse_place(self.files, allow_network_fs=self._allow_network_fs)
            self.files.make()
            try:
                self._mutex.acquire(self._mutex.patience)
                refuse_orphaned_log(self.files)
                return self._connect(path)
            finally:
                self._mutex.release()
        except (OSError, *FAULTS) as error:
            raise cannot_open(error, path) from None

    def _connect(self, path: str) -> sqlite3.Connection:
        db = connect(path, durable=self._durable, log_limit=2 * WAL_LIMIT)
        try:
            migrate(db, path, self._clock.now())
            db.execute(f"PRAGMA busy_timeout = {_TURN_MS}")
            self._place = Place(self.files)
        except BaseException:
            db.close()
            raise
        self._full = self._durable
        self._looked_at = self._carried = 0
        return db

    def enter(self, *, durable: bool, vital: bool) -> sqlite3.Connection:
        """Take guard and mutex and begin; for :class:`Transaction` only."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._begin(durable=durable, vital=vital)
            except FAULTS as error:
                if not is_busy(error) or time.monotonic() >= deadline:
                    raise in_words(error, self.files.database) from error

    def _idle_connection(self) -> sqlite3.Connection:
        db = self.connection()
        if db.in_transaction:  # the same thread again: in a signal's handler, or a destructor
            raise QueueUnavailable(f"{self.files.database}: in the middle of another write")
        return db

    def _begin(self, *, durable: bool, vital: bool) -> sqlite3.Connection:
        self.guard.acquire()
        db = None
        try:
            db = self._idle_connection()
            if durable is not self._full:
                self._set_durable(db, durable=durable)
            self._begin_alone(db, vital=vital)
        except BaseException:
            try:
                if db is not None:
                    self._undo(db)
            finally:
                self.guard.release()
            raise
        return db

    def _undo(self, db: sqlite3.Connection) -> None:
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
        finally:
            self._mutex.release()

    def _begin_alone(self, db: sqlite3.Connection, *, vital: bool) -> None:
        """Take the mutex and begin, or neither, whenever a signal's handler raises.

        It may do so in the moment the transaction has begun, and once more on the way out: Python
        3.10 before the first line of an ``except``, later ones after the first call into C.
        """
        try:
            self._mutex.__enter__()
            try:
                self._admit(vital=vital)
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

    def _admit(self, *, vital: bool) -> None:
        """Whether to write at all: the file is still in its place, and there is room."""
        if self._place is not None:
            self._place.check()
        if self._mutex.is_marked() and not vital:
            if not self._reserve.make():
                path, shortage = self.files.database, self._reserve.shortage()
                raise DiskFull(f"{path}: the disk is full, nothing was stored: {shortage}")
            self._mutex.mark(full=False)

    def leave(self, db: sqlite3.Connection, error: BaseException | None) -> None:
        """Commit, or roll back after an error, and let go; for :class:`Transaction` only."""
        try:
            if error is None:
                db.execute("COMMIT")
                rows = db.total_changes - self._looked_at + self._carried // _AS_A_ROW
                self._untidy = rows >= _LOOK_AFTER
        except FAULTS as failure:
            error = failure
        finally:
            try:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                if isinstance(error, FAULTS):
                    self._on_error(db, error)
            finally:
                try:
                    self._mutex.release()
                finally:
                    self.guard.release()

    def let_go(self) -> None:
        """After an exception: undo what this thread began, and free what it has."""
        if not self.guard.is_held():
            return
        try:
            if self._db is not None:
                self._undo(self._db)
        finally:
            while self.guard.is_held():
                self.guard.release()

    def _on_error(self, db: sqlite3.Connection, error: Fault) -> NoReturn:
        """Under the mutex still. Written back, the log begins anew, which may be room enough."""
        found = in_words(error, self.files.database)
        if isinstance(found, DiskFull) and self._checkpoint(db):
            self._mutex.mark(full=not has_outgrown(self.files.database))  # others have their own
        raise found from error

    def hold_reserve(self) -> None:
        """Have room for endings on a disk that is full one day; for workers."""
        with self.guard, self._mutex:
            self._mutex.mark(full=not self._reserve.make() and self._mutex.is_marked())

    def spend_reserve(self) -> None:
        """Make room for what is vital; all others go on finding the disk full."""
        with self.guard, self._mutex:
            self._mutex.mark(full=True)
            self._reserve.spend()

    def check_place(self) -> None:
        """Raise :class:`DatabaseGone` if the file in use is no longer the one at its path."""
        if self._place is not None:
            self._place.check()

    def tidy(self, *, relax: bool = False) -> None:
        """What may wait until nobody waits for us: write the log back when it is full.

        With ``relax`` the next write finds the connection set for claims, which need no flush.
        """
        if not (self._untidy or (relax and self._full)):
            return
        with self.guard:
            db = self.connection()
            if relax and self._full:
                self._set_durable(db, durable=False)
            if not self._untidy:
                return
            self._untidy = False
            self._looked_at = db.total_changes
            self._carried = 0
            if self._gauge.reaches(self._checkpoint_at):
                if self._checkpoint_alone(db):
                    # A reader pins the log: writing goes on, and we ask again a little later.
                    self._checkpoint_at += _CHECKPOINT_PATIENCE
                else:
                    self._checkpoint_at = WAL_LIMIT

    def _checkpoint_alone(self, db: sqlite3.Connection) -> bool:
        try:
            self._mutex.acquire(_CHECKPOINT_TURN)
            return self._checkpoint(db)
        except QueueUnavailable:  # what was to be stored is stored: no reason to complain
            return True
        finally:
            self._mutex.release()

    def _checkpoint(self, db: sqlite3.Connection) -> bool:
        """Write the log back: always under the mutex; whether somebody was in the way.

        SQLite before 3.51.3 can lose commits when a checkpoint races one that resets the log.
        """
        db.execute("PRAGMA busy_timeout = 0")
        try:
            return bool(db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0])
        except FAULTS:  # what it is, the next write will tell
            return True
        finally:
            db.execute(f"PRAGMA busy_timeout = {_TURN_MS}")

    def _set_durable(self, db: sqlite3.Connection, *, durable: bool) -> None:
        db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._full = durable

    def before_fork(self) -> None:
        """Close the connection, and let no thread open it until the fork is over.

        SQLite keeps a file's locks by process and takes a child for its parent: a connection the
        child opened beside an inherited one would hold no lock in the kernel. Others would think
        that nobody has the file open and delete its log, with what the child writes; and a write
        that was under way in another thread would never end there.
        """
        if self.guard.is_held() or not self.guard.acquire(timeout=_FORK_PATIENCE):
            return
        self._forker = threading.get_ident()
        self._close_connection()

    def after_fork(self) -> None:
        """In the parent: the next use opens it again."""
        if self._forker == threading.get_ident():
            self._forker = None
            self.guard.release()

    def begin_as_child(self) -> None:
        """In a forked child: have nothing in common with the parent."""
        if self._db is not None:
            _ABANDONED[self.files.database] = self._db
            self._db = None
        self._place = None
        self._forker = None
        self._gauge.close()
        self.guard = Lock()
        self._mutex.abandon()


def _at_fork(store: Store) -> None:
    reference = weakref.ref(store)

    def tell(what: Callable[[Store], None]) -> None:
        found = reference()
        if found is not None:
            what(found)

    os.register_at_fork(
        before=lambda: tell(Store.before_fork),
        after_in_parent=lambda: tell(Store.after_fork),
        after_in_child=lambda: tell(Store.begin_as_child),
    )
