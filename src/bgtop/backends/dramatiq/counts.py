"""How many messages of each queue wait, are fetched, are not due, are dead: four numbers each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hiredis import ReplyError

from bgtop.backends.dramatiq.wire import DEAD, DELAYED, MESSAGES
from bgtop.backends.redis_link import Request, pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.backends.dramatiq.wire import Keys
    from bgtop.backends.redis_connection import Reply

QUEUES_PER_REQUEST = 5_000
"""Of more queues the numbers are asked for in several round trips."""


class Numbers(NamedTuple):
    """Of one queue; ``None`` where the key could not be read."""

    waiting: int | None
    unacked: int | None
    scheduled: int | None
    dead: int | None


class Refused(NamedTuple):
    """A key that could not be read."""

    queue: bytes
    ending: bytes
    error: ReplyError


class Counts:
    """Measures one set of queues; per poll ``requests``, then ``absorb``."""

    def __init__(self, keys: Keys) -> None:
        self.queues: Sequence[bytes] = ()
        self.numbers: dict[bytes, Numbers] = {}
        self.refused: list[Refused] = []
        self._keys = keys
        self._requests: list[Request] = []

    def plan(self, queues: Sequence[bytes]) -> None:
        """Measure these queues from now on."""
        self.queues = queues
        self._requests = [
            pack(*(command for queue in some for command in self._commands(queue)))
            for start in range(0, len(queues), QUEUES_PER_REQUEST)
            if (some := queues[start : start + QUEUES_PER_REQUEST])
        ]

    def _commands(self, queue: bytes) -> tuple[tuple[str, bytes], ...]:
        # Side by side, so that a message is hardly ever counted in one number and not in the other.
        key = self._keys.queue(queue)
        return (
            ("LLEN", key),
            ("HLEN", key + MESSAGES),
            ("HLEN", key + DELAYED + MESSAGES),
            ("ZCARD", key + DEAD),
        )

    def requests(self) -> list[Request]:
        """What to ask; packed once per plan."""
        return self._requests

    def absorb(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``requests``."""
        self.refused = []
        endings = (b"", MESSAGES, DELAYED + MESSAGES, DEAD)
        for i, queue in enumerate(self.queues):
            found = replies[4 * i : 4 * i + 4]
            waiting, stored, scheduled, dead = map(_number, found)
            fetched = None
            if waiting is not None and stored is not None:
                # An id whose message is gone waits in the list; there is no message to run.
                fetched = max(stored - waiting, 0)
            self.numbers[queue] = Numbers(waiting, fetched, scheduled, dead)
            self.refused += [
                Refused(queue, ending, reply)
                for ending, reply in zip(endings, found, strict=True)
                if isinstance(reply, ReplyError)
            ]

    def lists_to_search(self) -> list[bytes]:
        """The queues, and the delayed halves of queues, from which somebody holds messages."""
        found = []
        for queue in self.queues:
            numbers = self.numbers.get(queue)
            if numbers is not None and numbers.unacked:
                found.append(queue)
            if numbers is not None and numbers.scheduled:
                found.append(queue + DELAYED)
        return found


def _number(reply: Reply) -> int | None:
    return reply if isinstance(reply, int) else None
