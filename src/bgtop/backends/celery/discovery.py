"""Finding the queues of a broker nobody listed for us, without ever stalling that broker.

Kombu announces each queue in the set ``_kombu.binding.<exchange>``. These sets are found by SCAN,
which is not asked to filter by TYPE: that doubles its cost, and a key of another type only makes
SMEMBERS answer WRONGTYPE. A second, unhurried search is for lists of priority steps whose queue was
never announced.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.celery.catalog import Queue, split_binding_key
from bgtop.backends.celery.wire import BINDING, SEPARATOR
from bgtop.backends.redis_errors import code_of
from bgtop.backends.redis_search import KeySearch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bgtop.backends.celery.catalog import Catalog
    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_search import Command, Step

SETS_PER_TRIP = 1_000

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

    def __init__(self, catalog: Catalog, shared: object | None = None) -> None:
        self.catalog = catalog
        self.search = KeySearch(*_PATTERNS, shared=shared)
        self.forbidden = False
        """Whether the server kept announcements from us."""
        self._internal = False
        self._pending: dict[bytes, None] = dict.fromkeys(_USUAL)
        self._found: set[bytes] = set()
        self._asked: list[bytes] = []
        self._lists: list[Step] = []
        """Told by somebody else's search before the announcements were read."""

    @property
    def is_done_asking(self) -> bool:
        """Whether more steps in the same poll would find nothing more."""
        return self.search.is_done_asking and not self._pending

    @property
    def complete(self) -> bool:
        """Whether every announced queue has been found once."""
        return self.search.complete and not self._pending

    def warnings(self) -> Iterator[str]:
        """Why queues may be missing."""
        if not self.complete:
            yield f"still looking for queues: {self.search.progress}"
        if self.search.refusal is not None:
            yield "queues may be missing: the server does not let us list its keys"
        if self.forbidden:
            yield "queues may be missing: the server does not let us read what announces them"

    def show_internal(self, internal: bool) -> None:
        """Read the bindings of internal queues as well, from now on."""
        if internal and not self._internal:
            self.search.look_again()
        self._internal = internal

    def commands(self, now: float) -> list[Command]:
        """What to ask in the next round trip; ``now`` is a monotonic clock."""
        if self.search.begins(now):
            self._begin()
        # They stay pending until answered: a trip may fail.
        self._asked = list(islice(self._pending, SETS_PER_TRIP))
        return [*(("SMEMBERS", key) for key in self._asked), *self.search.commands(now)]

    def absorb(
        self, replies: Sequence[Reply], now: float, in_use: Callable[[], set[bytes]]
    ) -> None:
        """Take the replies to the last ``commands``; ``in_use`` tells the queues with messages."""
        asked, self._asked = self._asked, []
        for key, reply in zip(asked, replies, strict=False):
            self._absorb_members(key, reply)
        step = self.search.absorb(replies[len(asked) :], now)
        if step is not None:
            self._absorb_step(step, in_use)

    def hurry(self) -> None:
        """Something new was seen: look at the nodes, and begin the next pass."""
        self._ask_for_nodes()
        self.search.hurry()

    def _begin(self) -> None:
        self.forbidden = False
        self._found.clear()
        self._ask_for_nodes()

    def _ask_for_nodes(self) -> None:
        for prefix in self.catalog.prefixes:
            self._pending[prefix + _NODES] = None

    def listen(self, in_use: Callable[[], set[bytes]]) -> None:
        """Take what somebody else's search has brought; to be called once a poll."""
        for step in self.search.heard():
            if step.pattern:
                self._lists.append(step)
                continue
            if step.began:
                self._begin()
            self._absorb_step(step, in_use)
        if not self._pending:
            # Whose they are is known when all announcements are read.
            lists, self._lists = self._lists, []
            for step in lists:
                self._absorb_step(step, in_use)

    def _absorb_members(self, key: bytes, reply: Reply) -> None:
        self._pending.pop(key, None)
        if isinstance(reply, ReplyError) and code_of(reply) == "NOPERM":
            self.forbidden = True
        if isinstance(reply, list):
            members = [member for member in reply if isinstance(member, bytes)]
            self.catalog.learn_bindings(key, members)

    def _absorb_step(self, step: Step, in_use: Callable[[], set[bytes]]) -> None:
        if step.pattern == 0:
            self._absorb_bindings(step.keys)
        else:
            for key in step.keys:
                self._absorb_list(key)
        if step.ended and step.pattern == 0:
            # A set that SCAN did not return is gone; its members, read again, say so.
            for key in self.catalog.binding_keys:
                if key not in self._found:
                    self._pending[key] = None
        elif step.ended:
            self.catalog.end_pass(in_use())

    def _absorb_bindings(self, keys: list[bytes]) -> None:
        for key in keys:
            exchange = split_binding_key(key)[1]
            if self._internal or exchange not in _INTERNAL_EXCHANGES:
                self._found.add(key)
                self._pending[key] = None

    def _absorb_list(self, key: bytes) -> None:
        name = key[: -len(SEPARATOR) - 1]
        fitting = [prefix for prefix in self.catalog.prefixes if name.startswith(prefix)]
        prefix = max(fitting, key=len)
        if len(name) > len(prefix):
            self.catalog.learn_queue(Queue(prefix, name[len(prefix) :], SEPARATOR))
