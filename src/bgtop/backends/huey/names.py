"""Which queues a database holds; Huey keeps no registry, so their keys are searched for.

A queue without jobs, schedule and results has no keys at all. Names are therefore remembered once
seen, and may be given in the address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.backends.huey.wire import PATTERN, name_in
from bgtop.backends.redis_link import pack
from bgtop.backends.redis_search import KeySearch
from bgtop.backends.seen_names import SeenNames

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bgtop.backends.redis_connection import Reply, Request
    from bgtop.backends.redis_search import Step

MOST_QUEUES = 10_000
"""A database with more is misused or hostile; the rest is left out with a warning."""


class Names(SeenNames):
    """Every queue name seen so far, and the search for more."""

    def __init__(self, configured: Iterable[bytes], shared: object | None = None) -> None:
        super().__init__(MOST_QUEUES, configured)
        self.search = KeySearch(PATTERN, shared=shared)

    def requests(self, now: float) -> list[Request]:
        """The next step of the search, if one is due; ``now`` is a monotonic clock."""
        commands = self.search.commands(now)
        return [pack(*commands)] if commands else []

    def absorb(self, replies: Sequence[Reply], now: float) -> None:
        """Take the replies to ``requests``."""
        step = self.search.absorb(replies, now)
        if step is not None:
            self._learn_from(step)

    def listen(self) -> None:
        """Take what somebody else's search has brought; to be called once a poll."""
        for step in self.search.heard():
            self._learn_from(step)

    def _learn_from(self, step: Step) -> None:
        self.learn(name for key in step.keys if (name := name_in(key)))
