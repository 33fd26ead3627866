"""A terminal taken over whole, for renderers whose library draws but neither reads nor restores.

It reads keys, answers signals, and gives the terminal back as it was. The thread that opened it
owns it; :meth:`Terminal.wake` may be called by any.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections import deque
from typing import Final

from bgtop.contracts import Interrupted, Look, NoTerminal, Size
from bgtop.renderers.signals import Bell, Signals
from bgtop.renderers.terminal_keys import REDRAW, TerminalKeys

_ESCAPE_SECONDS: Final = 0.05
"""How long an Esc may be the beginning of a longer key."""

_ENTER: Final = b"\x1b[?1049h\x1b[?25l\x1b[2J\x1b[H"
_LEAVE: Final = b"\x1b[0m\x1b[?25h\x1b[?1049l"
_MOUSE_ON: Final = b"\x1b[?1000h\x1b[?1006h"
_MOUSE_OFF: Final = b"\x1b[?1006l\x1b[?1000l"
_TOO_SIMPLE: Final = frozenset({"", "dumb", "unknown"})


class Terminal:
    """Standard input and output from ``__init__`` to :meth:`close`, on the other screen."""

    def __init__(self, look: Look) -> None:
        if os.environ.get("TERM", "") in _TOO_SIMPLE:
            raise NoTerminal("this terminal cannot place the cursor (TERM)")
        self._input, self._output = sys.stdin.fileno(), sys.stdout.fileno()
        try:
            self._before = termios.tcgetattr(self._input)
        except termios.error:
            raise NoTerminal("standard input is no terminal") from None
        self._mouse = look.mouse
        self._keys = TerminalKeys()
        self._names: deque[str] = deque()
        self._bell = Bell()
        self._signals = Signals(self._bell.ring)
        self._poll = select.poll()
        self._poll.register(self._input, select.POLLIN)
        self._poll.register(self._bell.fileno(), select.POLLIN)
        self._open = True
        try:
            self._enter()
        except BaseException:
            self.close()
            raise

    def _enter(self) -> None:
        tty.setcbreak(self._input)
        self.write(_ENTER + (_MOUSE_ON if self._mouse else b""))
        self._size = _size(self._output)

    def _leave(self) -> None:
        # A terminal that is gone cannot be restored, and need not be.
        with contextlib.suppress(OSError):
            self.write((_MOUSE_OFF if self._mouse else b"") + _LEAVE)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    @property
    def size(self) -> Size:
        """The size at the last ``resize``."""
        return self._size

    def write(self, data: bytes) -> None:
        """Write all of it, also to a terminal that takes it slowly."""
        while data:
            try:
                data = data[os.write(self._output, data) :]
            except BlockingIOError:
                select.select([], [self._output], [])

    def next_key(self, timeout: float, /) -> str | None:
        """As :meth:`bgtop.contracts.Renderer.next_key`; after ``resize`` the screen is empty."""
        key = self._pending()
        if key is not None:
            return key
        if self._wait(timeout) and self._keys.waiting and not self._wait(_ESCAPE_SECONDS):
            self._names.extend(self._keys.flush())
        return self._pending()

    def _wait(self, seconds: float) -> bool:
        """Wait for input and take it in; whether there was any."""
        came = False
        for file, event in self._poll.poll(max(0, round(seconds * 1000 + 0.5))):
            if file == self._bell.fileno():
                self._bell.silence()
            elif event & (select.POLLHUP | select.POLLERR):
                raise Interrupted(signal.SIGHUP)
            else:
                self._take_in()
                came = True
        return came

    def _take_in(self) -> None:
        try:
            data = os.read(self._input, 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            raise Interrupted(signal.SIGHUP)
        self._names.extend(self._keys.feed(data))

    def _pending(self) -> str | None:
        """What is to be told at once: a signal's message, else a key that was typed."""
        signals = self._signals
        if signals.ended_by is not None:
            raise Interrupted(signals.ended_by)
        if signals.stopped:
            signals.stopped = False
            self._leave()
            signals.stop_here()
            signals.continued = True
        if signals.continued:
            # What happened to the terminal in between is unknown: enter it anew.
            self._enter()
        if signals.continued or signals.resized:
            signals.continued = signals.resized = False
            return self._cleared()
        if not self._names:
            return None
        key = self._names.popleft()
        return self._cleared() if key == REDRAW else key

    def _cleared(self) -> str:
        self._size = _size(self._output)
        self.write(b"\x1b[0m\x1b[2J\x1b[H")
        return "resize"

    def wake(self) -> None:
        """Make a waiting :meth:`next_key` return at once."""
        self._bell.ring()

    def close(self) -> None:
        """Give the terminal back exactly as it was; safe to repeat."""
        if not self._open:
            return
        self._open = False
        self._signals.leaving = True
        self._leave()
        self._signals.restore()
        self._bell.close()


def _size(file: int) -> Size:
    try:
        columns, rows = os.get_terminal_size(file)
    except OSError:
        columns = rows = 0
    # Serial lines and some terminals of tests do not know their size.
    return Size(columns, rows) if columns > 0 and rows > 0 else Size(80, 24)
