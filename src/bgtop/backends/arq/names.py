"""Which queues a database holds. arq keeps no list of them, and their names are free.

A sorted set is one of arq's queues if its name begins with ``arq:``, as the default does, or if one
of its first members is the id of a job that exists. A worker's health check names a queue too, also
an empty one, which has no key of its own. Names are remembered once seen.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from bgtop.backends.arq.wire import ABORTS, HEALTH, JOB, LONGEST_HEALTH, OURS, health_in
from bgtop.backends.redis_link import pack
from bgtop.backends.redis_search import KeySearch
from bgtop.backends.seen_names import SeenNames

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bgtop.backends.redis_connection import Reply, Request
    from bgtop.backends.redis_search import Command

MOST_QUEUES = 10_000
"""A database with more is misused or hostile; the rest is left out with a warning."""

SUSPECTS_PER_POLL = 200
MOST_SUSPECTS = 20_000
IDS_PER_SUSPECT = 3
LARGEST_ID = 1_024
"""Average bytes of the members of a sorted set of another name that is looked into."""

SECONDS_UNTIL_ANOTHER_LOOK = 300.0
"""How long a sorted set that was none of arq's is passed over."""

_EVERYTHING = b"*"
_CHECKS = b"*" + HEALTH


class _Search(KeySearch):
    """First for sorted sets of any name, then for health checks."""

    def __init__(self) -> None:
        super().__init__(_EVERYTHING, _CHECKS)

    def commands(self, now: float) -> list[Command]:
        """What to ask; the server leaves out what is no sorted set, which Redis can since 6.0."""
        return [
            (*command, "TYPE", "zset") if _EVERYTHING in command else command
            for command in super().commands(now)
        ]


class Names(SeenNames):
    """Every queue seen so far, and the search for more."""

    def __init__(self, configured: Iterable[bytes]) -> None:
        super().__init__(MOST_QUEUES, configured)
        self.searched = False
        """Whether the whole database was looked at once, or may not be."""
        self.search = _Search()
        self._suspects: dict[bytes, None] = {}
        self._passed_over: dict[bytes, float] = {}
        self._checks: dict[bytes, None] = {}
        self._asked: list[bytes] = []
        self._asked_checks: list[bytes] = []
        self._ids: dict[bytes, list[bytes]] = {}

    @property
    def settled(self) -> bool:
        """Whether nothing that was found still has to be looked at."""
        return self.searched and not self._suspects and not self._checks

    def requests(self, now: float) -> list[Request]:
        """The next step of the search, if one is due; ``now`` is a monotonic clock."""
        commands = self.search.commands(now)
        return [pack(*commands)] if commands else []

    def absorb(self, replies: Sequence[Reply], now: float) -> None:
        """Take the replies to ``requests``."""
        step = self.search.absorb(replies, now)
        if step is None:
            self.searched = self.searched or self.search.refusal is not None
        elif step.pattern == 0:
            self._sort_out(step.keys, now)
        else:
            self._checks.update(
                (name, None)
                for key in step.keys
                if (name := key.removesuffix(HEALTH)) and name not in self.known
            )
            self.searched = self.searched or step.ended

    def _sort_out(self, sorted_sets: Iterable[bytes], now: float) -> None:
        for key in sorted_sets:
            if key.startswith(OURS):
                self.learn([key] if key != ABORTS else [])
            elif key not in self.known and self._passed_over.get(key, now) <= now:
                self._suspects[key] = None
            if len(self._suspects) >= MOST_SUSPECTS:
                return

    # What is found under other names is looked at in the three round trips of a poll.

    def sizes(self) -> list[Request]:
        """Ask how large the next suspects are, and what the next health checks say."""
        self._asked = [*islice(self._suspects, SUSPECTS_PER_POLL)]
        self._asked_checks = [*islice(self._checks, SUSPECTS_PER_POLL)]
        commands: list[Command] = []
        for key in self._asked:
            commands += [("ZCARD", key), ("MEMORY", "USAGE", key, "SAMPLES", "5")]
        for name in self._asked_checks:
            commands.append(("GETRANGE", name + HEALTH, 0, LONGEST_HEALTH - 1))
        return [pack(*commands)] if commands else []

    def absorb_sizes(self, replies: Sequence[Reply], now: float) -> None:
        """Take the replies to ``sizes``."""
        if len(self._passed_over) > MOST_SUSPECTS:
            self._passed_over.clear()
        count = 2 * len(self._asked)
        cards, used = replies[:count:2], replies[1:count:2]
        self._ids = {
            key: []
            for key, card, size in zip(self._asked, cards, used, strict=True)
            if isinstance(card, int) and isinstance(size, int) and size <= card * LARGEST_ID
        }
        for name, check in zip(self._asked_checks, replies[count:], strict=True):
            if health_in(check) is not None:
                self.learn([name])
        for name in self._asked:
            self._suspects.pop(name, None)
            self._passed_over[name] = now + SECONDS_UNTIL_ANOTHER_LOOK
        for name in self._asked_checks:
            self._checks.pop(name, None)

    def first_ids(self) -> list[Request]:
        """Ask for the first members of the suspects that are small enough."""
        commands = [("ZRANGE", key, 0, IDS_PER_SUSPECT - 1) for key in self._ids]
        return [pack(*commands)] if commands else []

    def absorb_first_ids(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``first_ids``."""
        for key, reply in zip([*self._ids], replies, strict=True):
            ids = (
                [one for one in reply if isinstance(one, bytes)] if isinstance(reply, list) else []
            )
            self._ids[key] = ids

    def proofs(self) -> list[Request]:
        """Ask how many of these members are jobs."""
        self._ids = {key: ids for key, ids in self._ids.items() if ids}
        commands: list[Command] = [
            ("EXISTS", *(JOB + one for one in ids)) for ids in self._ids.values()
        ]
        return [pack(*commands)] if commands else []

    def absorb_proofs(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``proofs``."""
        pairs = zip(self._ids, replies, strict=True)
        self.learn(key for key, jobs in pairs if isinstance(jobs, int) and jobs)
        self._ids = {}
