"""Whether a worker works, judged from outside by its scoreboard: pure, on a monotonic clock.

That a beat is fresh is seen by its changing, never by comparing clocks: a clock that is set must
not make a well worker look ill.
"""

from __future__ import annotations

from bgworker.scoreboard import Board
from bgworker.values import dataclass

PATIENCE = 5.0
"""Seconds. A supervisor beats twice a second; a child is replaced within little more than one."""


@dataclass(slots=True)
class Pulse:
    """What looks at one worker's scoreboard have shown; take one at least every few seconds."""

    _beat: int | None = None
    _missing: bool = False
    _looked_at: float | None = None
    _beat_at: float | None = None
    _staffed_at: float | None = None

    def look(self, board: Board | None, now: float) -> None:
        """Note what was seen at this instant; ``None``: the scoreboard is not there."""
        if self._looked_at is not None and now - self._looked_at > PATIENCE:
            self._forgive(now)
        self._looked_at = now
        self._missing = board is None
        if board is None:
            return
        if self._beat is not None and board.heartbeat_at != self._beat:
            self._beat_at = now
        self._beat = board.heartbeat_at
        if board.children:
            self._staffed_at = now

    def age(self, now: float) -> float | None:
        """Seconds since a beat was seen; ``None`` before the first."""
        return None if self._beat_at is None else now - self._beat_at

    def complaint(self, now: float) -> str | None:
        """What is wrong with the worker, in a sentence; ``None``: nothing."""
        age = self.age(now)
        if self._missing:
            return "the worker's own file beside the database is gone"
        if age is None:
            return "the worker has not begun yet"
        if age > PATIENCE:
            return f"the worker's loop has not turned for {age:.0f} s: it is stopped, or it hangs"
        if self._staffed_at is None or now - self._staffed_at > PATIENCE:
            return "the worker has no process that could run a job"
        return None

    def _forgive(self, now: float) -> None:
        """We did not look for long: all was suspended, and nothing is known of the meantime."""
        if self._beat_at is not None:
            self._beat_at = now
        if self._staffed_at is not None:
            self._staffed_at = now
