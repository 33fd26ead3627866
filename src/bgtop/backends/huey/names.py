"""Which queues a database holds; Huey keeps no registry, so their keys are searched for.

A queue without jobs, schedule and results has no keys at all. Names are therefore remembered once
seen, and may be given in the address. The search is SCAN, a thousand keys a step, one step a poll
once the first pass is over; KEYS, which would stop the server, is never sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.huey.wire import PATTERN, name_in
from bgtop.backends.redis_link import pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bgtop.backends.redis_connection import Reply, Request

KEYS_PER_SCAN = 1_000
SECONDS_BETWEEN_PASSES = 30.0
SECONDS_BETWEEN_SMALL_PASSES = 5.0
FEW_KEYS = 5_000
"""Up to so many keys a pass is a handful of commands, and may be repeated more often."""

MOST_QUEUES = 10_000
"""A database with more is misused or hostile; the rest is left out with a warning."""


class Names:
    """Every queue name seen so far; ``version`` grows with each new one."""

    def __init__(self, configured: Iterable[bytes]) -> None:
        self.known: dict[bytes, None] = dict.fromkeys(configured)
        self.version = 0
        self.complete = False
        """Whether the whole database has been searched once."""
        self.full = False
        """Whether names had to be left out."""
        self.scanned = 0
        self.keys = 0
        self.refusal: ReplyError | None = None
        """Why keys may not be listed."""
        self._cursor: bytes | None = None
        self._next_pass_at = float("-inf")
        self._asked_size = False

    def start_over(self) -> None:
        """Search anew from the next step on: this may be another server than before."""
        self._cursor = None
        self._next_pass_at = float("-inf")

    def requests(self, now: float) -> list[Request]:
        """The next step of the search, if one is due; ``now`` is a monotonic clock."""
        self._asked_size = False
        commands: list[Sequence[bytes | str | int]] = []
        if self._cursor is None and now >= self._next_pass_at:
            self._cursor, self.scanned, self._asked_size = b"0", 0, True
            commands.append(("DBSIZE",))
        if self._cursor is not None:
            commands.append(("SCAN", self._cursor, "MATCH", PATTERN, "COUNT", KEYS_PER_SCAN))
        return [pack(*commands)] if commands else []

    def absorb(self, replies: Sequence[Reply], now: float) -> None:
        """Take the replies to ``requests``."""
        if self._asked_size and isinstance(replies[0], int):
            self.keys = replies[0]
        match replies[-1]:
            case [bytes(cursor), list(keys)]:
                self.learn(
                    name for key in keys if isinstance(key, bytes) and (name := name_in(key))
                )
                self.refusal = None
                self.scanned += KEYS_PER_SCAN
                self._cursor = cursor
                if cursor == b"0":
                    self._finish(now)
            case ReplyError() as refusal:
                self.refusal = refusal
                self._finish(now)

    def learn(self, names: Iterable[bytes]) -> None:
        """Remember these queues."""
        for name in names:
            if name in self.known:
                continue
            if len(self.known) >= MOST_QUEUES:
                self.full = True
                return
            self.known[name] = None
            self.version += 1

    def _finish(self, now: float) -> None:
        self.complete = True
        self._cursor = None
        few = self.keys <= FEW_KEYS
        self._next_pass_at = now + (SECONDS_BETWEEN_SMALL_PASSES if few else SECONDS_BETWEEN_PASSES)
