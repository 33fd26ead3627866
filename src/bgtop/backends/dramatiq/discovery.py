"""Finding Dramatiq's queues, which it registers nowhere, without ever stalling the broker.

A queue is known only by the keys it has while something is in it. They are found by SCAN, a
thousand keys a step (0.5 ms of the server's time), repeated while bgtop runs. A queue seen once
is remembered: that it has no keys now means that it is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.dramatiq.wire import MESSAGES, text, trace_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bgtop.backends.dramatiq.wire import Keys
    from bgtop.backends.redis_connection import Reply

    Command = Sequence[bytes | str | int]

KEYS_PER_SCAN = 1_000
SECONDS_BETWEEN_PASSES = 30.0
SECONDS_BETWEEN_SMALL_PASSES = 5.0
FEW_KEYS = 5_000
"""Up to so many keys a pass is a handful of commands, and may be repeated more often."""

MOST_QUEUES = 20_000
MOST_HOLDERS = 20_000
"""A broker with more is misused or hostile; the rest is left out with a warning."""


class Names:
    """The queues seen so far; ``version`` grows with every new one."""

    def __init__(self) -> None:
        self.version = 0
        self.full = False
        """Whether something had to be left out."""
        self.queues: set[bytes] = set()

    def learn(self, queue: bytes) -> None:
        """Remember a queue."""
        if queue in self.queues:
            return
        if len(self.queues) >= MOST_QUEUES:
            self.full = True
            return
        self.queues.add(queue)
        self.version += 1

    def labels(self) -> Mapping[bytes, str]:
        """Names to show; where two raw names read the same, the later one gets a mark."""
        labels: dict[bytes, str] = {}
        taken: set[str] = set()
        for queue in sorted(self.queues):
            label = text(queue)
            while label in taken:
                label += "'"
            taken.add(label)
            labels[queue] = label
        return labels

    def is_shadow(self, queue: bytes) -> bool:
        """Whether the list of a queue named ``Q.msgs`` may look like the hash of this one."""
        return queue + MESSAGES in self.queues


class Discovery:
    """Passes over the key space, cut into steps that ride along with each poll.

    ``commands`` says what to ask in the next round trip, ``absorb`` takes its replies.
    """

    def __init__(self, keys: Keys, names: Names) -> None:
        self.scanned = 0
        """Keys looked at in the pass under way."""
        self.keys = 0
        """Keys in the database when the pass began."""
        self.refusal: ReplyError | None = None
        """Why keys may not be listed."""
        self.complete = False
        """Whether every key has been looked at once."""
        self.holders: dict[bytes, None] = {}
        """The processes that were seen to own fetched messages; proof that they are workers."""
        self._of = keys
        self._names = names
        self._cursor: bytes | None = None
        self._next_pass_at = float("-inf")
        self._asked: list[Command] = []

    def start_over(self) -> None:
        """Begin a new pass at the next step, because what is known may no longer be true."""
        self._cursor = None
        self._next_pass_at = float("-inf")

    def commands(self, now: float) -> list[Command]:
        """What to ask in the next round trip; ``now`` is a monotonic clock."""
        asked: list[Command] = []
        if self._cursor is None and now >= self._next_pass_at:
            self._cursor, self.scanned = b"0", 0
            asked.append(("DBSIZE",))
        if self._cursor is not None:
            match = self._of.pattern
            asked.append(("SCAN", self._cursor, "MATCH", match, "COUNT", KEYS_PER_SCAN))
        self._asked = asked
        return asked

    def absorb(self, replies: Iterable[Reply], now: float) -> None:
        """Take the replies to the last ``commands``."""
        for command, reply in zip(self._asked, replies, strict=True):
            match command[0], reply:
                case "DBSIZE", int(keys):
                    self.keys = keys
                case "SCAN", [bytes(cursor), list(keys)]:
                    self._learn(keys)
                    self.scanned += KEYS_PER_SCAN
                    self.refusal = None
                    self._cursor = cursor
                    if cursor == b"0":
                        self._finish(now)
                case "SCAN", ReplyError() as refusal:
                    self.refusal = refusal
                    self._finish(now)
        self._asked = []

    def _learn(self, keys: Iterable[Reply]) -> None:
        for key in keys:
            trace = trace_in(self._of, key) if isinstance(key, bytes) else None
            if trace is None:
                continue
            self._names.learn(trace.queue)
            if trace.holder is not None and len(self.holders) < MOST_HOLDERS:
                self.holders[trace.holder] = None

    def _finish(self, now: float) -> None:
        self.complete = True
        self._cursor = None
        small = self.keys <= FEW_KEYS
        self._next_pass_at = now + (
            SECONDS_BETWEEN_SMALL_PASSES if small else SECONDS_BETWEEN_PASSES
        )
