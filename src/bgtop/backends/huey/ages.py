"""How long the oldest job of each queue has waited, and how many wait of each priority.

A list keeps no times: the job at its tail, which is next, has waited at least since it was first
seen there. In a priority queue each job begins with the time it was put, and the oldest one is the
first of some priority; priorities are learnt, a new one a poll. Several are counted in the same
trip; where there is only one, the depth says it.

Redis hands out elements only whole, and they may be megabytes. So a queue is asked only where its
jobs are small on average (MEMORY USAGE, asked again every few seconds), and one that gave a large
element, or none at all because the connection broke, is left alone for a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from hiredis import ReplyError

from bgtop.backends.huey.depths import SORTED_SET, Depths
from bgtop.backends.huey.wire import WAITING, enqueued_at, priority_of, priority_step
from bgtop.backends.redis_link import pack
from bgtop.model import Age, AgeKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bgtop.backends.redis_connection import Reply, Request

SMALL_ON_AVERAGE = 16 * 1024
LARGEST_ELEMENT = 64 * 1024
BYTES_PER_POLL = 1024 * 1024
COMMANDS_PER_POLL = 4_000
SECONDS_LEFT_ALONE = 60.0
SECONDS_BETWEEN_SIZES = 5.0
"""And up to twice as long, so that thousands of queues are not asked in the same poll."""
MOST_STEPS = 16
"""Priorities of one queue that are looked at; with more, its age is a lower bound."""


class _Tail(NamedTuple):
    """The next job of a list, by a digest, and since when it has been that."""

    digest: int
    since: float


class _Size(NamedTuple):
    """How large the jobs of a queue are on average, and when to ask again (a monotonic clock)."""

    average: int
    until: float


_Question: TypeAlias = "tuple[bytes, tuple[bytes, ...] | None]"
"""A queue, and the priorities behind which its first job is asked for; none of a list."""


class Ages:
    """Asks after the depths are known: ``begin``, and ``requests`` and ``absorb`` in two trips.

    What a queue's jobs are like is asked in the first; if that was not known, they are looked at in
    the second.
    """

    def __init__(self) -> None:
        self.found: dict[bytes, Age] = {}
        self.split: dict[bytes, dict[int, int]] = {}
        """Jobs by priority, of the queues of which all priorities are known."""
        self.unread = 0
        """Queues with jobs whose oldest was not looked at."""
        self.pending = False
        """Whether the next poll will know more: a priority was met that nobody asked about."""
        self._tails: dict[bytes, _Tail] = {}
        self._steps: dict[bytes, tuple[bytes, ...]] = {}
        self._left_alone: dict[bytes, float] = {}
        self._asked: list[_Question] = []
        self._last: tuple[list[_Question], list[Request]] = [], []
        self.refusal: ReplyError | None = None
        """Why the memory that jobs take is not told."""
        self._sizes: dict[bytes, _Size] = {}
        self._unsized: list[bytes] = []
        self._asked_sizes: list[bytes] = []
        self._waiting: Mapping[bytes, int] = {}
        self._kinds: Mapping[bytes, str] = {}
        self._budget = self._commands = 0

    def begin(self, depths: Depths, tick: float) -> None:
        """Take the queues that hold jobs; ``tick`` is a monotonic clock."""
        self.found, self.unread, self.pending, self.refusal = {}, 0, False, None
        self.split = {}
        self._waiting, self._kinds = depths.waiting, depths.kinds
        self._budget, self._commands = BYTES_PER_POLL, COMMANDS_PER_POLL
        if self._left_alone:
            self._left_alone = {n: until for n, until in self._left_alone.items() if until > tick}
        for known in (self._tails, self._steps, self._sizes):
            for name in [name for name in known if not depths.waiting.get(name)]:
                del known[name]

    def first_requests(self, tick: float) -> list[Request]:
        """What to ask first: about jobs known to be small, and how large the others are."""
        sizes, due, sized = self._sizes, [], []
        for name, count in self._waiting.items():
            if not count:
                continue
            size = sizes.get(name)
            if size is None or size.until <= tick:
                due.append(name)
            if size is not None:
                sized.append(name)
        self._unsized = [name for name in due if name not in sizes]
        self._asked_sizes = due
        # Five elements are looked at; all other cost is that of a look-up.
        asked = [("MEMORY", "USAGE", WAITING + name, "SAMPLES", "5") for name in due]
        return [*([pack(*asked)] if asked else []), *self._look(sized, tick)]

    def absorb_first(self, replies: Sequence[Reply], tick: float, now: float) -> None:
        """Take the replies to ``first_requests``; ``now`` is in seconds since the epoch."""
        for name, used in zip(self._asked_sizes, replies, strict=False):
            self._sizes.pop(name, None)
            if isinstance(used, int):
                later = SECONDS_BETWEEN_SIZES * (1 + hash(name) % 100 / 100)
                self._sizes[name] = _Size(used // self._waiting[name], tick + later)
            elif isinstance(used, ReplyError):
                self.refusal = used
        self.absorb(replies[len(self._asked_sizes) :], tick, now)

    def requests(self, tick: float) -> list[Request]:
        """What to ask then: about jobs found to be small just now."""
        found = [name for name in self._unsized if name in self._sizes]
        self.unread += len(self._unsized) - len(found)
        return self._look(found, tick)

    def _look(self, names: Iterable[bytes], tick: float) -> list[Request]:
        self._asked = []
        for name in names:
            average, sorted_set = self._sizes[name].average, self._kinds.get(name) == SORTED_SET
            steps: tuple[bytes, ...] | None = None
            if sorted_set:
                steps = (b"-inf", *(b"(" + step for step in self._steps.get(name, ())))
            number = 1 if steps is None else len(steps)
            commands = number + len(_counted(steps or ()))
            fits = average * number <= self._budget and commands <= self._commands
            if average > SMALL_ON_AVERAGE or name in self._left_alone or not fits:
                self.unread += 1
                continue
            self._budget -= average * number
            self._commands -= commands
            # Taken back when the answer has come, and was small.
            self._left_alone[name] = tick + SECONDS_LEFT_ALONE
            self._asked.append((name, steps))
        return self._packed()

    def _packed(self) -> list[Request]:
        """The questions, packed anew where they are others than at the last look."""
        if not self._asked:
            return []
        if self._last[0] != self._asked:
            commands = (one for name, steps in self._asked for one in _questions(name, steps))
            self._last = self._asked, [pack(*commands)]
        return self._last[1]

    def absorb(self, replies: Sequence[Reply], tick: float, now: float) -> None:
        """Take the replies to ``requests``; ``now`` is in seconds since the epoch."""
        start = 0
        for name, steps in self._asked:
            if steps is None:
                self._take_tail(name, replies[start], tick)
                start += 1
                continue
            end = start + len(steps)
            part = replies[start:end]
            start = end + len(_counted(steps))
            if self._of_steps(name, steps, part, now):
                self._split(name, steps, replies[end:start])
            if all(_size(reply) <= LARGEST_ELEMENT for reply in part):
                del self._left_alone[name]

    def _take_tail(self, name: bytes, reply: Reply, tick: float) -> None:
        if isinstance(reply, bytes):
            digest, last = hash(reply), self._tails.get(name)
            if last is None or last.digest != digest:
                last = self._tails[name] = _Tail(digest, tick)
            self.found[name] = Age(tick - last.since, AgeKind.AT_LEAST)
        if _size(reply) <= LARGEST_ELEMENT:
            del self._left_alone[name]

    def _of_steps(
        self, name: bytes, asked: tuple[bytes, ...], replies: Sequence[Reply], now: float
    ) -> bool:
        """Each reply is the first job behind a known priority: behind the last there is none.

        Whether jobs were met, and no priority that was not asked about.
        """
        firsts: dict[bytes, float | None] = {}
        answered = True
        for reply in replies:
            match reply:
                case [bytes(member), bytes(score)] if priority_step(score) is not None:
                    firsts[score] = enqueued_at(member)
                case list():
                    pass
                case _:
                    answered = False
        steps = sorted(firsts, key=lambda score: priority_step(score) or 0.0)[:MOST_STEPS]
        self._steps[name] = tuple(steps)
        unasked = {b"(" + score for score in steps} - set(asked)
        self.pending = self.pending or bool(unasked)
        times = [time for time in firsts.values() if time is not None]
        sure = answered and not unasked and len(firsts) == len(steps)
        if times:
            kind = AgeKind.EXACT if sure and len(times) == len(firsts) else AgeKind.AT_LEAST
            self.found[name] = Age(max(0.0, now - min(times)), kind)
        return sure and bool(firsts)

    def _split(self, name: bytes, asked: tuple[bytes, ...], replies: Sequence[Reply]) -> None:
        """Take the counts of the priorities asked about, which are all there are."""
        split: dict[int, int] = {}
        for lower, count in zip(asked[1:], replies or [self._waiting[name]], strict=True):
            priority = priority_of(lower[1:])
            if priority is None or not isinstance(count, int):
                return
            if count:
                split[priority] = split.get(priority, 0) + count
        self.split[name] = split


def _questions(name: bytes, steps: tuple[bytes, ...] | None) -> list[Sequence[bytes | str | int]]:
    key = WAITING + name
    if steps is None:
        return [("LINDEX", key, -1)]
    return [
        *(("ZRANGEBYSCORE", key, lower, "+inf", "WITHSCORES", "LIMIT", 0, 1) for lower in steps),
        *(("ZCOUNT", key, step, step) for step in _counted(steps)),
    ]


def _counted(steps: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The priorities to count: none where there is only one, besides the place to begin at."""
    return tuple(lower[1:] for lower in steps[1:]) if len(steps) > 2 else ()


def _size(reply: Reply) -> int:
    if isinstance(reply, list):
        return sum(_size(part) for part in reply)
    return len(reply) if isinstance(reply, bytes) else 0
