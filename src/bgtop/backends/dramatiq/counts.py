"""How many messages of each queue wait, are fetched, are not due, are dead: four numbers each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hiredis import ReplyError

from bgtop.backends.dramatiq.wire import DEAD, DELAYED, MESSAGES
from bgtop.backends.redis_errors import is_wrong_type
from bgtop.backends.redis_sparse import SparseKeys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.backends.dramatiq.wire import Keys
    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_link import Part
    from bgtop.backends.redis_search import Command

LONGEST_ID = 256
"""Dramatiq's ids have 36 bytes."""


class Numbers(NamedTuple):
    """Of one queue; ``None`` where the key could not be read."""

    waiting: int | None
    unacked: int | None
    scheduled: int | None
    dead: int | None
    malformed: bool = False
    """Whether one of the keys holds something of another kind."""


class Refused(NamedTuple):
    """A key that could not be read."""

    queue: bytes
    ending: bytes
    error: ReplyError


class Counts:
    """Measures one set of queues; the calls of a poll come in the order written here."""

    def __init__(self, keys: Keys) -> None:
        self.queues: Sequence[bytes] = ()
        self.numbers: dict[bytes, Numbers] = {}
        """Of the queues of which anything is not zero."""
        self.heads: dict[bytes, bytes] = {}
        """The oldest id of each queue in which messages wait."""
        self.refused: list[Refused] = []
        self.touched: set[bytes] = set()
        """The queues of which anything was told since the last poll."""
        self._keys = keys
        self._is_new_plan = True
        self._strange: set[bytes] = set()
        """Queues whose head is no id of Dramatiq's: it may be large, and is not read again."""
        self.plan(())

    def plan(self, queues: Sequence[bytes]) -> None:
        """Measure these queues from now on."""
        self.queues = queues
        self._is_new_plan = True
        key = self._keys.queue
        self._present = SparseKeys(
            queues,
            lambda queue: (key(queue), key(queue) + MESSAGES),
            self._of_present,
        )
        self._delayed = SparseKeys(
            queues,
            lambda queue: (key(queue) + DELAYED + MESSAGES,),
            lambda queue: (("HLEN", key(queue) + DELAYED + MESSAGES),),
        )
        self._dead = SparseKeys(
            queues,
            lambda queue: (key(queue) + DEAD,),
            lambda queue: (("ZCARD", key(queue) + DEAD),),
        )

    def _of_present(self, queue: bytes) -> tuple[Command, ...]:
        key = self._keys.queue(queue)
        head = ("LLEN", key) if queue in self._strange else ("LINDEX", key, 0)
        # Side by side, so that a message is hardly ever counted in one and not in the other.
        return ("LLEN", key), ("HLEN", key + MESSAGES), head

    def parts(self) -> list[Part]:
        """What to ask first."""
        found = (self._present, self._delayed, self._dead)
        return [(keys.requests(), keys.absorb) for keys in found]

    def parts_left_open(self) -> list[Part]:
        """What to ask next about keys that have appeared, where there are many queues."""
        found = (self._present, self._delayed, self._dead)
        return [(keys.suspects(), keys.absorb_suspects) for keys in found]

    def settle(self) -> None:
        """Make numbers of what has changed; refusals are told at every poll."""
        if self._is_new_plan:
            self._is_new_plan = False
            self.numbers, self.heads = {}, {}
        self.refused, self.touched = [], set()
        strange = len(self._strange)
        found = (self._present, self._delayed, self._dead)
        for place in sorted({place for keys in found for place, _ in keys.changes()}):
            queue = self.queues[place]
            self.touched.add(queue)
            self.numbers.pop(queue, None)
            self.heads.pop(queue, None)
            self._take(queue, place)
        if len(self._strange) > strange:
            self.plan(self.queues)

    def _take(self, queue: bytes, place: int) -> None:
        present, delayed, dead = (
            keys.answers.get(place) for keys in (self._present, self._delayed, self._dead)
        )
        if present is delayed is dead is None:
            return
        waiting, stored, head = present if isinstance(present, list) else (0, 0, None)
        if isinstance(head, bytes) and len(head) <= LONGEST_ID:
            self.heads[queue] = head
        elif isinstance(head, bytes):
            self._strange.add(queue)
        replies = (waiting, stored, delayed or 0, dead or 0)
        self.numbers[queue] = _numbers(replies)
        self.refused += [
            Refused(queue, ending, reply)
            for ending, reply in zip(_ENDINGS, replies, strict=True)
            if isinstance(reply, ReplyError)
        ]

    def of(self, queue: bytes) -> Numbers:
        """The numbers of one queue."""
        return self.numbers.get(queue, _NOTHING)

    def lists_to_search(self) -> list[bytes]:
        """The queues, and the delayed halves of queues, from which somebody holds messages."""
        found = []
        for queue, numbers in self.numbers.items():
            if numbers.unacked:
                found.append(queue)
            if numbers.scheduled:
                found.append(queue + DELAYED)
        return found


_ENDINGS = (b"", MESSAGES, DELAYED + MESSAGES, DEAD)
_NOTHING = Numbers(0, 0, 0, 0)


def _numbers(replies: Sequence[Reply]) -> Numbers:
    waiting, stored, scheduled, dead = map(_number, replies)
    fetched = None
    if waiting is not None and stored is not None:
        # An id whose message is gone waits in the list; there is no message to run.
        fetched = max(stored - waiting, 0)
    return Numbers(waiting, fetched, scheduled, dead, any(map(is_wrong_type, replies)))


def _number(reply: Reply) -> int | None:
    return reply if isinstance(reply, int) else None
