"""A terminal that is given a picture in one piece, by a library that writes it in many.

ncurses flushes at each move of its cursor (6.4 does), so that a refresh of twenty rows is twenty
system calls, twenty wake-ups of the terminal, and on an SSH line twenty packets.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator


class BufferedOutput:
    """The descriptor of a terminal; what is written to it during :meth:`one_write` is kept back."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._terminal = os.dup(descriptor)
        self._kept = _nameless_file()

    @contextlib.contextmanager
    def one_write(self) -> Iterator[None]:
        """Send at the end of the block, and at once, what was written in it."""
        os.dup2(self._kept, self._descriptor)
        try:
            yield
        finally:
            os.dup2(self._terminal, self._descriptor)
            self._send()

    def close(self) -> None:
        """Give the descriptors back; that of the terminal itself stays open."""
        os.close(self._terminal)
        os.close(self._kept)

    def _send(self) -> None:
        length = os.lseek(self._kept, 0, os.SEEK_CUR)
        left = memoryview(os.pread(self._kept, length, 0))
        os.lseek(self._kept, 0, os.SEEK_SET)
        # Of a terminal that is gone its input tells.
        with contextlib.suppress(OSError):
            while left:
                try:
                    left = left[os.write(self._terminal, left) :]
                except BlockingIOError:  # somebody else's choice for the terminal we share
                    select.select([], [self._terminal], [])


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("bgtop", os.MFD_CLOEXEC)
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
