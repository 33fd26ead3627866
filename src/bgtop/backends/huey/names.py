"""Which queues a database holds; Huey keeps no registry, so their keys are searched for.

A queue without jobs, schedule and results has no keys at all. Names are therefore remembered once
seen, and may be given in the address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.backends.huey.wire import PATTERN, name_in
from bgtop.backends.redis_link import pack
from bgtop.backends.redis_search import KeySearch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bgtop.backends.redis_connection import Reply, Request

MOST_QUEUES = 10_000
"""A database with more is misused or hostile; the rest is left out with a warning."""


class Names:
    """Every queue name seen so far; ``version`` grows with each new one."""

    def __init__(self, configured: Iterable[bytes]) -> None:
        self.known: dict[bytes, None] = dict.fromkeys(configured)
        self.version = 0
        self.full = False
        """Whether names had to be left out."""
        self.search = KeySearch(PATTERN)

    def requests(self, now: float) -> list[Request]:
        """The next step of the search, if one is due; ``now`` is a monotonic clock."""
        commands = self.search.commands(now)
        return [pack(*commands)] if commands else []

    def absorb(self, replies: Sequence[Reply], now: float) -> None:
        """Take the replies to ``requests``."""
        step = self.search.absorb(replies, now)
        if step is not None:
            self.learn(name for key in step.keys if (name := name_in(key)))

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
