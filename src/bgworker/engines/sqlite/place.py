"""Whether the file in use is still the one at its path."""

from __future__ import annotations

import os
import time

from bgworker.engines.sqlite.locks import QueueFiles
from bgworker.errors import DatabaseGone

_LOG_EVERY = 1.0
"""Seconds between two looks at the log: who asks for its times makes its next flush slower."""


class Place:
    """Remembers which files were opened. Looks by path only: see :mod:`.locks`."""

    def __init__(self, files: QueueFiles) -> None:
        self._files = files
        self._database = _identity(files.database)
        self._log = _identity(files.wal)
        self._look_at_log = 0.0

    def check(self) -> None:
        """Raise :class:`DatabaseGone` if database or log were moved, replaced or deleted."""
        if _identity(self._files.database) != self._database:
            raise _gone(self._files.database)
        now = time.monotonic()
        if now >= self._look_at_log:
            self._look_at_log = now + _LOG_EVERY
            if _identity(self._files.wal) != self._log:
                self._look_at_log = 0.0  # and so for ever
                raise _gone(self._files.wal)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def _gone(path: str) -> DatabaseGone:
    how = "replaced" if os.path.exists(path) else "moved or deleted"
    return DatabaseGone(
        f"{path} was {how} while it was in use; nothing was stored: restart what uses it"
    )
