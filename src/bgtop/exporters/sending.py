"""The thread that sends: whoever hands over a frame never waits for a receiver."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition, Thread
from typing import Final

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 15.0
_FAREWELL: Final = 2.0
"""Seconds for what is left at the end."""


class Courier:
    """Calls ``deliver`` in a thread of its own, once for all rings that came meanwhile.

    ``deliver`` gives what went wrong, in words, or ``None``. After a failure it is called again by
    itself, after pauses that grow and that no ring makes shorter.
    """

    def __init__(self, name: str, deliver: Callable[[], str | None]) -> None:
        self._deliver = deliver
        self._changed = Condition()
        self._rung = self._over = False
        self.trouble: str | None = None
        """What went wrong the last time."""
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ring(self) -> None:
        """There is something to send."""
        with self._changed:
            self._rung = True
            self._changed.notify()

    def close(self) -> None:
        """Send what there is once more, and end."""
        with self._changed:
            self._over = True
            self._changed.notify()
        self._thread.join(_FAREWELL)

    def _run(self) -> None:
        pause = 0.0
        while not self._over:
            with self._changed:
                if self.trouble is None:
                    self._changed.wait_for(lambda: self._rung or self._over)
                else:
                    self._changed.wait_for(lambda: self._over, pause)
                self._rung = False
            self.trouble = self._attempt()
            pause = min(_LONGEST_PAUSE, 2 * pause or _FIRST_PAUSE) if self.trouble else 0.0

    def _attempt(self) -> str | None:
        try:
            return self._deliver()
        except Exception as fault:  # noqa: BLE001 - a thread that ends would never be missed
            return f"unexpected {type(fault).__name__}: {fault}"
