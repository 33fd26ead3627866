"""A real terminal for tests: a pty with an emulator on its other end."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fork_server import Process, start

from bgtop.testing.emulator import EmulatedScreen, Emulator

KEYS = {
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[1~",
    "end": "\x1b[4~",
    "pgup": "\x1b[5~",
    "pgdn": "\x1b[6~",
    "backtab": "\x1b\t",
    "f1": "\x1b[[A",
    "tab": "\t",
    "enter": "\r",
    "esc": "\x1b",
    "backspace": "\x7f",
    "ctrl-c": "\x03",
    "ctrl-l": "\x0c",
    "ctrl-r": "\x12",
    "ctrl-u": "\x15",
    "ctrl-z": "\x1a",
}
"""What TERM=linux, the language of the emulator, sends for keys that are not letters."""

ENTER_SCREEN = b"\x1b[?1049h"
LEAVE_SCREEN = b"\x1b[?1049l"

PATIENCE = 20.0
"""Seconds after which what must come does not; a busy machine takes ten times as long as usual."""
_LIVE_VIEW = (
    *("bgtop.cli.main", "bgtop.cli.live", "bgtop.session", "bgtop.renderers.curses", "json"),
    *("bgtop.view.pages.overview", "bgtop.view.keys", "bgtop.state.totals", "scripted_source"),
)
"""What every live view of a scripted source imports."""
_BETWEEN_PARTS = 0.005
_LONGEST_PICTURE = 0.5


class Terminal:
    """A program in a terminal: what it shows, and what it does to keys, signals and sizes."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        columns: int = 80,
        rows: int = 24,
        folder: Path | None = None,
        forked: bool = False,
    ) -> None:
        """``forked`` is for a ``bgtop`` of which the start is not the subject."""
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        self.screen = EmulatedScreen(columns, rows)
        self._emulator = Emulator(self.screen)
        self.written = b""
        self._set_size(columns, rows)
        self.settings_before = self.settings()
        variables = {"TERM": "linux", **environment}
        self.process: Process
        if forked:
            self.process = start(
                "live_view",
                command[1:],
                imported=_LIVE_VIEW,
                environment=variables,
                folder=folder or Path.cwd(),
                log=Path(os.ttyname(self.slave)),
                leads=True,
            )
            return
        self.process = subprocess.Popen(
            # A session of its own with the pty as its terminal; the process stays the same.
            ["setsid", "--ctty", *command],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=variables,
            cwd=folder,
        )

    def settings(self) -> list[Any]:
        """What ``stty -a`` would show."""
        return termios.tcgetattr(self.slave)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds: float = 0.02) -> bytes:
        """Take in what the program has written, waiting at most so long for the first of it.

        A picture is written in parts: what comes is read until nothing does for a moment.
        """
        taken = b""
        deadline = time.monotonic() + _LONGEST_PICTURE
        while select.select([self.master], [], [], seconds)[0] and time.monotonic() < deadline:
            try:
                data = os.read(self.master, 1 << 20)
            except OSError:
                break
            taken += data
            self._emulator.feed(data)
            seconds = _BETWEEN_PARTS
        self.written += taken
        return taken

    @property
    def lines(self) -> list[str]:
        """The screen, without trailing blanks."""
        return self.text.split("\n")

    @property
    def text(self) -> str:
        return self.screen.text

    def wait(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Read until the condition holds."""
        deadline = time.monotonic() + seconds
        while True:
            self.read()
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s; the screen:\n{self.text}")

    def wait_for(self, *texts: str, seconds: float = PATIENCE) -> None:
        """Read until all of these are on the screen."""
        self.wait(lambda: all(text in self.text for text in texts), seconds)

    def press(self, *keys: str) -> None:
        """Type keys: names of :data:`KEYS`, or text as it is."""
        for key in keys:
            os.write(self.master, KEYS.get(key, key).encode())

    def resize(self, columns: int, rows: int) -> None:
        """Make the terminal another size, as a window manager does."""
        self.screen.resize(rows, columns)
        self._set_size(columns, rows)

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def selected(self) -> str:
        """The text of the row that is highlighted in cyan; the key bar is not a row."""
        for row in range(self.screen.lines - 1):
            cells = self.screen.buffer[row]
            marked = [
                cells[column].data
                for column in range(self.screen.columns)
                if cells[column].bg == "cyan"
            ]
            if marked:
                return "".join(marked).strip()
        return ""

    def end(self, seconds: float = PATIENCE) -> int:
        """Read until the program has ended; its status."""
        self.wait(lambda: self.process.poll() is not None, seconds)
        while self.read():
            pass
        return self.process.wait()

    def close(self) -> None:
        """End everything; safe to repeat."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for file in (self.master, self.slave):
            try:
                os.close(file)
            except OSError:
                continue
