"""Which queues there are: those announced, those served, and those only a registry tells of.

``rq:queues`` gains a name when a job is put there. A queue that was only ever served is named by
its workers; one that lost its announcement, by the keys of its list and registries. These are
looked for by SCAN, which rides along with the trips of each poll: the pattern leaves out jobs,
results and executions, which are what makes a database large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.backends.redis_search import KeySearch
from bgtop.backends.rq.wire import DEFERRED, QUEUE, SCHEDULED, STARTED, WORKERS_OF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_search import Step

MOST_QUEUES = 100_000
"""A server with more is misused or hostile; the rest is left out with a warning."""

_PATTERN = b"rq:[dqsw]*:*"
_KINDS = (QUEUE, DEFERRED, SCHEDULED, STARTED, WORKERS_OF)
# Where workers that serve a single queue keep a job for a moment.
_INTERMEDIATE = b":intermediate"


def queue_of_key(key: bytes) -> bytes | None:
    """The queue this key of a queue, registry or set of workers belongs to."""
    for kind in _KINDS:
        if key.startswith(kind) and len(key) > len(kind):
            inside = kind is QUEUE and key.endswith(_INTERMEDIATE)
            return None if inside else key[len(kind) :]
    return None


class Search(KeySearch):
    """The search for those keys, and the queues they tell of."""

    def __init__(self, shared: object | None = None) -> None:
        super().__init__(_PATTERN, shared=shared)
        self._known: frozenset[bytes] = frozenset()
        self._found: set[bytes] = set()
        self.found: frozenset[bytes] = frozenset()
        """The queues of the last pass and of the one under way; another value when it changes."""

    def learn(self, replies: Sequence[Reply], now: float) -> None:
        """Take the replies to ``commands``."""
        step = self.absorb(replies, now)
        if step is not None:
            self._learn(step)

    def listen(self) -> None:
        """Take what somebody else's search has brought."""
        for step in self.heard():
            self._learn(step)

    def _learn(self, step: Step) -> None:
        if step.began:
            self._found.clear()
        names = map(queue_of_key, step.keys)
        self._found.update(name for name in names if name is not None)
        if step.ended:
            # Told as the same value while they are the same, and kept once until the next pass.
            self._known = self._known if self._known == self._found else frozenset(self._found)
            self._found = set()
        if self._found <= self._known:  # as always but during a pass that finds new ones
            self.found = self._known
        elif not self._found <= self.found:
            self.found = self._known | self._found
