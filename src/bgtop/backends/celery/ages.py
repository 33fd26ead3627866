"""How long the oldest message of each queue has waited at least, over all its priority steps.

The message at the tail is next. While it stays and the list is as long as before, it says all, and
is all that is asked for. Otherwise the other end is read too, and messages seen earlier are
searched for near the tail (LPOS; 70 µs of the server's time for a thousand messages of 1 KB).

Redis hands out elements only whole, and they may be megabytes: so the average size comes first
(MEMORY USAGE, which looks at five elements; asked again every few seconds), and a list that gave a
large one, or nothing because the connection broke, is left alone for a while. What is looked at per
poll is bounded; where more queues hold messages they take turns.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from hiredis import ReplyError

from bgtop.backends.celery.sightings import MOST_MARKERS, Sightings
from bgtop.backends.redis_link import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.backends.celery.depths import Depths
    from bgtop.backends.redis_connection import Reply, Request
    from bgtop.backends.redis_search import Command

LISTS_PER_POLL = 250
BYTES_PER_POLL = 1024 * 1024
SMALL_ON_AVERAGE = 16 * 1024
LARGEST_MESSAGE = 64 * 1024
SECONDS_LEFT_ALONE = 60.0
SECONDS_BETWEEN_SIZES = 5.0
"""And up to twice as long, so that hundreds of lists are not asked in the same poll."""

TRIPS = 3

SEARCHED = 1_000
"""How many messages, counted from the tail, are compared with one seen earlier."""

MARKERS_KEPT = 2_000
"""Messages remembered over all lists: some 2 MB, and never more than 8 MB."""


class _List(NamedTuple):
    """The list of one priority step of the queue of this number in the plan."""

    queue: int
    step: int
    key: bytes
    length: int


class _Size(NamedTuple):
    """How large the messages of a list are on average, and until when this is believed."""

    average: int
    until: float


class _Asked(NamedTuple):
    """What one trip asks of which lists."""

    unsized: Sequence[_List] = ()
    ends: Sequence[_List] = ()
    """For the tail, and if they are seen first, or last in this poll, for the newest as well."""
    moved: Sequence[tuple[_List, bytes]] = ()
    """For the newest, and for messages seen earlier; with the tail that is known by now."""
    searched: Sequence[_List] = ()


class Ages:
    """Per poll: ``begin``; ``requests`` and ``absorb`` in each of three trips, ``meet`` after one.

    A list that held messages last time is looked at in the first trip, and where it has moved again
    in the next ones. One that is new is asked for its size first.
    """

    def __init__(self) -> None:
        self.since: dict[int, float] = {}
        """By number of the queue: since when (monotonic), at the latest, its oldest waits."""
        self.large = 0
        """Lists that are not read because their messages are large, or may be."""
        self.in_turn = 0
        """Lists whose turn was not in this poll."""
        self.refusal: ReplyError | None = None
        """Why sizes of messages are not told."""
        self._sightings: dict[bytes, Sightings] = {}
        self._left_alone: dict[bytes, float] = {}
        self._search_again_at = float("-inf")
        self._room = MOST_MARKERS
        self._turn = 0
        self._tick = 0.0
        self._budget = 0
        self._met: set[tuple[int, int]] = set()
        self._taken: set[bytes] = set()
        self._waiting = 0
        self._trip = 0
        self._sizes: dict[bytes, _Size] = {}
        self._unsized: list[_List] = []
        self._to_look: list[_List] = []
        self._tails: list[tuple[_List, bytes]] = []
        self._open: list[_List] = []
        self._asked = _Asked()

    def warnings(self) -> list[str]:
        """What keeps ages from being known."""
        if self.refusal is not None:
            return ["the age of waiting messages is not known: the server refuses MEMORY USAGE"]
        found = []
        if self.large:
            why = "their messages are large, or broke the connection"
            found.append(f"the age of messages is not read in {self.large} lists: {why}")
        if self.in_turn:
            found.append(f"ages are read in turns: {self.in_turn} lists had to wait")
        return found

    def begin(self, depths: Depths, tick: float) -> None:
        """Choose the lists of this poll by what the last one found; ``tick`` is monotonic."""
        if self.in_turn:
            # They would be too old when it is their turn again.
            self._sizes = {}
        self.since, self.large, self.in_turn, self.refusal = {}, 0, 0, None
        self._tick, self._budget = tick, BYTES_PER_POLL
        self._left_alone = {k: until for k, until in self._left_alone.items() if until > tick}
        waiting = depths.held
        turn = self._turn % len(waiting) if len(waiting) > LISTS_PER_POLL else 0
        chosen = (waiting[turn:] + waiting[:turn])[:LISTS_PER_POLL]
        self._turn = turn + len(chosen)
        if not turn and len(self._sightings) == MARKERS_KEPT:
            keys = {one.key for one in _lists(depths, waiting)}
            self._sightings = {k: known for k, known in self._sightings.items() if k in keys}
        self._unsized, self._to_look = [], []
        self._tails, self._open, self._trip = [], [], 0
        self._taken = set()
        self._take_up(_lists(depths, chosen))
        self._met = {place[:2] for place in chosen}
        self._room = max(1, min(MOST_MARKERS, MARKERS_KEPT // max(len(waiting), 1)))

    def _take_up(self, lists: Sequence[_List]) -> None:
        """Ask those for their size of which it is not known, and look at all others."""
        for one in lists:
            if one.key in self._taken:
                # A queue may be named as a step of another one; what is said of a list is one.
                continue
            self._taken.add(one.key)
            size = self._sizes.get(one.key)
            known = size is not None and size.until > self._tick
            (self._to_look if known else self._unsized).append(one)

    def meet(self, depths: Depths) -> None:
        """Take the lists that hold messages only now, and the lengths of the others."""
        waiting, counts = depths.held, depths.counts
        self._waiting = len(waiting)
        self._tails = [
            (one._replace(length=length), tail)
            for one, tail in self._tails
            if (length := counts[one.queue].get(one.step))
        ]
        self._to_look = [
            one._replace(length=length)
            for one in self._to_look
            if (length := counts[one.queue].get(one.step))
        ]
        free = LISTS_PER_POLL - len(self._met)
        new = [place for place in waiting if place[:2] not in self._met][: max(free, 0)]
        self._take_up(_lists(depths, new))
        self._met.update(place[:2] for place in new)
        self.in_turn += sum(place[:2] not in self._met for place in waiting)
        if not self.in_turn:
            keys = {one.key for one in _lists(depths, waiting)}
            self._sightings = {k: known for k, known in self._sightings.items() if k in keys}
            self._sizes = {k: size for k, size in self._sizes.items() if k in keys}

    def pending(self, depths: Depths) -> bool:
        """Whether a step was found too late in this poll to be looked at."""
        return len(depths.held) > self._waiting and not self.in_turn

    def requests(self) -> list[Request]:
        """What to ask in the next round trip."""
        self._trip += 1
        moved = [(one, tail) for one, tail in self._tails if not self._has_stayed(one, tail)]
        trip = self._asked = _Asked(self._unsized, self._small(), moved, self._open)
        self._unsized, self._to_look, self._tails, self._open = [], [], [], []
        asked: list[Command] = [("MEMORY", "USAGE", one.key, "SAMPLES", 5) for one in trip.unsized]
        for one in trip.ends:
            asked += [("LINDEX", one.key, -1), *self._newest(one, self._both_ends(one))]
        for one, _ in moved:
            asked += [*self._newest(one, True), *self._searches(one, self._of(one).to_find())]
        for one in trip.searched:
            asked += self._searches(one, self._of(one).to_find_next())
        return [pack(*asked)] if asked else []

    def _newest(self, one: _List, wanted: bool) -> list[Command]:
        # Taken back when the answer has come, and was small.
        self._left_alone[one.key] = self._tick + SECONDS_LEFT_ALONE
        return [("LINDEX", one.key, 0)] if wanted else []

    def _both_ends(self, one: _List) -> bool:
        return self._trip == TRIPS or not self._of(one).is_begun

    def _has_stayed(self, one: _List, tail: bytes) -> bool:
        """Whether a list is as it was at the last look; if so that is noted."""
        sightings = self._of(one)
        if sightings.length != one.length or not sightings.stays(tail):
            return False
        self._note(one, sightings)
        return True

    def _small(self) -> list[_List]:
        """The lists whose ends may be fetched."""
        small = []
        for one in self._to_look:
            average = self._sizes[one.key].average
            if average > SMALL_ON_AVERAGE or one.key in self._left_alone:
                self.large += 1
            elif 2 * average > self._budget:
                self.in_turn += 1
            else:
                self._budget -= 2 * average
                small.append(one)
        return small

    def _of(self, one: _List) -> Sightings:
        known = self._sightings.get(one.key)
        if known is None:
            known = Sightings()
            if len(self._sightings) < MARKERS_KEPT:
                self._sightings[one.key] = known
        return known

    @property
    def _can_search(self) -> bool:
        return self._tick >= self._search_again_at

    def _searches(self, one: _List, messages: list[bytes]) -> list[Command]:
        if not self._can_search:
            return []
        return [("LPOS", one.key, m, "RANK", -1, "MAXLEN", SEARCHED) for m in messages]

    def absorb(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``requests``."""
        # After all of it was read: nothing seen in it came later.
        at = monotonic()
        coming = iter(replies)
        asked, self._asked = self._asked, _Asked()
        could_search = self._can_search
        for one in asked.unsized:
            self._take_size(one, next(coming))
        for one in asked.ends:
            tail = next(coming)
            newest = next(coming) if self._both_ends(one) else b""
            self._take_ends(one, newest, tail, at)
        for one, tail in asked.moved:
            newest = next(coming)
            wanted = len(self._of(one).to_find()) if could_search else 0
            found = [self._is_there(one, next(coming)) for _ in range(wanted)]
            self._take_look(one, newest, tail, found, at)
        for one in asked.searched:
            sightings = self._of(one)
            wanted = len(sightings.to_find_next()) if could_search else 0
            sightings.found([self._is_there(one, next(coming)) for _ in range(wanted)])
            self._note(one, sightings)

    def _take_size(self, one: _List, used: Reply) -> None:
        if isinstance(used, ReplyError):
            self.refusal = used
        elif isinstance(used, int):
            later = SECONDS_BETWEEN_SIZES * (1 + hash(one.key) % 100 / 100)
            self._sizes[one.key] = _Size(used // one.length, self._tick + later)
            self._to_look.append(one)

    def _take_ends(self, one: _List, newest: Reply, tail: Reply, at: float) -> None:
        if self._both_ends(one):
            self._take_look(one, newest, tail, [], at)
        elif isinstance(tail, bytes):
            self._tails.append((one, tail))
            if len(tail) <= LARGEST_MESSAGE:
                del self._left_alone[one.key]
        else:
            del self._left_alone[one.key]

    def _take_look(
        self, one: _List, newest: Reply, tail: Reply, found: list[bool | None], at: float
    ) -> None:
        sizes = [len(reply) for reply in (newest, tail) if isinstance(reply, bytes)]
        if max(sizes, default=0) <= LARGEST_MESSAGE:
            self._left_alone.pop(one.key, None)
        if not isinstance(newest, bytes) or not isinstance(tail, bytes):
            return
        sightings = self._of(one)
        sightings.look(newest, tail, found, at, self._room)
        sightings.length = one.length
        self._note(one, sightings)
        if sightings.to_find_next():
            self._open.append(one)

    def _is_there(self, one: _List, reply: Reply) -> bool | None:
        """Whether a message was found; what is not near the tail of a long list may be there."""
        if isinstance(reply, ReplyError):
            # Redis before 6.0.6, or no right to it: both ends alone still say something.
            self._search_again_at = self._tick + SECONDS_LEFT_ALONE
            return None
        if isinstance(reply, int):
            return True
        return None if one.length > SEARCHED else False

    def _note(self, one: _List, sightings: Sightings) -> None:
        if sightings.since is not None:
            known = self.since.get(one.queue, sightings.since)
            self.since[one.queue] = min(known, sightings.since)


def _lists(depths: Depths, places: Sequence[tuple[int, int, int]]) -> list[_List]:
    return [_List(i, step, depths.queues[i].list_of(step), n) for i, step, n in places]
