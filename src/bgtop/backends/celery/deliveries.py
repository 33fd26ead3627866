"""Messages delivered and not acknowledged: how many in all, and of each queue; those not due yet.

``HLEN unacked`` is the total. The queue of a delivery is named only inside its entry, behind the
whole message, which may be megabytes. An entry never changes, so each is fetched at most once,
after its size is known; afterwards its tag, listed in ``unacked_index``, is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hiredis import ReplyError

from bgtop.backends.celery.wire import delivered_by, due_at
from bgtop.backends.redis_errors import code_of
from bgtop.backends.redis_link import pack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bgtop.backends.celery.catalog import Catalog, Queue
    from bgtop.backends.redis_connection import Reply, Request

MOST_ENTRIES = 1_000
"""Above this many deliveries only the total is read."""

LARGEST_ENTRY = 256 * 1024
BYTES_PER_POLL = 1024 * 1024

_CANNOT_BE_TOLD = "unacknowledged messages cannot be told apart by queue"


class Split(NamedTuple):
    """Deliveries of one key prefix; ``by_queue`` (keys of queues) is ``None`` when not known."""

    total: int | None
    by_queue: Mapping[bytes, int] | None
    reason: str | None = None
    """Why the split is not known."""
    pending: bool = False
    """Whether the next polls will know more."""


class Deliveries:
    """Reads the deliveries of one prefix; the calls of a poll come in the order written here."""

    def __init__(self, prefix: bytes, catalog: Catalog) -> None:
        self._prefix = prefix
        self._catalog = catalog
        self._hash = prefix + b"unacked"
        self._total: int | None = None
        self._tags: list[bytes] = []
        self._queues: dict[bytes, Queue | None] = {}
        self._due: dict[bytes, float] = {}
        self._new: list[bytes] = []
        self._wanted: list[bytes] = []
        self._gone = 0
        self._listed = False
        self._refusal: ReplyError | None = None
        """Why it cannot be known by queue."""
        self._many = False
        counting = pack(("HLEN", self._hash))
        listing = pack(("ZRANGE", prefix + b"unacked_index", 0, MOST_ENTRIES - 1))
        # Side by side, so that nothing comes between: the two have to agree.
        self._requests = [counting, listing]

    def requests(self) -> list[Request]:
        """What to ask in the first round trip."""
        return self._requests[:1] if self._many else self._requests

    def absorb(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``requests``."""
        total = replies[0]
        listed = replies[1] if len(replies) > 1 else None
        self._total = total if isinstance(total, int) else None
        self._listed = isinstance(listed, list)
        self._refusal = listed if isinstance(listed, ReplyError) else None
        tags = listed if isinstance(listed, list) else []
        self._tags = [tag for tag in tags if isinstance(tag, bytes)]
        self._many = self._total is not None and self._total > MOST_ENTRIES
        self._queues = {tag: self._queues[tag] for tag in self._tags if tag in self._queues}
        self._due = {tag: self._due[tag] for tag in self._tags if tag in self._due}
        self._new = [] if self._many else [tag for tag in self._tags if tag not in self._queues]
        self._wanted = []
        self._gone = 0

    def sizes(self) -> list[Request]:
        """What to ask in a second round trip: how large the new entries are."""
        return [pack(*(("HSTRLEN", self._hash, tag) for tag in self._new))] if self._new else []

    def absorb_sizes(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``sizes`` and choose what may be fetched."""
        budget = BYTES_PER_POLL
        for tag, size in zip(self._new, replies, strict=True):
            if isinstance(size, ReplyError):
                self._refusal = size
            elif not isinstance(size, int) or size > LARGEST_ENTRY:
                self._queues[tag] = None
            elif size == 0:
                self._gone += 1
            elif size <= budget:
                budget -= size
                self._wanted.append(tag)

    def entries(self) -> list[Request]:
        """What to ask in a third round trip: the new entries that are small enough."""
        return [pack(("HMGET", self._hash, *self._wanted))] if self._wanted else []

    def absorb_entries(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``entries``."""
        found = replies[0] if replies else []
        if isinstance(found, ReplyError):
            self._refusal = found
            return
        entries = found if isinstance(found, list) else [0] * len(self._wanted)
        for tag, entry in zip(self._wanted, entries, strict=True):
            if entry is None:
                self._gone += 1
                continue
            route = delivered_by(entry) if isinstance(entry, bytes) else None
            queue = self._catalog.queue_of(self._prefix, *route) if route is not None else None
            self._queues[tag] = queue
            if queue is not None:
                self._catalog.learn_queue(queue)
            due = due_at(entry) if isinstance(entry, bytes) else None
            if due is not None:
                self._due[tag] = due

    def scheduled(self, now: float) -> dict[bytes, int]:
        """By queue: deliveries not due at ``now``; all of them where ``split`` tells by queue."""
        counts: dict[bytes, int] = {}
        for tag, due in self._due.items():
            queue = self._queues.get(tag)
            if due > now and queue is not None:
                counts[queue.key] = counts.get(queue.key, 0) + 1
        return counts

    def split(self) -> Split:
        """What is known at the end of the poll."""
        if self._total is None:
            return Split(None, None, "the key 'unacked' cannot be read")
        if self._many:
            reason = f"{self._total} messages are unacknowledged; above {MOST_ENTRIES} they are not"
            return Split(self._total, None, f"{reason} told apart by queue")
        if self._refusal is not None:
            return Split(self._total, None, f"{_CANNOT_BE_TOLD} ({code_of(self._refusal)})")
        seen = len(self._tags) - self._gone
        if not self._listed or len(self._queues) < seen:
            return Split(self._total, None, pending=True)
        if not seen <= self._total <= len(self._tags):
            return Split(self._total, None, "unacked and unacked_index do not agree")
        return self._by_queue(seen)

    def _by_queue(self, seen: int) -> Split:
        counts: dict[bytes, int] = {}
        for queue in self._queues.values():
            if queue is not None:
                counts[queue.key] = counts.get(queue.key, 0) + 1
        unknown = len(self._queues) - sum(counts.values())
        if unknown:
            reason = f"{unknown} unacknowledged messages are too large or of no single queue"
            return Split(seen, None, reason)
        return Split(seen, counts)


class Apart(NamedTuple):
    """Deliveries of all key prefixes, by the key of their queue."""

    prefixes: frozenset[bytes]
    """Those whose deliveries are known by queue."""
    unacked: Mapping[bytes, int]
    scheduled: Mapping[bytes, int]


def told_apart(
    deliveries: Mapping[bytes, Deliveries], splits: Mapping[bytes, Split], now: float
) -> Apart:
    """What the splits of one poll say of single queues."""
    unacked: dict[bytes, int] = {}
    scheduled: dict[bytes, int] = {}
    known = {prefix: s.by_queue for prefix, s in splits.items() if s.by_queue is not None}
    for prefix, by_queue in known.items():
        unacked.update(by_queue)
        scheduled.update(deliveries[prefix].scheduled(now))
    return Apart(frozenset(known), unacked, scheduled)
