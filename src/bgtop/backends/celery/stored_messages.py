"""The messages a broker on Redis holds, looked at within a budget.

Redis hands out elements of a list only whole, and they may be megabytes: so the average size comes
first (MEMORY USAGE, which looks at five nodes of the list), and says how many are asked for at
once. The next message of a queue is the last one of its list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.redis_link import pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bgtop.backends.celery.catalog import Queue
    from bgtop.backends.redis_link import RedisLink

BYTES_PER_TRIP = 1024 * 1024
LARGEST_ON_AVERAGE = 2 * 1024 * 1024
"""Lists of larger messages are not looked into."""

LARGEST_DELIVERY = 256 * 1024
MOST_DELIVERIES = 1_000

_UNKNOWN_SIZE = 64 * 1024
"""What is assumed of a message where the server does not tell sizes."""

_MOST_PER_TRIP = 1_000


class Head(NamedTuple):
    """A list that holds messages, with the name of its queue."""

    queue: Queue
    label: str
    key: bytes
    length: int


class Message(NamedTuple):
    """One message that waits, by the very bytes that are stored."""

    head: Head
    raw: bytes


class Delivery(NamedTuple):
    """One message in the hands of a worker; ``entry`` is ``[message, exchange, routing key]``."""

    prefix: bytes
    tag: bytes
    fetched_at: float
    entry: bytes


class Messages:
    """One look; ``skipped`` counts what was too large, ``more`` says that something was left out.

    All methods raise :class:`bgtop.contracts.BackendError` when the server cannot be used.
    """

    def __init__(self, link: RedisLink, budget: int) -> None:
        """``budget`` is in bytes, over everything that is looked at."""
        self.skipped = 0
        self.more = False
        self._link = link
        self._budget = budget

    def next_ones(self, heads: Sequence[Head], most: int) -> Iterator[Message]:
        """At most so many messages in all, the next to be taken first."""
        windows: list[_Window] = []
        self.more |= len(heads) > most
        for head, size in zip(heads[:most], self._sizes(heads[:most]), strict=True):
            count = self._affordable(head, size, most)
            most -= count
            windows += _windows(head, count, size)
        yield from self._read(windows, nearest_first=True)

    def all_of(self, heads: Sequence[Head], most: int) -> Iterator[Message]:
        """At most so many messages of each list, those to be taken last first.

        Whoever takes messages meanwhile moves the others towards where is looked next: none is
        missed, though one may come twice.
        """
        windows: list[_Window] = []
        for head, size in zip(heads, self._sizes(heads), strict=True):
            windows += reversed(_windows(head, self._affordable(head, size, most), size))
        yield from self._read(windows, nearest_first=False)

    def _affordable(self, head: Head, size: int, most: int) -> int:
        """How many messages of this list are asked for, at this average size."""
        if size > LARGEST_ON_AVERAGE:
            self.skipped += 1
            count = 0
        else:
            count = min(head.length, most, self._budget // size)
        self._budget -= count * size
        self.more |= count < head.length
        return count

    def _sizes(self, heads: Sequence[Head]) -> list[int]:
        """The average size of the messages of each list; at least 1."""
        asked = (("MEMORY", "USAGE", head.key) for head in heads)
        replies = self._link.exchange(pack(*asked)) if heads else []
        return [
            max(reply // head.length, 1) if isinstance(reply, int) and reply else _UNKNOWN_SIZE
            for head, reply in zip(heads, replies, strict=True)
        ]

    def _read(self, windows: list[_Window], *, nearest_first: bool) -> Iterator[Message]:
        for trip in _trips(windows):
            asked = (("LRANGE", one.head.key, -one.end, -one.start - 1) for one in trip)
            for one, reply in zip(trip, self._link.exchange(pack(*asked)), strict=True):
                found = reply if isinstance(reply, list) else []
                for raw in reversed(found) if nearest_first else found:
                    if isinstance(raw, bytes):
                        yield Message(one.head, raw)

    def delivered(self, prefixes: Iterable[bytes]) -> list[Delivery]:
        """What workers hold, the longest held first, in three round trips."""
        names = [*dict.fromkeys(prefixes)]
        listing = (
            ("ZRANGE", prefix + b"unacked_index", 0, MOST_DELIVERIES, "WITHSCORES")
            for prefix in names
        )
        found: list[tuple[bytes, bytes, float]] = []
        for prefix, reply in zip(names, self._link.exchange(pack(*listing)), strict=True):
            tags = reply if isinstance(reply, list) else []
            found += [
                (prefix, tag, float(score))
                for tag, score in zip(tags[::2], tags[1::2], strict=True)
                if isinstance(tag, bytes) and isinstance(score, bytes)
            ]
        found.sort(key=lambda one: one[2])
        self.more |= len(found) > MOST_DELIVERIES
        return self._entries(self._small(found[:MOST_DELIVERIES]))

    def _small(self, found: list[tuple[bytes, bytes, float]]) -> list[tuple[bytes, bytes, float]]:
        """Those that fit into the budget."""
        asked = (("HSTRLEN", prefix + b"unacked", tag) for prefix, tag, _ in found)
        sizes = self._link.exchange(pack(*asked)) if found else []
        chosen = []
        for one, size in zip(found, sizes, strict=True):
            if not isinstance(size, int) or size > min(LARGEST_DELIVERY, self._budget):
                self.skipped += 1
                self.more = True
            elif size:
                self._budget -= size
                chosen.append(one)
        return chosen

    def _entries(self, chosen: list[tuple[bytes, bytes, float]]) -> list[Delivery]:
        asked = (("HGET", prefix + b"unacked", tag) for prefix, tag, _ in chosen)
        replies = self._link.exchange(pack(*asked)) if chosen else []
        return [
            Delivery(prefix, tag, fetched_at, entry)
            for (prefix, tag, fetched_at), entry in zip(chosen, replies, strict=True)
            if isinstance(entry, bytes)
        ]


class _Window(NamedTuple):
    """A part of a list, counted from the next message: from ``start`` to before ``end``."""

    head: Head
    start: int
    end: int
    size: int
    """What it holds on average, in bytes."""


def _windows(head: Head, count: int, size: int) -> list[_Window]:
    step = max(1, min(BYTES_PER_TRIP // size, _MOST_PER_TRIP))
    starts = range(0, count, step)
    ends = (min(start + step, count) for start in starts)
    return [_Window(head, a, b, (b - a) * size) for a, b in zip(starts, ends, strict=True)]


def _trips(windows: Iterable[_Window]) -> Iterator[list[_Window]]:
    trip: list[_Window] = []
    size = 0
    for window in windows:
        if trip and size + window.size > BYTES_PER_TRIP:
            yield trip
            trip, size = [], 0
        trip.append(window)
        size += window.size
    if trip:
        yield trip
