"""How many messages wait in each queue, over all its priority steps, in one round trip.

A queue may have ten lists, of which most never exist: ten LLEN for each would be ten times the
work. So the bare name and the steps seen before are measured, and one EXISTS over all other step
lists says whether any of them has appeared; only then are they measured, and remembered.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple, cast

from hiredis import ReplyError

from bgtop.backends.celery.wire import STEPS
from bgtop.backends.redis_link import pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bgtop.backends.celery.catalog import Queue
    from bgtop.backends.redis_connection import Reply, Request

    List = tuple[int, int]
    """One list: the number of its queue in the plan, and its step."""

QUEUES_PER_QUESTION = 50
"""With nine keys of each, so that no EXISTS occupies the server for more than some 100 µs."""

LENGTHS_PER_REQUEST = 1_000


_NOTHING: Mapping[int, int] = {0: 0}
"""What most queues hold at most times; one for all of them."""

_MOST_ALIKE = 1_000
"""Depths of which there is one mapping for all queues, from poll to poll."""


class _Question(NamedTuple):
    """One EXISTS over the step lists of some queues that nobody has seen yet."""

    request: Request
    queues: range


class Depths:
    """Measures one set of queues; what it learns about steps outlives a change of that set.

    Per poll: ``requests`` and ``absorb``, then ``probes`` and ``absorb_probes``; the outcome is
    in ``counts`` (by step, step 0 always, others when not empty) and ``refusals``, by the number
    of the queue in ``queues``. A list of ``counts`` that was seen once never changes.
    """

    def __init__(self) -> None:
        self.queues: Sequence[Queue] = ()
        self.counts: list[Mapping[int, int]] = []
        self.refusals: dict[int, ReplyError] = {}
        self.held: list[tuple[int, int, int]] = []
        """Number of the queue, step and length of each list that holds messages."""
        self._steps: dict[bytes, frozenset[int]] = {}
        self._lists: list[List] = []
        self._lengths: list[Request] = []
        self._questions: list[_Question] = []
        self._suspects: list[List] = []
        self._last: Sequence[Reply] | None = None
        """The lengths that ``counts`` was made of; ``None`` when it cannot be kept."""
        self._alike: dict[int, Mapping[int, int]] = {}
        """By depth, of queues that hold nothing of other steps."""
        self._stale = False

    def plan(self, queues: Sequence[Queue]) -> None:
        """Measure these queues from now on."""
        self.queues = queues
        known = self._steps
        self._steps = {queue.key: known[queue.key] for queue in queues if queue.key in known}
        self._stale = True
        # Without queues there is nothing to ask, and so nothing to absorb.
        self.counts, self.refusals, self.held, self._last = [], {}, [], None

    def requests(self) -> list[Request]:
        """What to ask in the first round trip; packed once per plan."""
        if self._stale:
            self._pack()
            self._stale = False
        # What takes the server longest comes first: it works on that while we do other things.
        return [*(question.request for question in self._questions), *self._lengths]

    def _pack(self) -> None:
        everywhere = range(len(self.queues))
        self._lists = [
            (i, step)
            for i in everywhere
            for step in sorted(self._steps.get(self.queues[i].key, ()))
        ]
        self._lengths = self._pack_lengths(chain(((i, 0) for i in everywhere), self._lists))
        self._questions = []
        for start in range(0, len(self.queues), QUEUES_PER_QUESTION):
            some = everywhere[start : start + QUEUES_PER_QUESTION]
            keys = [self._key(one) for one in self._unseen(some)]
            if keys:
                self._questions.append(_Question(pack(("EXISTS", *keys)), some))

    def _unseen(self, queues: range) -> Iterator[List]:
        for i in queues:
            seen = self._steps.get(self.queues[i].key, ())
            yield from ((i, step) for step in STEPS if step not in seen)

    def _key(self, one: List) -> bytes:
        return self.queues[one[0]].list_of(one[1])

    def _pack_lengths(self, lists: Iterable[List]) -> list[Request]:
        rest = iter(lists)
        some = iter(lambda: [*islice(rest, LENGTHS_PER_REQUEST)], [])
        return [pack(*(("LLEN", self._key(one)) for one in part)) for part in some]

    def absorb(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``requests``."""
        asked = len(self._questions)
        lengths = replies[asked:]
        if lengths != self._last:
            self._last = lengths
            self._take(lengths)
        self._suspects = []
        for question, reply in zip(self._questions, replies[:asked], strict=True):
            # Where EXISTS is refused (one key beyond an ACL pattern is enough), ask one by one.
            if reply != 0:
                self._suspects += self._unseen(question.queues)

    def _take(self, lengths: Sequence[Reply]) -> None:
        number = len(self.queues)
        bare = lengths[:number]
        self.refusals, self.held = {}, []
        if {*map(type, bare)} <= {int}:
            # As nearly always: ten thousand at once.
            depths = cast("Sequence[int]", bare)
            alike = self._alike
            if len(alike) > _MOST_ALIKE:
                alike.clear()
            alike.update({depth: {0: depth} for depth in {*depths} - alike.keys()})
            self.counts = [*map(alike.__getitem__, depths)]
            self.held = [(i, 0, depth) for i, depth in enumerate(depths) if depth]
        else:
            self.counts = [_NOTHING] * number
            self._count(((i, 0) for i in range(number)), bare)
        self._count(self._lists, lengths[number:])

    def probes(self) -> list[Request]:
        """What to ask in a second round trip: the lists of which some have appeared."""
        return self._pack_lengths(self._suspects)

    def absorb_probes(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``probes`` and remember the steps that are in use."""
        if not self._suspects:
            return
        # What they bring is of one poll only: the next one counts all anew.
        self.counts, self.held, self._last = [*self.counts], [*self.held], None
        self._count(self._suspects, replies)
        for (i, step), reply in zip(self._suspects, replies, strict=True):
            if reply != 0:
                key = self.queues[i].key
                self._steps[key] = self._steps.get(key, frozenset()) | {step}
                self._stale = True
        self._suspects = []

    def _count(self, lists: Iterable[List], replies: Sequence[Reply]) -> None:
        counts = self.counts
        for (i, step), reply in zip(lists, replies, strict=True):
            if isinstance(reply, ReplyError):
                self.refusals[i] = reply
            elif isinstance(reply, int) and reply:
                counts[i] = {**counts[i], step: reply}
                self.held.append((i, step, reply))

    def waiting(self) -> set[bytes]:
        """The keys of the queues that held messages at the last look."""
        pairs = zip(self.queues, self.counts, strict=False)
        return {queue.key for queue, counts in pairs if any(counts.values())}
