"""Where messages lie in Redis: read in two round trips, whatever the broker holds.

A message waits in the list of its queue, is delayed in that of ``Q.DQ``, or dead in the sorted set
``Q.XQ``. A process that has fetched it holds its id in a set until it is acknowledged: it runs, or
it waits in the memory of that process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hiredis import ReplyError

from bgtop.backends.dramatiq.counts import LONGEST_ID
from bgtop.backends.dramatiq.wire import DEAD, DELAYED, MESSAGES
from bgtop.backends.redis_link import RedisLink, pack
from bgtop.model import JobState
from bgworker.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bgtop.backends.dramatiq.agent_words import Words
    from bgtop.backends.dramatiq.counts import Numbers
    from bgtop.backends.dramatiq.wire import Keys
    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_search import Command

MOST_QUEUES = 200
"""Queues a list is made of; with more it is a part of the whole, and says so."""

MOST_HOLDINGS = 1_000
"""Pairs of queue and process that are asked for fetched messages."""

LARGEST_BODY = 64 * 1024
_SHOWN_OF_ID = 64
BYTES_OF_BODIES = 2 * 1024 * 1024
"""Bytes of messages that one look fetches; what is beyond is shown by its id."""


class Place(NamedTuple):
    """Where one message lies."""

    queue: bytes
    """The queue of the application, without ``.DQ`` and ``.XQ``."""
    id: bytes
    """Dramatiq's id in Redis, which is another one after each retry."""
    state: JobState
    holder: bytes | None = None
    died_at: float | None = None
    """Seconds since the epoch."""

    def bodies(self, keys: Keys) -> bytes:
        """The hash in which its body is."""
        ending = {JobState.SCHEDULED: DELAYED, JobState.DEAD: DEAD}.get(self.state, b"")
        return keys.queue(self.queue) + ending + MESSAGES


class Stored(NamedTuple):
    """A message at its place; ``body`` is ``None`` where it is too large to be fetched.

    An empty one is that of an id which is none of Dramatiq's: it is cut, and not asked for.
    """

    place: Place
    size: int
    body: bytes | None


class Scope(NamedTuple):
    """What the last poll has seen, and so where messages may be."""

    keys: Keys
    numbers: Mapping[bytes, Numbers]
    """Of the queues of which anything is not zero."""
    labels: Mapping[bytes, str]
    processes: Sequence[bytes]
    words: Mapping[bytes, Words]


@dataclass(slots=True)
class Gathered:
    """The places of each state, in order; ``partial`` where there is more than was asked for."""

    places: dict[JobState, list[Place]] = field(default_factory=dict)
    partial: bool = False
    unreadable: set[JobState] = field(default_factory=set)


class Wanted(NamedTuple):
    """Which places to look at."""

    queues: Sequence[bytes]
    states: frozenset[JobState]
    holders: Sequence[bytes]
    limit: int
    only_held: bool = False


def gather(link: RedisLink, scope: Scope, wanted: Wanted) -> Gathered:
    """The first places of each state; raises :class:`bgtop.contracts.BackendError`."""
    found = Gathered(partial=len(wanted.queues) > MOST_QUEUES)
    asked = [*_questions(scope, wanted)]
    if not asked:
        return found
    replies = link.exchange(pack(*(command for command, _ in asked)))
    for (_, origin), reply in zip(asked, replies, strict=True):
        if isinstance(reply, ReplyError):
            found.unreadable.add(origin.state)
        places = [*_places(origin, reply)]
        found.partial = found.partial or len(places) > wanted.limit
        found.places.setdefault(origin.state, []).extend(places[: wanted.limit])
    if JobState.DEAD in found.places:
        found.places[JobState.DEAD].sort(key=lambda place: -(place.died_at or 0.0))
    return found


def _questions(scope: Scope, wanted: Wanted) -> Iterator[tuple[Command, Place]]:
    """Each command, and a place that stands for those it brings."""
    keys, last = scope.keys, wanted.limit
    queues = wanted.queues[:MOST_QUEUES]
    fetched = wanted.states & {JobState.RUNNING, JobState.WAITING}
    # What is held comes first: it is the next to run.
    pairs = [(queue, one) for queue in queues for one in wanted.holders][:MOST_HOLDINGS]
    for queue, one in pairs:
        held = Place(queue, b"", JobState.RUNNING, one)
        if fetched:
            yield ("SRANDMEMBER", keys.acks(one, queue), last + 1), held
        if JobState.SCHEDULED in wanted.states:
            later = keys.acks(one, queue + DELAYED)
            yield ("SRANDMEMBER", later, last + 1), held._replace(state=JobState.SCHEDULED)
    if wanted.only_held:
        return
    for queue in queues:
        key = keys.queue(queue)
        if JobState.WAITING in wanted.states:
            yield ("LRANGE", key, 0, last), Place(queue, b"", JobState.WAITING)
        if JobState.SCHEDULED in wanted.states:
            yield ("LRANGE", key + DELAYED, 0, last), Place(queue, b"", JobState.SCHEDULED)
        if JobState.DEAD in wanted.states:
            newest = ("ZREVRANGE", key + DEAD, 0, last, "WITHSCORES")
            yield newest, Place(queue, b"", JobState.DEAD)


def _places(origin: Place, reply: Reply) -> Iterator[Place]:
    words = reply if isinstance(reply, list) else []
    if origin.state is JobState.DEAD:
        for one, score in zip(words[::2], words[1::2], strict=False):
            if isinstance(one, bytes) and isinstance(score, bytes):
                yield origin._replace(id=one, died_at=seconds_in(score))
        return
    yield from (origin._replace(id=one) for one in words if isinstance(one, bytes))


def seconds_in(score: bytes) -> float | None:
    """The score of a dead letter, milliseconds since the epoch, in seconds."""
    try:
        seconds = float(score) / 1000
    except ValueError:
        return None
    return seconds if 0 < seconds < 2**37 else None


def fetch(link: RedisLink, keys: Keys, places: Iterable[Place]) -> list[Stored]:
    """The messages at these places, without those that have left; large ones without body."""
    found: list[Stored] = []
    asked: list[Place] = []
    for place in places:
        if len(place.id) <= LONGEST_ID:
            asked.append(place)
        else:
            found.append(Stored(place._replace(id=place.id[:_SHOWN_OF_ID]), 0, b""))
    if not asked:
        return found
    sizes = link.exchange(pack(*(("HSTRLEN", place.bodies(keys), place.id) for place in asked)))
    left = BYTES_OF_BODIES
    small: list[int] = []
    for place, size in zip(asked, sizes, strict=True):
        if not isinstance(size, int) or not size:
            continue
        if size <= min(LARGEST_BODY, left):
            left -= size
            small.append(len(found))
        found.append(Stored(place, size, None))
    if small:
        commands = [("HGET", found[n].place.bodies(keys), found[n].place.id) for n in small]
        for number, body in zip(small, link.exchange(pack(*commands)), strict=True):
            known = body if isinstance(body, bytes) else None
            found[number] = found[number]._replace(body=known)
    return found
