"""What exporters that send have in common: the frames they are given, the thread that sends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timezone
from threading import Condition, Lock, Thread
from typing import TYPE_CHECKING, Final

from bgtop import __version__
from bgtop.state.telling import Telling

if TYPE_CHECKING:
    from bgtop.contracts import ExportSettings
    from bgtop.model import Frame
    from bgtop.state.measures import Family

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
        self._rung = False
        self.is_over = False
        """Whether it was told to end."""
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
            self.is_over = True
            self._changed.notify()
        self._thread.join(_FAREWELL)

    def _run(self) -> None:
        pause, last = 0.0, False
        while not last:
            with self._changed:
                if self.trouble is None:
                    self._changed.wait_for(lambda: self._rung or self.is_over)
                else:
                    self._changed.wait_for(lambda: self.is_over, pause)
                # What came while something was sent is sent as well, when that was the end.
                self._rung, last = False, self.is_over
            self.trouble = self._attempt()
            pause = min(_LONGEST_PAUSE, 2 * pause or _FIRST_PAUSE) if self.trouble else 0.0

    def _attempt(self) -> str | None:
        try:
            return self._deliver()
        except Exception as fault:  # noqa: BLE001 - a thread that ends would never be missed
            return f"unexpected {type(fault).__name__}: {fault}"


class Sender(ABC):
    """Implements :class:`bgtop.contracts.Exporter`, but for what is sent and how.

    Whoever hands over a frame never waits for a receiver. Everything that is told of frames is read
    and changed while ``_lock`` is held, which is never held while something is sent.
    """

    def __init__(self, name: str, settings: ExportSettings) -> None:
        self._settings = settings
        self._telling = Telling()
        self._lock = Lock()
        self._dropped = 0
        self._courier = Courier(name, self._send)

    @property
    def dropped(self) -> int:
        """How many numbers were thrown away because nobody took them."""
        return self._dropped

    @property
    def trouble(self) -> str | None:
        """Why nothing gets through at present."""
        return self._courier.trouble

    def export(self, frame: Frame, /) -> None:
        """Send this one as soon as the receiver takes it."""
        with self._lock:
            self._telling.take(frame)
            self._taken()
        self._courier.ring()

    def close(self) -> None:
        """Send what is left."""
        self._courier.close()

    def _taken(self) -> None:  # noqa: B027 - most send the newest only
        """There is a new frame; for who keeps something of each. The lock is held."""

    def _told(self, now: datetime | None = None) -> list[Family]:
        """What is to be told now, by names of its own; nothing before the first frame."""
        now = now or datetime.now(timezone.utc)
        return self._telling.raw(now, self._settings.dropped(), __version__)

    @abstractmethod
    def _send(self) -> str | None:
        """Send what there is; what went wrong, in words."""
