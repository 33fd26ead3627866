"""Finding the queues of a broker nobody listed for us, without ever stalling that broker.

Kombu announces each queue in the set ``_kombu.binding.<exchange>``. These sets are found by SCAN,
a thousand keys a call (0.5 ms of the server's time in a database of a million keys; KEYS would
block it for 115 ms). SCAN is not asked to filter by TYPE: that doubles its cost, and a key of
another type only makes SMEMBERS answer WRONGTYPE. A second, unhurried pass looks for lists of
priority steps whose queue was never announced.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.celery.catalog import Queue, split_binding_key
from bgtop.backends.celery.wire import BINDING, SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bgtop.backends.celery.catalog import Catalog
    from bgtop.backends.redis_connection import Reply

    Command = Sequence[bytes | str | int]

KEYS_PER_SCAN = 1_000
SETS_PER_TRIP = 1_000
SECONDS_BETWEEN_PASSES = 30.0
SECONDS_BETWEEN_SMALL_PASSES = 10.0
FEW_KEYS = 5_000
"""Up to so many keys a pass is a handful of commands, and may be repeated more often."""

_PATTERNS = (b"*" + BINDING + b"*", b"*" + SEPARATOR + b"[1-9]")
_NODES = BINDING + b"celery.pidbox"
# Asked for at once, so that a usual broker shows its workers however many keys it holds.
_USUAL = (_NODES, BINDING + b"celery")
# Sets of event consumers and of waiting clients: large on some brokers, and only of internal use.
_INTERNAL_EXCHANGES = (b"celeryev", b"reply.celery.pidbox")


class Discovery:
    """Passes over the key space, cut into steps that ride along with each poll.

    ``commands`` says what to ask in the next round trip, ``absorb`` takes its replies.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.scanned = 0
        """Keys looked at in the pass under way."""
        self.keys = 0
        """Keys in the database when the pass began."""
        self.refusal: ReplyError | None = None
        """Why keys may not be listed; queues are then known by the usual names only."""
        self._internal = False
        self._cursor: bytes | None = None
        self._pattern = 0
        self._next_pass_at = float("-inf")
        self._first_pass_done = False
        self._pending: dict[bytes, None] = dict.fromkeys(_USUAL)
        self._found: set[bytes] = set()
        self._asked: list[Command] = []

    @property
    def complete(self) -> bool:
        """Whether every announced queue has been found once."""
        return self._first_pass_done and not self._pending

    def show_internal(self, internal: bool) -> None:
        """Read the bindings of internal queues as well, from now on."""
        if internal and not self._internal:
            self.start_over()
        self._internal = internal

    def start_over(self) -> None:
        """Begin a new pass at the next step, because what is known may no longer be true."""
        self._cursor = None
        self.hurry()

    def hurry(self) -> None:
        """Let the next pass begin at once, because something new was seen."""
        self._next_pass_at = float("-inf")

    def commands(self, now: float) -> list[Command]:
        """What to ask in the next round trip; ``now`` is a monotonic clock."""
        asked: list[Command] = []
        if self._cursor is None and now >= self._next_pass_at:
            self._cursor, self._pattern, self.scanned = b"0", 0, 0
            self._found.clear()
            for prefix in self.catalog.prefixes:
                self._pending[prefix + _NODES] = None
            asked.append(("DBSIZE",))
        # They stay pending until answered: a trip may fail.
        asked += [("SMEMBERS", key) for key in islice(self._pending, SETS_PER_TRIP)]
        if self._cursor is not None:
            pattern = _PATTERNS[self._pattern]
            asked.append(("SCAN", self._cursor, "MATCH", pattern, "COUNT", KEYS_PER_SCAN))
        self._asked = asked
        return asked

    def absorb(
        self, replies: Iterable[Reply], now: float, in_use: Callable[[], set[bytes]]
    ) -> None:
        """Take the replies to the last ``commands``; ``in_use`` tells the queues with messages."""
        for command, reply in zip(self._asked, replies, strict=True):
            match command[0], reply:
                case "DBSIZE", int(keys):
                    self.keys = keys
                case "SMEMBERS", _:
                    self._absorb_members(command[1], reply)
                case "SCAN", [bytes(cursor), list(keys)]:
                    self._absorb_keys([key for key in keys if isinstance(key, bytes)])
                    self.scanned += KEYS_PER_SCAN
                    self._cursor = cursor
                    if cursor == b"0":
                        self._end_scan(now, in_use)
                case "SCAN", ReplyError() as refusal:
                    self.refusal = refusal
                    self._finish(now)
        self._asked = []

    def _absorb_members(self, key: bytes | str | int, reply: Reply) -> None:
        if isinstance(key, bytes):
            self._pending.pop(key, None)
            if isinstance(reply, list):
                members = [member for member in reply if isinstance(member, bytes)]
                self.catalog.learn_bindings(key, members)

    def _absorb_keys(self, keys: list[bytes]) -> None:
        for key in keys:
            if self._pattern == 0:
                exchange = split_binding_key(key)[1]
                if self._internal or exchange not in _INTERNAL_EXCHANGES:
                    self._found.add(key)
                    self._pending[key] = None
            else:
                self._absorb_list(key)

    def _absorb_list(self, key: bytes) -> None:
        name = key[: -len(SEPARATOR) - 1]
        fitting = [prefix for prefix in self.catalog.prefixes if name.startswith(prefix)]
        prefix = max(fitting, key=len)
        if len(name) > len(prefix):
            self.catalog.learn_queue(Queue(prefix, name[len(prefix) :], SEPARATOR))

    def _end_scan(self, now: float, in_use: Callable[[], set[bytes]]) -> None:
        if self._pattern == 0:
            self._first_pass_done = True
            self.refusal = None
            # A set that SCAN did not return is gone; its members, read again, say so.
            for key in self.catalog.binding_keys:
                if key not in self._found:
                    self._pending[key] = None
            self._pattern, self._cursor = 1, b"0"
        else:
            self.catalog.end_pass(in_use())
            self._finish(now)

    def _finish(self, now: float) -> None:
        self._first_pass_done = True
        self._cursor = None
        small = self.keys <= FEW_KEYS
        self._next_pass_at = now + (
            SECONDS_BETWEEN_SMALL_PASSES if small else SECONDS_BETWEEN_PASSES
        )
