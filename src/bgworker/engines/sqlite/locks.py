"""The files beside a queue's database, and the kernel locks on them.

`jobs.db` has a directory `jobs.db.d` with
    writer.lock            held around every write transaction; not empty while the disk is full
    reserve                room for endings on a full disk
    cleanup.lock           held by the one worker that deletes old jobs
    workers/NAME.lock      a worker's scoreboard; its lock is the worker's proof of life
    workers/NAME.bell      the worker's doorbell
    waiters/NAME.bell      the doorbell of a process that waits for a result

The database and its -wal and -shm are never opened or closed by path here: closing any descriptor
of theirs would drop this process's SQLite locks (POSIX advisory locks belong to the process).
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import time
from collections.abc import Callable

from bgworker.engines.sqlite.turns import StandIn
from bgworker.errors import QueueUnavailable
from bgworker.values import dataclass


def size_of(path: str) -> int:
    """Bytes of a file, asked for by path and without opening it; 0 when there is none."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


@dataclass(frozen=True, slots=True)
class QueueFiles:
    """Where everything of one queue is; ``database`` is its real path, so one file has one name."""

    database: str

    @property
    def wal(self) -> str:
        """SQLite's write-ahead log."""
        return self.database + "-wal"

    @property
    def directory(self) -> str:
        """Our own files."""
        return self.database + ".d"

    @property
    def mutex(self) -> str:
        """The writer mutex."""
        return os.path.join(self.directory, "writer.lock")

    @property
    def reserve(self) -> str:
        """Room on the disk that is held back."""
        return os.path.join(self.directory, "reserve")

    @property
    def broom(self) -> str:
        """Whoever holds its lock deletes old jobs."""
        return os.path.join(self.directory, "cleanup.lock")

    @property
    def workers(self) -> str:
        """Proofs of life and doorbells of workers."""
        return os.path.join(self.directory, "workers")

    @property
    def waiters(self) -> str:
        """Doorbells of those who wait for results."""
        return os.path.join(self.directory, "waiters")

    def life(self, worker: str) -> str:
        """The scoreboard of a worker."""
        return os.path.join(self.workers, f"{worker}.lock")

    def make(self) -> None:
        """Create our directories; the one the database is in must be there."""
        for path in (self.directory, self.workers, self.waiters):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path)


PATIENCE = 30.0
"""Seconds to wait for another writer. Of many, each has its turn long before."""


class WriterMutex:
    """One writer at a time over all processes, woken by the kernel in turn.

    SQLite's own busy handler sleeps on a ladder of up to 100 ms and starves a worker beside busy
    producers; a blocked ``flock`` does not. Its owner lets in one thread at a time.

    ``release`` is a call into C all through: where a wait was interrupted, the next Python function
    may be the one that the signal's handler raises in, before its first line.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None
        self._free: Callable[[], None] = _nothing
        self._stand_in: StandIn | None = None
        self.release: Callable[[], None] = _nothing
        self.patience = self.patience_with_stopped = PATIENCE

    def __enter__(self) -> None:
        self.acquire(self.patience)

    def acquire(self, seconds: float) -> None:
        """Take it.

        Raises:
            QueueUnavailable: another process has it and does not let go in this time.
        """
        if self._fd is None:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._free = functools.partial(fcntl.flock, self._fd, fcntl.LOCK_UN)
        self.release = self._free
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait(seconds)
        except BaseException:
            self.release()  # a signal's handler raised in the moment it was given
            raise

    def _wait(self, seconds: float) -> None:
        if self._stand_in is None:
            self._stand_in = StandIn(self._path)
        self.release = self._stand_in.release
        ends = time.monotonic() + seconds
        while not self._stand_in.wait(min(seconds, self.patience_with_stopped)):
            from bgworker.engines.sqlite.holder import holder_of, in_the_way

            holder, late = holder_of(self._path), time.monotonic() >= ends
            if late or (holder is not None and holder.is_stopped):
                raise QueueUnavailable(in_the_way(holder, self._path, seconds))

    def __exit__(self, *_: object) -> None:
        self.release()

    def is_marked(self) -> bool:
        """Whether its holders agreed that the disk is full; only who holds it may ask."""
        return self._fd is not None and os.lseek(self._fd, 0, os.SEEK_END) > 0

    def mark(self, *, full: bool) -> None:
        """Tell all who will hold it that the disk is full, or no longer: that takes no room."""
        if self._fd is not None:
            os.ftruncate(self._fd, int(full))

    def close(self) -> None:
        """Close the lock file."""
        if self._stand_in is not None:
            self._stand_in.close()
        self._close()

    def abandon(self) -> None:
        """In a forked child: let go of the parent's lock file, which is shared."""
        if self._stand_in is not None:
            self._stand_in.forget()
        self._close()

    def _close(self) -> None:
        self._stand_in = None
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self.release = _nothing


def _nothing() -> None:
    return


class LifeLock:
    """A worker's proof of life: held until the last process that inherited it is gone."""

    def __init__(self, path: str) -> None:
        """Create and take it.

        Raises:
            BlockingIOError: a live worker has this name.
        """
        self.path = path
        if not is_dead(path):
            raise BlockingIOError
        # Locked before it has the name others look for, so that nobody finds it free.
        # Inherited on purpose by the worker's own processes, never across exec unless passed on.
        unborn = f"{path}.new"
        self.fd = os.open(unborn, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        os.rename(unborn, path)

    def intact(self) -> bool:
        """Whether the file is still the one others look at (nobody removed it)."""
        try:
            return os.stat(self.path).st_ino == os.fstat(self.fd).st_ino
        except OSError:
            return False

    def release(self) -> None:
        """Give the proof back and remove the file."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        self.close()

    def close(self) -> None:
        """Give the proof back; may be called twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def is_dead(path: str) -> bool:
    """Whether no process holds the worker's proof of life any more.

    A missing file counts as dead: a worker whose file was removed notices and stops. A stopped or
    slow worker still holds its lock; the wall clock is not asked. A shared lock is tried, so that
    those who look do not hinder each other.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
