"""A program on a terminal of its own, and the moment something is first seen on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Sequence

_ESCAPES = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>78MDE])")
_KEPT = 256 * 1024


class Terminal:
    """Runs ``command`` on a pseudo-terminal and reads whatever it draws, all the time."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 120,
        rows: int = 40,
        environment: dict[str, str] | None = None,
        folder: str | None = None,
    ) -> None:
        self._screen, program_end = pty.openpty()
        fcntl.ioctl(program_end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._output = b""
        self._changed = threading.Condition()
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            command,
            stdin=program_end,
            stdout=program_end,
            stderr=program_end,
            env={**os.environ, "TERM": "xterm-256color", **(environment or {})},
            cwd=folder,
            start_new_session=True,
        )
        os.close(program_end)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._process.pid

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._screen, 65536):
                with self._changed:
                    self._output = (self._output + data)[-_KEPT:]
                    self._changed.notify_all()

    def seen(self, wanted: re.Pattern[bytes], seconds: float) -> float | None:
        """Seconds from the start until ``wanted`` was drawn; ``None`` if that never happened."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not wanted.search(_ESCAPES.sub(b"", self._output)):
                left = deadline - time.monotonic()
                if left <= 0 or self._process.poll() is not None:
                    return None
                self._changed.wait(min(left, 0.1))
            return time.monotonic() - self.began

    def forget(self) -> None:
        """What is looked for from now on has to be drawn anew."""
        with self._changed:
            self._output = b""

    def press(self, keys: str) -> None:
        """Type this."""
        os.write(self._screen, keys.encode())

    def text(self) -> str:
        """What was drawn last, without its escape sequences."""
        with self._changed:
            return _ESCAPES.sub(b"", self._output).decode("utf-8", "replace")

    def close(self) -> None:
        """End the program, gently first."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                self._process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(5)
        self._reader.join(5)
        os.close(self._screen)
