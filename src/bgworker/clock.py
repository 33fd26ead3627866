"""Where time comes from, so that tests can bring their own."""

from __future__ import annotations

import time
from typing import Protocol

from bgworker.model import Millis
from bgworker.values import dataclass


class Clock(Protocol):
    """The wall clock for instants that are stored, a monotonic one for durations."""

    def now(self) -> Millis:
        """Milliseconds of UTC; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds; never goes back."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> Millis:
        """Milliseconds of UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds since some fixed point."""
        return time.monotonic()


def iso(millis: Millis) -> str:
    """An instant as ISO 8601 in UTC."""
    seconds, rest = divmod(millis, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:03d}Z"


@dataclass(slots=True)
class ManualClock:
    """A clock that moves only when told to: for tests."""

    millis: Millis = 1_700_000_000_000

    def now(self) -> Millis:
        """The instant it was set to."""
        return self.millis

    def monotonic(self) -> float:
        """The same instant in seconds."""
        return self.millis / 1000

    def advance(self, seconds: float) -> None:
        """Move both clocks forward (or, for a jump test, back)."""
        self.millis += round(seconds * 1000)
