# ruff: noqa: S101  # assertions are what a conformance suite is made of
"""A renderer in a process and a terminal of its own, as a test sees it from outside."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol

from bgtop.contracts import Look, Size

PATIENCE: Final = 30.0
"""Seconds in which everything happens, on a machine that does other things too."""

_QUIET: Final = 0.1
"""Seconds without a byte after which a picture is complete."""

_BETWEEN_PARTS: Final = 0.005

_APPLICATION_KEYS: Final = b"\x1b[?1h"


class Stage(Protocol):
    """What is used of :class:`subprocess.Popen`."""

    def poll(self) -> int | None:
        """The status, if it has ended."""

    def wait(self) -> int:
        """The status, when it has ended."""

    def send_signal(self, number: int, /) -> None:
        """As ``kill`` does."""

    def kill(self) -> None:
        """End it at once."""


Start = Callable[[Sequence[str], Mapping[str, str], int], Stage]
"""Starts a stage: its arguments, its environment, and the terminal that is its input and output."""


def start_stage(
    arguments: Sequence[str], environment: Mapping[str, str], terminal: int
) -> subprocess.Popen[bytes]:
    """In a Python of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "bgtop.testing.renderer_stage", *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment,
        start_new_session=True,
    )


class RendererProcess:
    """Orders go in, keys and pictures come out."""

    def __init__(
        self,
        plugin: str,
        look: Look,
        size: Size,
        environment: Mapping[str, str],
        start: Start = start_stage,
    ) -> None:
        # Suites for backends do without pyte.
        from bgtop.testing.emulator import EmulatedScreen, Emulator

        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        self.screen = EmulatedScreen(size.columns, size.rows)
        self._emulator = Emulator(self.screen)
        self.written = b""
        self._set_size(size)
        self.settings_before = self.settings()
        paths = os.pathsep.join(path for path in sys.path if path)
        variables = {**os.environ, "PYTHONPATH": paths, **environment}
        with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as door:
            address = os.path.join(folder, "stage")
            door.bind(address)
            door.listen()
            self.process = start((plugin, address), variables, self.slave)
            self._line = self._answered(door)
        self._heard: list[tuple[str, Any]] = []
        self._line.send(look)

    def _answered(self, door: socket.socket) -> Connection[Any, Any]:
        """The line to the stage, as soon as it has come up."""
        door.settimeout(0.1)
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(TimeoutError):
                return Connection(door.accept()[0].detach())
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                if select.select([self.master], [], [], 0)[0]:
                    self._take_in_output()
                raise AssertionError(f"the renderer did not come up:\n{self.text}")

    def settings(self) -> list[Any]:
        """What ``stty -a`` would show."""
        return termios.tcgetattr(self.slave)

    def _set_size(self, size: Size) -> None:
        packed = struct.pack("HHHH", size.rows, size.columns, 0, 0)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, packed)

    @property
    def lines(self) -> list[str]:
        """The screen, without trailing blanks."""
        return self.text.split("\n")

    @property
    def text(self) -> str:
        """The same as one text."""
        return self.screen.text

    def order(self, what: str, value: Any = None) -> None:
        """Tell the stage."""
        self._line.send((what, value))

    def hear(self, what: str) -> Any:
        """What it says of this, sooner or later."""
        self.wait(lambda: any(kind == what for kind, _ in self._heard), what)
        place = next(n for n, (kind, _) in enumerate(self._heard) if kind == what)
        return self._heard.pop(place)[1]

    def told_keys(self) -> list[str]:
        """The keys it has told so far."""
        told = [value for kind, value in self._heard if kind == "key"]
        self._heard = [entry for entry in self._heard if entry[0] != "key"]
        return told

    def draw(self, page: Any) -> bytes:
        """Have a page drawn, wait until it is, and return what was written for it."""
        before = len(self.written)
        self.order("draw", page)
        self.hear("drawn")
        self.settle()
        return self.written[before:]

    def type(self, text: bytes) -> None:
        """Send bytes as a keyboard or a mouse does."""
        os.write(self.master, text)

    def arrow(self, letter: str) -> bytes:
        """A cursor key in the mode the renderer switched on."""
        return (b"\x1bO" if _APPLICATION_KEYS in self.written else b"\x1b[") + letter.encode()

    def resize(self, size: Size) -> None:
        """Make the terminal another size, as a window manager does."""
        self.screen.resize(size.rows, size.columns)
        self._set_size(size)

    def send_signal(self, number: signal.Signals) -> None:
        """As ``kill`` does."""
        self.process.send_signal(number)

    def wait(self, condition: Callable[[], object], what: str = "") -> None:
        """Take in what comes until the condition holds; ``what`` says it in words."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            # A picture comes in parts, and none of them needs to be looked at alone.
            while self._take_in(0.05) and self._take_in(_BETWEEN_PARTS):
                pass
            assert time.monotonic() < deadline, f"not in {PATIENCE:g} s: {what}\n{self.text}"

    def settle(self) -> None:
        """Take in what comes until nothing does for a moment."""
        while self._take_in(_QUIET):
            pass

    def _take_in(self, seconds: float) -> bool:
        """Whether the renderer wrote to its terminal."""
        files = [self.master, self._line.fileno()]
        ready = select.select(files, [], [], seconds)[0]
        if files[1] in ready:
            try:
                self._heard.append(self._line.recv())
            except (EOFError, ConnectionResetError):
                # It has ended; what it wrote last is still to be read.
                time.sleep(0.01)
        return self.master in ready and self._take_in_output()

    def _take_in_output(self) -> bool:
        data = os.read(self.master, 1 << 20)
        self.written += data
        self._emulator.feed(data)
        return True

    def end(self) -> int:
        """Wait for the end of the program; its status."""
        self.wait(lambda: self.process.poll() is not None)
        self.settle()
        return self.process.wait()

    def close(self) -> None:
        """End everything; safe to repeat."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._line.close()
        for file in (self.master, self.slave):
            os.close(file)
