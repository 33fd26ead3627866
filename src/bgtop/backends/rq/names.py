"""Which queues there are: those announced, those served, and those only a registry tells of.

``rq:queues`` gains a name when a job is put there. A queue that was only ever served is named by
its workers; one that lost its announcement, by the keys of its list and registries. These are
looked for by SCAN, which rides along with the trips of each poll: the pattern leaves out jobs,
results and executions, which are what makes a database large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.rq.wire import DEFERRED, QUEUE, SCHEDULED, STARTED, WORKERS_OF

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bgtop.backends.redis_connection import Reply

    Command = Sequence[bytes | str | int]

KEYS_PER_SCAN = 1_000
SECONDS_BETWEEN_PASSES = 30.0
MOST_QUEUES = 100_000
"""A server with more is misused or hostile; the rest is left out with a warning."""

_PATTERN = b"rq:[dqsw]*:*"
_KINDS = (QUEUE, DEFERRED, SCHEDULED, STARTED, WORKERS_OF)
# Where workers that serve a single queue keep a job for a moment.
_INTERMEDIATE = b":intermediate"


def queue_of_key(key: bytes) -> bytes | None:
    """The queue this key of a queue, registry or set of workers belongs to."""
    for kind in _KINDS:
        if key.startswith(kind) and len(key) > len(kind):
            inside = kind is QUEUE and key.endswith(_INTERMEDIATE)
            return None if inside else key[len(kind) :]
    return None


class Search:
    """A pass over the key space, a step at a time, then a pause.

    ``commands`` says what to ask in the next round trip, ``absorb`` takes its replies.
    """

    def __init__(self) -> None:
        self.complete = False
        """Whether the whole key space has been seen once."""
        self.scanned = 0
        self.keys = 0
        """Keys in the database when the pass began."""
        self.refusal: ReplyError | None = None
        self._known: frozenset[bytes] = frozenset()
        self._found: set[bytes] = set()
        self._cursor: bytes | None = None
        self._next_pass_at = float("-inf")
        self._asked = 0

    @property
    def found(self) -> Iterable[bytes]:
        """The queues of the last pass and of the one under way."""
        return self._known | self._found

    def start_over(self) -> None:
        """Begin a new pass at the next step: a cursor is worth nothing to another server."""
        self._cursor = None
        self._next_pass_at = float("-inf")

    def commands(self, tick: float) -> list[Command]:
        """The next step; ``tick`` is a monotonic clock."""
        asked: list[Command] = []
        if self._cursor is None and tick >= self._next_pass_at:
            self._cursor, self.scanned = b"0", 0
            self._found = set()
            asked.append(("DBSIZE",))
        if self._cursor is not None:
            asked.append(("SCAN", self._cursor, "MATCH", _PATTERN, "COUNT", KEYS_PER_SCAN))
        return asked

    def absorb(self, replies: Sequence[Reply], tick: float) -> None:
        """Take the replies to ``commands``."""
        for reply in replies:
            match reply:
                case int(keys):
                    self.keys = keys
                case [bytes(cursor), list(keys)]:
                    names = (queue_of_key(key) for key in keys if isinstance(key, bytes))
                    self._found.update(name for name in names if name is not None)
                    self.scanned += KEYS_PER_SCAN
                    self._cursor = cursor
                    if cursor == b"0":
                        self._known, self.refusal = frozenset(self._found), None
                        self._end(tick)
                case ReplyError():
                    self.refusal = reply
                    self._end(tick)

    def _end(self, tick: float) -> None:
        self.complete = True
        self._cursor = None
        self._next_pass_at = tick + SECONDS_BETWEEN_PASSES
