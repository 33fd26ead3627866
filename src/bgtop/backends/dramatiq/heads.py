"""How long the oldest message of each queue has waited: read from the message itself.

The head of a list is its oldest id, and a message never changes under its id. So a message is
fetched at most once, after its size is known. One that is too large, or in an encoding of the
user's own, has waited at least since it was first seen at the head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.dramatiq.wire import LARGEST_MESSAGE, MESSAGES, waiting_since
from bgtop.backends.redis_link import Request, pack
from bgtop.model import Age, AgeKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bgtop.backends.dramatiq.wire import Keys
    from bgtop.backends.redis_connection import Reply

BYTES_PER_POLL = 1024 * 1024


class _Head(NamedTuple):
    """The oldest waiting id of a queue, seen there from ``seen_at`` on (our clock)."""

    id: bytes
    seen_at: float
    since: float | None = None
    read: bool = False


class Heads:
    """The ages of one set of queues; the calls of a poll come in the order written here."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._heads: dict[bytes, _Head] = {}
        self._new: list[bytes] = []
        self._wanted: list[bytes] = []
        self.pending = False
        """Whether the next polls will know more."""

    def see(self, heads: Mapping[bytes, bytes], now: float) -> None:
        """Take the oldest id of each queue in which messages wait."""
        known = self._heads
        self._heads = {}
        for queue, head in heads.items():
            before = known.get(queue)
            same = before is not None and before.id == head
            self._heads[queue] = before if same and before is not None else _Head(head, now)
        self._new = [queue for queue, head in self._heads.items() if not head.read]
        self._wanted = []
        self.pending = False

    def sizes(self) -> list[Request]:
        """What to ask first: how large the new messages are."""
        return self._about("HSTRLEN", self._new)

    def absorb_sizes(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``sizes`` and choose what may be fetched."""
        budget = BYTES_PER_POLL
        for queue, size in zip(self._new, replies, strict=True):
            if isinstance(size, int) and 0 < size <= LARGEST_MESSAGE:
                if size > budget:
                    self.pending = True
                    continue
                budget -= size
                self._wanted.append(queue)
            elif size != 0:
                self._settle(queue, None)

    def messages(self) -> list[Request]:
        """What to ask next: the new messages that are small enough."""
        return self._about("HGET", self._wanted)

    def absorb_messages(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``messages``."""
        for queue, message in zip(self._wanted, replies, strict=True):
            if message is not None:
                since = waiting_since(message) if isinstance(message, bytes) else None
                self._settle(queue, since)

    def _about(self, command: str, queues: Sequence[bytes]) -> list[Request]:
        heads, key = self._heads, self._keys.queue
        asked = [(command, key(queue) + MESSAGES, heads[queue].id) for queue in queues]
        return [pack(*asked)] if asked else []

    def _settle(self, queue: bytes, since: float | None) -> None:
        self._heads[queue] = self._heads[queue]._replace(since=since, read=True)

    def age(self, queue: bytes, now: float) -> Age | None:
        """How long the head of this queue has waited; ``None`` when nothing waits there."""
        head = self._heads.get(queue)
        if head is None:
            return None
        if head.since is None:
            return Age(max(now - head.seen_at, 0.0), AgeKind.AT_LEAST)
        return Age(max(now - head.since, 0.0))
