"""What signals ask of a live screen, noted down until its loop can act on it.

Nothing happens inside a signal handler but a note and a ring of the bell: curses is not
re-entrant, and an exception out of nowhere could leave the terminal half restored.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

_ENDING: Final = frozenset((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
_WATCHED: Final = (*_ENDING, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)


class Bell:
    """A pipe that ends a wait: rung by any thread or signal handler, silenced by the waiter."""

    def __init__(self) -> None:
        ear, hammer = os.pipe()
        os.set_blocking(ear, False)
        os.set_blocking(hammer, False)
        # File objects know that they are closed; a bare number may belong to somebody else by then.
        self._ear = open(ear, "rb", buffering=0)  # noqa: SIM115 - lives as long as the bell
        self._hammer = open(hammer, "wb", buffering=0)  # noqa: SIM115

    def fileno(self) -> int:
        """What to wait for."""
        return self._ear.fileno()

    def ring(self) -> None:
        """End the wait; a full pipe rings already, and a closed one has nobody waiting."""
        with contextlib.suppress(ValueError):
            self._hammer.write(b"\0")

    def silence(self) -> None:
        """Forget all rings so far."""
        while self._ear.read(4096):
            pass

    def close(self) -> None:
        """Give the pipe back; threads may still ring."""
        self._hammer.close()
        self._ear.close()


class Signals:
    """Takes over the signals a terminal program has to answer, until :meth:`restore`."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._before: dict[int, Any] = {}
        self.ended_by: int | None = None
        self.resized = False
        self.stopped = False
        self.continued = False
        self.leaving = False
        """While the terminal is given back, nothing may interrupt that."""
        for number in _WATCHED:
            # What the parent switched off (nohup, a shell without job control) stays off.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the shape of a handler
        if number in _ENDING:
            if self.ended_by is not None and number == signal.SIGINT and not self.leaving:
                # Asked twice: the loop hangs somewhere.
                raise KeyboardInterrupt
            self.ended_by = number
        elif number == signal.SIGTSTP:
            self.stopped = True
        elif number == signal.SIGCONT:
            self.continued = True
        else:
            self.resized = True
        self._ring()

    def stop_here(self) -> None:
        """Stop this process as Ctrl-Z does; returns when it is continued."""
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        # To this thread: the process is stopped before the call returns.
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._note)

    def restore(self) -> None:
        """Give every signal back to whoever had it."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
