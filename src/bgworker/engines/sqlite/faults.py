"""What SQLite or the system complained about, as one of our errors: one line, and what to do."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from contextlib import suppress
from typing import TypeAlias

from bgworker.engines.sqlite.reserve import room_left
from bgworker.errors import BgWorkerError, DiskFull, QueueUnavailable, UnusableDatabase

_NO_ROOM = 128 * 1024
"""Bytes: with less than this an I/O error is one for lack of room."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_RESTORE = "nothing was changed: put a backup in its place, or move it away to begin anew"


Fault: TypeAlias = sqlite3.Error | UnicodeDecodeError
FAULTS = (sqlite3.Error, UnicodeDecodeError)
"""What a statement may raise; the latter for text, or an error's message, from a damaged file."""


def is_busy(error: Fault) -> bool:
    """Whether somebody else holds a lock: trying again helps."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def in_words(error: Fault, path: str) -> BgWorkerError:
    """An SQLite error as one of ours."""
    said = "malformed text" if isinstance(error, UnicodeDecodeError) else str(error)
    if not said.isprintable():  # it quotes what is in a damaged file
        said = said.encode("unicode_escape").decode()
    if has_outgrown(path) and "disk I/O error" in said:
        words = "it has reached the size this process may write (ulimit -f), nothing was stored"
        return DiskFull(f"{path}: {words}: raise the limit")
    if is_full(error, path):
        return DiskFull(f"{path}: the disk is full, nothing was stored: make room")
    if "readonly" in said:
        return UnusableDatabase(f"{path} cannot be written: it, or its folder, is read-only")
    if "malformed" in said or "not a database" in said or "UTF-8" in said:
        return UnusableDatabase(f"{path} cannot be used as a queue: {said}; {_RESTORE}")
    if isinstance(error, sqlite3.OperationalError) and "no such" not in said:
        return QueueUnavailable(f"{path} cannot be used right now: {said}")
    return UnusableDatabase(f"{path} cannot be used as a queue: {said}")


def is_full(error: Fault, path: str) -> bool:
    """Whether it is for lack of room."""
    said = str(error)
    if "disk I/O error" in said:  # so for the log's index, for a flush, and for a quota
        folder = os.path.dirname(path)
        return room_left(folder) < _NO_ROOM or _quota_is_used_up(folder)
    return "is full" in said


def has_outgrown(path: str) -> bool:
    """Whether the file, or its log, is as large as this process may make one (``ulimit -f``)."""
    import resource  # producers do without

    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return limit != resource.RLIM_INFINITY and any(
        os.stat(file).st_size + _NO_ROOM > limit
        for file in (path, f"{path}-wal")
        if os.path.exists(file)
    )


def _quota_is_used_up(folder: str) -> bool:
    """Whether nothing can be stored in this folder, though its disk has room."""
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, _NO_ROOM)
        finally:
            os.close(fd)
    except OSError as error:
        return error.errno in _FULL
    return False


def refuse_what_is_no_file(path: str) -> None:
    """Before SQLite waits for somebody to write into a pipe.

    Raises:
        UnusableDatabase: a directory, a pipe or a device is there.
    """
    with suppress(OSError):  # whoever opens it will say so
        if not stat.S_ISREG(os.stat(path).st_mode):
            what = "a directory" if os.path.isdir(path) else "no file"
            raise UnusableDatabase(f"{path} cannot be opened: it is {what}")


def cannot_open(error: Fault | OSError, path: str) -> BgWorkerError:
    """Why a file could not be opened: nothing was changed."""
    if isinstance(error, OSError):
        return _refused(error, path)
    if "unable to open" in str(error):
        return UnusableDatabase(f"{path} cannot be opened: {_obstacle(path)}")
    return in_words(error, path)


def _refused(error: OSError, path: str) -> BgWorkerError:
    if error.errno in _FULL:
        return DiskFull(f"{path}: the disk is full: make room")
    if error.errno == errno.ENOENT:
        return UnusableDatabase(f"{path} cannot be opened: {_obstacle(path)}")
    where = error.filename if isinstance(error.filename, str) else path
    return UnusableDatabase(f"{where} cannot be opened: {error.strerror or error}")


def _obstacle(path: str) -> str:
    """What SQLite does not tell."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return f"there is no directory {folder}"
    if os.path.exists(path):
        if os.access(path, os.R_OK | os.W_OK) and os.access(folder, os.W_OK):
            return "SQLite does not say why; too many files may be open"
        return f"no permission to read and write it and its folder {folder}"
    return f"no file can be made in {folder}; check its permissions"
