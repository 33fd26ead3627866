"""Finding one message by its id, of which Dramatiq keeps no index.

The id an application knows is in the body of a message; Redis knows it by another one, which is
new after each retry. So what was listed before is looked for where it was, then the id is tried as
Redis's own, and at last the first messages of all queues are read: some thousands, now and then.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.dramatiq.counts import LONGEST_ID
from bgtop.backends.dramatiq.places import Place, Stored, Wanted, fetch, gather, seconds_in
from bgtop.backends.dramatiq.stored_message import message_in
from bgtop.backends.dramatiq.wire import DEAD, DELAYED
from bgtop.backends.raw_names import text
from bgtop.backends.redis_link import RedisLink, pack
from bgtop.model import ALL_STATES, JobState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bgtop.backends.dramatiq.places import Scope
    from bgtop.backends.redis_search import Command

MOST_REMEMBERED = 10_000
MOST_READ = 5_000
"""Messages whose bodies a search reads."""
_READ_AT_ONCE = 250

SECONDS_BETWEEN_SEARCHES = 10.0
"""How long an id that was not found is not searched for again while it is shown."""

_BY_KEY = (JobState.WAITING, JobState.SCHEDULED, JobState.DEAD)
_IN_ORDER = (JobState.RUNNING, JobState.WAITING, JobState.SCHEDULED, JobState.DEAD)


class Known(NamedTuple):
    """Where a message was last, and what it called."""

    place: Place
    actor: str | None


class Finder:
    """Remembers where the messages of earlier looks were."""

    def __init__(self) -> None:
        self.cut_short = False
        """Whether the last search ended before it had read everything."""
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._in_vain: dict[str, float] = {}

    def learn(self, identity: str, place: Place, actor: str | None) -> None:
        """Remember a message by the id under which it is shown."""
        self._known[identity] = Known(place, actor)
        self._known.move_to_end(identity)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)

    def forget(self, identity: str) -> None:
        """A message that was deleted."""
        self._known.pop(identity, None)

    def known(self, identity: str) -> Known | None:
        """Where it was seen last."""
        return self._known.get(identity)

    def find(
        self, link: RedisLink, scope: Scope, identity: str, *, search: bool = True
    ) -> Stored | None:
        """The message with this id; raises :class:`bgtop.contracts.BackendError`.

        Without ``search`` a long search is not made again at once after one in vain.
        """
        self.cut_short = False
        stored = self._directly(link, scope, identity)
        tick = time.monotonic()
        if stored is None and (search or self._in_vain.get(identity, tick) <= tick):
            stored = self._search(link, scope, identity)
            if len(self._in_vain) > MOST_REMEMBERED:
                self._in_vain.clear()
            self._in_vain[identity] = tick + SECONDS_BETWEEN_SEARCHES
        if stored is not None:
            message = message_in(stored.body) if stored.body is not None else None
            self.learn(identity, stored.place, message and message.actor)
        return stored

    def _directly(self, link: RedisLink, scope: Scope, identity: str) -> Stored | None:
        """By Redis's id, that of an earlier look or the one that was given."""
        known = self._known.get(identity)
        raw = identity.encode("utf-8", "surrogatepass")
        guesses = [(raw, [*scope.numbers])] if len(raw) <= LONGEST_ID else []
        if known is not None:
            guesses.insert(0, (known.place.id, [known.place.queue]))
        for one, queues in guesses:
            places = [Place(queue, one, state) for state in _BY_KEY for queue in queues]
            stored = fetch(link, scope.keys, places)
            fits = [found for found in stored if identity in _ids_of(found)]
            placed = [*_placed(link, scope, fits)]
            if placed:
                return min(placed, key=lambda found: _IN_ORDER.index(found.place.state))
        return None

    def _search(self, link: RedisLink, scope: Scope, identity: str) -> Stored | None:
        wanted = Wanted([*scope.numbers], ALL_STATES, scope.processes, MOST_READ)
        found = gather(link, scope, wanted)
        places = [place for state in _IN_ORDER for place in found.places.get(state, ())]
        self.cut_short = found.partial or len(places) > MOST_READ
        needle = identity.encode("utf-8", "surrogatepass")
        for start in range(0, min(len(places), MOST_READ), _READ_AT_ONCE):
            for stored in fetch(link, scope.keys, places[start : start + _READ_AT_ONCE]):
                if stored.body and needle in stored.body and identity in _ids_of(stored):
                    return stored
        return None


def _ids_of(stored: Stored) -> tuple[str, ...]:
    """The ids under which a message may be asked for."""
    message = message_in(stored.body) if stored.body is not None else None
    redis_id = text(stored.place.id)
    return (redis_id,) if message is None else (message.id, redis_id)


def _placed(link: RedisLink, scope: Scope, found: Iterable[Stored]) -> Iterator[Stored]:
    """Who of all processes holds each message, and when it died."""
    for stored in found:
        place, keys = stored.place, scope.keys
        if place.state is JobState.DEAD:
            reply = link.exchange(pack(("ZSCORE", keys.queue(place.queue) + DEAD, place.id)))[0]
            if isinstance(reply, bytes):
                yield stored._replace(place=place._replace(died_at=seconds_in(reply)))
            continue
        source = place.queue + (DELAYED if place.state is JobState.SCHEDULED else b"")
        asked: list[Command] = [
            ("SISMEMBER", keys.acks(one, source), place.id) for one in scope.processes
        ]
        replies = link.exchange(pack(*asked)) if asked else []
        holder = next((p for p, r in zip(scope.processes, replies, strict=True) if r == 1), None)
        state = place.state
        if holder is not None and state is JobState.WAITING:
            state = JobState.RUNNING
        yield stored._replace(place=place._replace(state=state, holder=holder))
