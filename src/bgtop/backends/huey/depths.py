"""How many jobs wait in each queue, and how many are scheduled, in one round trip.

The key of a queue is a list or, with priorities, a sorted set. What it was last time is asked for
first; where that is wrong the other is asked in a second trip, and remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.huey.wire import SCHEDULE, WAITING
from bgtop.backends.redis_errors import code_of
from bgtop.backends.redis_link import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.backends.redis_connection import Reply, Request

LIST, SORTED_SET = "LLEN", "ZCARD"
_OTHER = {LIST: SORTED_SET, SORTED_SET: LIST}

QUEUES_PER_REQUEST = 500


class Depths:
    """Measures one set of queues: ``requests``, ``absorb``, then ``probes``, ``absorb_probes``."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, int] = {}
        self.scheduled: dict[bytes, int] = {}
        self.bytes_used: dict[bytes, int] = {}
        """About how much memory the waiting jobs take, where the server tells."""
        self.kinds: dict[bytes, str] = {}
        """The command that counts the jobs of a queue."""
        self.refusals: dict[bytes, ReplyError] = {}
        self.schedule_refusals: dict[bytes, ReplyError] = {}
        self.memory_refusal: ReplyError | None = None
        self._names: Sequence[bytes] = ()
        self._packed: list[Request] | None = None
        self._suspects: list[bytes] = []

    def plan(self, names: Sequence[bytes]) -> None:
        """Measure these queues from now on."""
        self._names = names
        self._packed = None

    def requests(self) -> list[Request]:
        """What to ask in the first round trip; packed once per plan."""
        if self._packed is None:
            self._packed = []
            for start in range(0, len(self._names), QUEUES_PER_REQUEST):
                commands: list[tuple[bytes | str, ...]] = []
                for name in self._names[start : start + QUEUES_PER_REQUEST]:
                    key = WAITING + name
                    commands.append((self.kinds.get(name, LIST), key))
                    commands.append(("ZCARD", SCHEDULE + name))
                    # Five elements are looked at; all other cost is that of a look-up.
                    commands.append(("MEMORY", "USAGE", key, "SAMPLES", "5"))
                self._packed.append(pack(*commands))
        return self._packed

    def absorb(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``requests``."""
        self.waiting, self.scheduled, self.bytes_used = {}, {}, {}
        self.refusals, self.schedule_refusals = {}, {}
        self.memory_refusal = None
        self._suspects = []
        parts = zip(self._names, replies[::3], replies[1::3], replies[2::3], strict=True)
        for name, length, scheduled, used in parts:
            self._count(name, length, self._suspects)
            if isinstance(scheduled, int):
                self.scheduled[name] = scheduled
            elif isinstance(scheduled, ReplyError):
                self.schedule_refusals[name] = scheduled
            if isinstance(used, int):
                self.bytes_used[name] = used
            elif isinstance(used, ReplyError):
                self.memory_refusal = used

    def probes(self) -> list[Request]:
        """What to ask in a second round trip: queues that are not what they were."""
        kinds = self.kinds
        asked = [(_OTHER[kinds.get(name, LIST)], WAITING + name) for name in self._suspects]
        return [pack(*asked)] if asked else []

    @property
    def changed(self) -> bool:
        """Whether some queue was not what it was taken for."""
        return self._packed is None

    def absorb_probes(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``probes``."""
        for name, reply in zip(self._suspects, replies, strict=True):
            self._count(name, reply, [])
            if isinstance(reply, int):
                del self.refusals[name]
                self.kinds[name] = _OTHER[self.kinds.get(name, LIST)]
                self._packed = None

    def _count(self, name: bytes, reply: Reply, suspects: list[bytes]) -> None:
        if isinstance(reply, int):
            self.waiting[name] = reply
        elif isinstance(reply, ReplyError):
            self.refusals[name] = reply
            if code_of(reply) == "WRONGTYPE":
                suspects.append(name)
