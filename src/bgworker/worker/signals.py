"""Signals as something a selector can wait for."""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType

_ASK_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Counts requests to stop, from its making (in the main thread) until :meth:`close`."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        for fd in (self._read, self._write):
            os.set_blocking(fd, False)
        self._asked = 0
        self._old_fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        # Who started us with a signal ignored (nohup) means it to stay so.
        wanted = [n for n in _ASK_TO_STOP if signal.getsignal(n) is not signal.SIG_IGN]
        self._old = {number: signal.signal(number, self._count) for number in wanted}

    def close(self) -> None:
        """Give the signals back to whoever handled them before."""
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_fd)
        os.close(self._read)
        os.close(self._write)

    def fileno(self) -> int:
        """Readable when a signal came."""
        return self._read

    def take(self) -> int:
        """How often we were asked to stop since the last call."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        asked, self._asked = self._asked, 0
        return asked

    def _count(self, _: int, __: FrameType | None) -> None:
        self._asked += 1
