"""Finding Dramatiq's queues, which it registers nowhere.

A queue is known only by the keys it has while something is in it. A queue seen once is remembered:
that it has no keys now means that it is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.backends.dramatiq.wire import MESSAGES, trace_in
from bgtop.backends.redis_search import KeySearch
from bgtop.backends.seen_names import SeenNames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.backends.dramatiq.wire import Keys
    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_search import Step

MOST_QUEUES = 20_000
MOST_HOLDERS = 20_000
"""A broker with more is misused or hostile; the rest is left out with a warning."""


class Names(SeenNames):
    """The queues seen so far."""

    def __init__(self) -> None:
        super().__init__(MOST_QUEUES)

    def is_shadow(self, queue: bytes) -> bool:
        """Whether the list of a queue named ``Q.msgs`` may look like the hash of this one."""
        return queue + MESSAGES in self.known


class Discovery(KeySearch):
    """The search for the keys of a namespace, and what they tell."""

    def __init__(self, keys: Keys, names: Names, shared: object | None = None) -> None:
        super().__init__(keys.pattern, shared=shared)
        self.holders: dict[bytes, None] = {}
        """The processes that were seen to own fetched messages; proof that they are workers."""
        self._of = keys
        self._names = names

    def learn(self, replies: Sequence[Reply], now: float) -> None:
        """Take the replies to the last ``commands``."""
        step = self.absorb(replies, now)
        if step is not None:
            self._learn_from(step)

    def listen(self) -> None:
        """Take what somebody else's search has brought; to be called once a poll."""
        for step in self.heard():
            self._learn_from(step)

    def _learn_from(self, step: Step) -> None:
        for key in step.keys:
            trace = trace_in(self._of, key)
            if trace is None:
                continue
            self._names.learn([trace.queue])
            if trace.holder is not None and len(self.holders) < MOST_HOLDERS:
                self.holders[trace.holder] = None
