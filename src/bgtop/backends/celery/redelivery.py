"""Whether a message is about to be delivered a second time while its first delivery still counts.

Kombu scores each delivery in ``unacked_index`` with the time of its fetch, by the clock of the
worker. One older than the visibility timeout is put back by any live worker, about every 100 s: a
task that acknowledges late, or one with an ETA beyond the timeout, then runs twice.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from bgtop.backends.raw_names import text
from bgtop.backends.redis_link import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.backends.redis_connection import Reply, Request

MARGIN = 0.1
"""The part of the visibility timeout in which there is something to be said."""


class Redelivery:
    """The oldest delivery of one key prefix."""

    def __init__(self, prefix: bytes, timeout: float) -> None:
        self._of = f" of the application {text(prefix)!r}" if prefix else ""
        self._timeout = timeout
        self._fetched_at: float | None = None
        self._request = [pack(("ZRANGE", prefix + b"unacked_index", 0, 0, "WITHSCORES"))]

    def requests(self) -> list[Request]:
        """What to ask, in any round trip."""
        return self._request

    def absorb(self, replies: Sequence[Reply]) -> None:
        """Take the reply to ``requests``."""
        match replies[0]:
            case [_, bytes(score)]:
                fetched_at = float(score)
                self._fetched_at = fetched_at if isfinite(fetched_at) else None
            case _:
                self._fetched_at = None

    def warning(self, now: float) -> str | None:
        """What an operator should know; ``now`` is in seconds since the epoch."""
        if self._fetched_at is None:
            return None
        age, timeout = now - self._fetched_at, self._timeout
        if age < timeout * (1 - MARGIN):
            return None
        held = f"a message{self._of} has been unacknowledged for {_span(age)}"
        limit = f"the visibility timeout of {_span(timeout)}"
        if age < timeout:
            return f"{held}: after {limit} it is delivered again, and its task may run twice"
        return f"{held}, longer than {limit}: it is delivered again, and its task may run twice"


def _span(seconds: float) -> str:
    for unit, size in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 3 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
