"""How full the write-ahead log is, which its length does not tell: the file keeps its blocks."""

from __future__ import annotations

import contextlib
import os

_HEADER = 32
"""Bytes before the first frame; the page size stands at 8, two salts at 16."""
_FRAME = 24
"""Bytes before each page in the log; the salts of the header under which it was written stand at 8.

Both layouts: the file format of SQLite, "The Write-Ahead Log".
"""


class Gauge:
    """Reads the log of a database that is in use. SQLite has no lock on this file to be lost."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None

    def reaches(self, length: int) -> bool:
        """Whether this many bytes were written since the log was last begun anew."""
        try:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            header = os.pread(self._fd, _HEADER, 0)
            step = _FRAME + int.from_bytes(header[8:12], "big")
            start = _HEADER + max(0, (length - _HEADER) // step) * step
            frame = os.pread(self._fd, _FRAME, start)
        except OSError:
            return False
        # What is left of an earlier turn bears earlier salts.
        return len(frame) == _FRAME and frame[8:16] == header[16:24]

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None
