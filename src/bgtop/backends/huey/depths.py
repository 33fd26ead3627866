"""How many jobs wait in each queue, and how many are scheduled.

The key of a queue is a list or, with priorities, a sorted set. What it was last time is asked for
first; where that is wrong the other is asked in a second trip, and remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.huey.wire import SCHEDULE, WAITING
from bgtop.backends.redis_errors import is_wrong_type
from bgtop.backends.redis_link import pack
from bgtop.backends.redis_sparse import SparseKeys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.backends.redis_connection import Reply, Request
    from bgtop.backends.redis_link import Part
    from bgtop.backends.redis_search import Command

LIST, SORTED_SET = "LLEN", "ZCARD"
_OTHER = {LIST: SORTED_SET, SORTED_SET: LIST}


class Depths:
    """Measures one set of queues; the calls of a poll come in the order written here."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, int] = {}
        """Of the queues in which jobs wait."""
        self.scheduled: dict[bytes, int] = {}
        """Of the queues with scheduled jobs."""
        self.kinds: dict[bytes, str] = {}
        """The command that counts the jobs of a queue."""
        self.refusals: dict[bytes, ReplyError] = {}
        self.schedule_refusals: dict[bytes, ReplyError] = {}
        self.changed = False
        """Whether some queue was not what it was taken for."""
        self.touched: set[bytes] = set()
        """The queues of which anything was told since the last poll."""
        self._names: Sequence[bytes] = ()
        self._is_new_plan = True
        self._suspects: list[bytes] = []
        self.plan(())

    def plan(self, names: Sequence[bytes]) -> None:
        """Measure these queues from now on."""
        self._names = names
        self._is_new_plan = True
        self._jobs = SparseKeys(names, lambda name: (WAITING + name,), self._of_jobs)
        self._schedules = SparseKeys(
            names, lambda name: (SCHEDULE + name,), lambda name: (("ZCARD", SCHEDULE + name),)
        )

    def _of_jobs(self, name: bytes) -> tuple[Command, ...]:
        return ((self.kinds.get(name, LIST), WAITING + name),)

    def parts(self) -> list[Part]:
        """What to ask first."""
        return [(keys.requests(), keys.absorb) for keys in (self._jobs, self._schedules)]

    def parts_left_open(self) -> list[Part]:
        """What to ask next about keys that have appeared, where there are many queues."""
        return [(keys.suspects(), keys.absorb_suspects) for keys in (self._jobs, self._schedules)]

    def settle(self) -> None:
        """Make numbers of what has changed; refusals are told at every poll."""
        if self._is_new_plan:
            self._is_new_plan = False
            self.waiting, self.scheduled = {}, {}
            self.refusals, self.schedule_refusals = {}, {}
        self.changed = False
        self.touched, self._suspects = set(), []
        for place, reply in self._jobs.changes():
            name = self._names[place]
            self.touched.add(name)
            self.waiting.pop(name, None)
            self.refusals.pop(name, None)
            self._count(name, reply, self._suspects)
        for place, scheduled in self._schedules.changes():
            name = self._names[place]
            self.touched.add(name)
            self.scheduled.pop(name, None)
            self.schedule_refusals.pop(name, None)
            if isinstance(scheduled, int):
                self.scheduled[name] = scheduled
            elif isinstance(scheduled, ReplyError):
                self.schedule_refusals[name] = scheduled

    def depth(self, name: bytes) -> int | None:
        """How many jobs wait there; ``None`` when that cannot be read."""
        return None if name in self.refusals else self.waiting.get(name, 0)

    def delayed(self, name: bytes) -> int | None:
        """How many jobs are not yet due; ``None`` when that cannot be read."""
        return None if name in self.schedule_refusals else self.scheduled.get(name, 0)

    def probes(self) -> list[Request]:
        """What to ask then: queues that are not what they were."""
        kinds = self.kinds
        asked = [(_OTHER[kinds.get(name, LIST)], WAITING + name) for name in self._suspects]
        return [pack(*asked)] if asked else []

    def absorb_probes(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``probes``."""
        for name, reply in zip(self._suspects, replies, strict=True):
            self._count(name, reply, [])
            if isinstance(reply, int):
                del self.refusals[name]
                self.touched.add(name)
                self.kinds[name] = _OTHER[self.kinds.get(name, LIST)]
                self.changed = True
        if self.changed:
            self.plan(self._names)

    def _count(self, name: bytes, reply: Reply, suspects: list[bytes]) -> None:
        if isinstance(reply, int):
            self.waiting[name] = reply
        elif isinstance(reply, ReplyError):
            self.refusals[name] = reply
            if is_wrong_type(reply):
                suspects.append(name)
