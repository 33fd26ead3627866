"""The server's time, so that a wrong clock of ours makes no job due."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bgtop.backends.redis_link import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.backends.redis_connection import Reply, Request


class ServerClock:
    """How far the server is ahead of us; asked anew at each poll."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._asked_at = 0.0
        self._request = pack(("TIME",))

    def requests(self) -> list[Request]:
        """Ask for the time."""
        self._asked_at = time.time()
        return [self._request]

    def absorb(self, replies: Sequence[Reply]) -> None:
        """Take the reply; who may not ask keeps our own time."""
        match replies[0]:
            case [bytes(seconds), bytes(micros)] if seconds.isdigit() and micros.isdigit():
                told = int(seconds) + int(micros) / 1e6
                self._ahead = ahead(told, self._asked_at, time.time())
            case _:
                self._ahead = 0.0

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return int((time.time() + self._ahead) * 1000)


def ahead(told: float, asked_at: float, heard_at: float) -> float:
    """How far a clock certainly is ahead of ours that was read somewhen between two moments."""
    if told < asked_at:
        return told - asked_at
    return max(0.0, told - heard_at)
