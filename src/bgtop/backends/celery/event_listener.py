"""Listening to Celery's events all the time, in a thread, for as long as somebody asks for them."""

from __future__ import annotations

import threading
from datetime import datetime, timezone
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from bgtop.backends.celery.event_fold import EventFold
from bgtop.contracts import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bgtop.symptoms import Finding
    from bgtop.task_events import EventsReading, ToldEvent

LULL: Final = 0.05
"""Seconds after something came: so one look takes many messages, at a fraction of the cost."""

PATIENCE: Final = 1.0
"""Seconds to wait for anything to come."""

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0


class EventStream(Protocol):
    """Where events come from; used from one thread, closed from any."""

    def listen(self) -> bool:
        """See to it that we hear; whether we did not until now. Raises ``BackendError``."""
        ...

    def bodies(self, timeout: float) -> Iterable[object]:
        """The decoded bodies that are here; waits for the first. Raises ``BackendError``."""
        ...

    def close(self) -> None:
        """End what is under way, and free everything."""
        ...


class EventListener:
    """Owns a thread, which begins at once, and a stream; what was counted outlives outages."""

    def __init__(self, stream: EventStream, dead_after: float) -> None:
        self.trouble: str | None = None
        """Why no events are heard at present."""
        self._stream = stream
        self._fold = EventFold(dead_after, monotonic())
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="celery-events", daemon=True)
        self._thread.start()

    def reading(self) -> EventsReading | None:
        """All as of now; ``None`` before it began."""
        with self._lock:
            if self.trouble is None:
                self._fold.advance(monotonic())
            return self._fold.reading()

    def told(self, asked: bool) -> tuple[ToldEvent, ...] | None:
        """What was said since it was asked for last; the first question begins to keep it."""
        with self._lock:
            if not asked:
                self._fold.told = None
                return None
            if self._fold.told is None:
                from bgtop.backends.celery.told_events import ToldEvents

                self._fold.told = ToldEvents()
            return self._fold.told.take()

    def findings(self) -> tuple[Finding, ...]:
        """What keeps events from being told, as far as it shows by now."""
        with self._lock:
            return tuple(self._fold.findings())

    def close(self) -> None:
        """End the thread; safe from any thread, and twice."""
        self._ended.set()
        self._stream.close()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._ended.is_set():
            try:
                self._listen_once()
                pause = FIRST_PAUSE
            except BackendError as error:
                if not self._ended.is_set():
                    self._deaf(error)
                    self._ended.wait(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)

    def _listen_once(self) -> None:
        if self._stream.listen():
            with self._lock:
                self.trouble = None
                self._fold.listening(monotonic(), datetime.now(timezone.utc))
        with self._lock:
            self._fold.look(monotonic())
        heard = False
        for body in self._stream.bodies(PATIENCE):
            heard = True
            with self._lock:
                self._fold.hear(body, monotonic())
        with self._lock:
            self._fold.advance(monotonic())
        if heard:
            self._ended.wait(LULL)

    def _deaf(self, error: BackendError) -> None:
        with self._lock:
            self.trouble = f"no task events: {error}"
            self._fold.deaf()
