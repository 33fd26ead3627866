"""What runs and what waits in each queue: its numbers, and the jobs at its front one by one.

A running job stays in the sorted set, and whether it runs is said by a key for each job, which does
not name the queue. So the ids at the front are looked at, where workers take their jobs: they go by
the score. The first ones are looked at singly, to find the oldest that waits, and the others are
counted. If running jobs are met up to the end of what was looked at, there may be more behind it,
and the next poll looks at twice as many; when that ends, the number is not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hiredis import ReplyError

from bgtop.backends.arq.wire import IN_PROGRESS, is_time, score_in
from bgtop.backends.redis_link import pack
from bgtop.model import Age, AgeKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bgtop.backends.redis_connection import Reply, Request
    from bgtop.backends.redis_search import Command

SHORTEST_LOOK = 100
"""Jobs a worker looks at itself, unless it may run more than twenty at once."""
LONGEST_LOOK = 3_200
IDS_PER_POLL = 20_000
FEWEST_SINGLY = 4
BYTES_PER_ID = 1_024
"""Ids have 32 bytes unless the application makes its own; much larger ones are not fetched."""

SECONDS_LEFT_ALONE = 60.0


class Numbers(NamedTuple):
    """Of one queue; ``None`` where it cannot be known."""

    waiting: int | None
    scheduled: int | None
    running: int | None
    oldest: Age | None
    refusal: ReplyError | None
    unseen: bool
    """Whether the front could not be looked at, or not far enough."""


class Heads:
    """Looks at a set of queues in the three round trips of a poll; in the order written here."""

    def __init__(self) -> None:
        self.found: dict[bytes, Numbers] = {}
        self.pending = False
        """Whether the next poll will know more."""
        self._names: Sequence[bytes] = ()
        self._looks: dict[bytes, int] = {}
        """How many ids to fetch, where that is more than usual."""
        self._ran: dict[bytes, int] = {}
        """How many ran at the last look."""
        self._alone_until = float("-inf")
        self._unanswered = 0
        """How often in a row the ids were asked for and never came."""
        self._limits: dict[bytes, int] = {}
        self._heads: dict[bytes, list[bytes] | None] = {}
        self._glances: dict[bytes, Glance] = {}

    def plan(self, names: Sequence[bytes]) -> None:
        """Look at these queues from now on."""
        self._names = names

    def sizes(self) -> list[Request]:
        """Ask how many jobs there are in each queue, and how much memory they take."""
        self.pending = False
        commands: list[Command] = []
        for name in self._names:
            # Redis samples from the lowest score on: those whose ids are to be fetched.
            look = self._looks.get(name, SHORTEST_LOOK)
            commands += [("ZCARD", name), ("MEMORY", "USAGE", name, "SAMPLES", look)]
        return [pack(*commands)] if commands else []

    def absorb_sizes(self, replies: Sequence[Reply], tick: float) -> None:
        """Take the replies to ``sizes``, and choose the queues whose ids are fetched."""
        if self._unanswered >= 2:
            self.leave_alone(tick)
        self._heads = {}
        wanted: dict[bytes, int] = {}
        looks: dict[bytes, int] = {}
        for name, card, used in zip(self._names, replies[::2], replies[1::2], strict=True):
            # Who may not ask for the memory looks all the same: large ids are a rarity.
            large = isinstance(card, int) and isinstance(used, int) and used > card * BYTES_PER_ID
            if large or tick < self._alone_until:
                self._heads[name] = None
            elif isinstance(card, int):
                looks[name] = self._looks.get(name, SHORTEST_LOOK)
                wanted[name] = min(card, looks[name])
        self._heads |= {name: [] for name in wanted}
        # Who gets what is there may get what came since: then nothing is missed.
        self._limits = {
            name: share if share < wanted[name] else looks[name]
            for name, share in _shared(wanted).items()
        }

    def leave_alone(self, tick: float) -> None:
        """Fetch no ids for a while: their answer is too large, and broke the connection."""
        self._alone_until = tick + SECONDS_LEFT_ALONE
        self._unanswered = 0
        self._heads = dict.fromkeys(self._heads)

    def ids(self, now_ms: int) -> list[Request]:
        """Ask for the first due jobs of each queue."""
        commands = [
            ("ZRANGEBYSCORE", name, "-inf", now_ms, "LIMIT", 0, count)
            for name, count in self._limits.items()
        ]
        self._unanswered += bool(commands)
        return [pack(*commands)] if commands else []

    def absorb_ids(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``ids``."""
        for name, reply in zip(self._limits, replies, strict=True):
            ids = (
                [one for one in reply if isinstance(one, bytes)] if isinstance(reply, list) else []
            )
            self._heads[name] = ids
        self._unanswered = 0

    def states(self, now_ms: int) -> list[Request]:
        """Ask which of these run, and which are still there; then count."""
        commands: list[Command] = []
        self._glances = {}
        for name in self._names:
            ids = self._heads.get(name)
            if ids is not None:
                singly = min(len(ids), self._ran.get(name, 0) + FEWEST_SINGLY)
                glance = Glance(ids, singly, whole=len(ids) < self._limits[name])
                self._glances[name] = glance
                commands += glance.commands(name)
            commands.append(("ZCOUNT", name, "-inf", now_ms))
            commands.append(("ZCOUNT", name, f"({now_ms}", "+inf"))
        return [pack(*commands)] if commands else []

    def absorb_states(self, replies: Sequence[Reply], now_ms: int) -> None:
        """Take the replies to ``states``."""
        self.found = {}
        left = iter(replies)
        for name in self._names:
            glance = self._glances.get(name)
            front = None if glance is None else glance.front(left)
            self.found[name] = self._numbers(name, front, next(left), next(left), now_ms)

    def _numbers(
        self, name: bytes, front: Front | None, due: Reply, later: Reply, now_ms: int
    ) -> Numbers:
        refusal = next((r for r in (due, later) if isinstance(r, ReplyError)), None)
        scheduled = later if isinstance(later, int) else None
        if not isinstance(due, int):
            return Numbers(None, scheduled, None, None, refusal, unseen=False)
        if front is None:
            return Numbers(None, scheduled, None, None, refusal, unseen=due > 0)
        if not front.tells_all_of(due):
            look = self._looks.get(name, SHORTEST_LOOK)
            self._looks[name] = min(2 * look, LONGEST_LOOK)
            self.pending = self.pending or look < LONGEST_LOOK
            return Numbers(None, scheduled, None, front.oldest(now_ms), refusal, unseen=True)
        if due < SHORTEST_LOOK:
            self._looks.pop(name, None)
        self._ran[name] = front.running
        waiting = max(due - front.running, 0)
        age = front.oldest(now_ms) if waiting else None
        # More than before run at the front: the next look goes on behind them.
        self.pending = self.pending or (waiting > 0 and front.all_run)
        return Numbers(waiting, scheduled, front.running, age, refusal, unseen=False)


class Glance(NamedTuple):
    """What is asked about the ids at the front of one queue."""

    ids: list[bytes]
    singly: int
    """So many of the first are asked about one by one."""
    whole: bool
    """Whether no other job was due when they were fetched."""

    @property
    def tail(self) -> int:
        """Where the last quarter begins."""
        return len(self.ids) - len(self.ids) // 4

    def _rest(self) -> tuple[list[bytes], list[bytes]]:
        """Those that are only counted: up to the last quarter, and in it."""
        return self.ids[self.singly : self.tail], self.ids[max(self.singly, self.tail) :]

    def commands(self, name: bytes) -> list[Command]:
        """The questions."""
        commands: list[Command] = []
        for one in self.ids[: self.singly]:
            # In this order: a job that ends meanwhile is neither running nor waiting.
            commands += [("EXISTS", IN_PROGRESS + one), ("ZSCORE", name, one)]
        for part in filter(None, self._rest()):
            commands.append(("EXISTS", *(IN_PROGRESS + one for one in part)))
        return commands

    def front(self, replies: Iterator[Reply]) -> Front:
        """The answers, taken from the front of ``replies``."""
        runs, scores = [], []
        for _ in range(self.singly):
            runs.append(next(replies))
            scores.append(score_in(next(replies)))
        body, tail = (next(replies) if part else 0 for part in self._rest())
        counts = [count for count in (*runs, body, tail) if isinstance(count, int)]
        return Front(
            seen=len(self.ids),
            whole=self.whole,
            known=len(counts) == len(runs) + 2,
            running=sum(counts),
            running_at_the_end=sum(counts[self.tail : self.singly]) + counts[-1] if counts else 0,
            singly=tuple((run == 1, score) for run, score in zip(runs, scores, strict=True)),
        )


class Front(NamedTuple):
    """The first due jobs of a queue, by the server's answers."""

    seen: int
    whole: bool
    known: bool
    running: int
    running_at_the_end: int
    singly: tuple[tuple[bool, float | None], ...]
    """Of each of the first ones whether it runs, and its score unless it is gone."""

    @property
    def all_run(self) -> bool:
        """Whether the first that waits was not met, and may yet be."""
        return len(self.singly) < self.seen and all(runs for runs, _ in self.singly)

    def tells_all_of(self, due: int) -> bool:
        """Whether no job beyond these can be running, out of so many that are due."""
        if not self.known or self.whole or due <= self.seen:
            return self.known
        return self.seen >= SHORTEST_LOOK // 2 and not self.running_at_the_end

    def oldest(self, now_ms: int) -> Age | None:
        """Since when the first of those that wait is due."""
        scores = [score for runs, score in self.singly if not runs and score is not None]
        waiting = [score for score in scores if score <= now_ms]
        times = [score for score in waiting if is_time(score)]
        if not times or not self.known:
            return None
        # A score that is no time comes first, and says nothing about how long it waits.
        kind = AgeKind.EXACT if len(times) == len(waiting) else AgeKind.AT_LEAST
        return Age(max(0.0, (now_ms - min(times)) / 1000), kind)


def _shared(wanted: Mapping[bytes, int]) -> dict[bytes, int]:
    """How many ids of each queue to fetch: those who want little get it, the others share."""
    left, found = IDS_PER_POLL, {}
    for number, (name, count) in enumerate(sorted(wanted.items(), key=lambda item: item[1])):
        found[name] = min(count, max(1, left // (len(wanted) - number)))
        left -= found[name]
    return found
