"""The jobs of rq-scheduler: one sorted set for all queues, of which each job's hash names its own.

A job's ``origin`` never changes, so it is asked for once. A job whose hash is gone belongs to no
queue; rq-scheduler drops it when it is due.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.redis_errors import code_of
from bgtop.backends.rq.wire import SCHEDULER_JOBS, job_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_search import Command
    from bgtop.backends.rq.jobs import Place
    from bgtop.backends.rq.troubles import Troubles
    from bgtop.model import JobQuery

MOST_JOBS = 10_000
"""Above this many only their number is read."""

ORIGINS_PER_POLL = 5_000

_LONGEST_ORIGIN = 1_024


class SchedulerJobs:
    """Counts them by queue; the calls of a poll come in the order written here."""

    def __init__(self) -> None:
        self.total: int | None = None
        self._jobs: list[bytes] = []
        self._due: dict[bytes, Reply] = {}
        self._origins: dict[bytes, bytes | None] = {}
        self._asked: list[bytes] = []
        self._queues: frozenset[bytes] = frozenset()

    def commands(self) -> list[Command]:
        """What to ask first: how many, and which."""
        everything = ("ZRANGE", SCHEDULER_JOBS, 0, MOST_JOBS - 1, "WITHSCORES")
        return [("ZCARD", SCHEDULER_JOBS), everything]

    def absorb(self, replies: Sequence[Reply], troubles: Troubles) -> None:
        """Take the replies to ``commands``."""
        total, listed = replies
        self.total = troubles.number(SCHEDULER_JOBS, total)
        if isinstance(total, ReplyError) and code_of(total) == "WRONGTYPE":
            # Whatever it is, no job of rq-scheduler is in there.
            self.total = 0
        jobs = listed if isinstance(listed, list) else []
        pairs = zip(jobs[::2], jobs[1::2], strict=False)
        self._due = {job: due for job, due in pairs if isinstance(job, bytes)}
        self._jobs = [*self._due]
        self._origins = {job: self._origins[job] for job in self._jobs if job in self._origins}

    def origin_commands(self) -> list[Command]:
        """What to ask next: the queues of jobs not seen before, then again of those without one."""
        unknown = [job for job in self._jobs if job not in self._origins]
        lost = [job for job, origin in self._origins.items() if origin is None]
        keys = {job: job_key(job) for job in (*unknown, *lost)[:ORIGINS_PER_POLL]}
        self._asked = [job for job, key in keys.items() if key is not None]
        self._origins.update((job, None) for job, key in keys.items() if key is None)
        return [("HGET", key, "origin") for key in keys.values() if key is not None]

    def absorb_origins(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``origin_commands``."""
        for job, reply in zip(self._asked, replies, strict=True):
            fits = isinstance(reply, bytes) and 0 < len(reply) <= _LONGEST_ORIGIN
            self._origins[job] = reply if fits and isinstance(reply, bytes) else None
        self._asked = []

    @property
    def queues(self) -> frozenset[bytes]:
        """The queues these jobs go to, as far as known; another value when it changes."""
        queues = frozenset(filter(None, self._origins.values()))
        if queues != self._queues:
            self._queues = queues
        return self._queues

    def firsts(self, query: JobQuery, labels: Mapping[bytes, str]) -> list[Place]:
        """The jobs that a list of them is about, the next to be due first; one more than it shows.

        Only those whose queues are known.
        """
        from bgtop.backends.rq.jobs import Place  # nobody else needs it

        places = (
            Place(job, origin, due)
            for job, due in self._due.items()
            if isinstance(due, bytes) and (origin := self._origins.get(job)) is not None
        )
        chosen = (one for one in places if query.queue in {None, labels.get(one.queue or b"")})
        return list(islice(chosen, query.limit + 1))

    @property
    def pending(self) -> bool:
        """Whether the next polls will know more."""
        few = self.total is not None and self.total <= MOST_JOBS
        return few and len(self._origins) < len(self._jobs)

    def by_queue(self, troubles: Troubles) -> Mapping[bytes, int] | None:
        """How many jobs of each queue; ``None`` while that is not known."""
        if self.total is None or self.pending:
            return None
        if self.total > MOST_JOBS:
            words = f"rq-scheduler holds {self.total:,} jobs; above {MOST_JOBS:,} they are not"
            troubles.say(f"{words} told apart by queue")
            return None
        counts = Counter(self._origins.values())
        lost = counts.pop(None, 0)
        if lost:
            troubles.say(f"{lost} jobs of rq-scheduler belong to no queue: their hashes are gone")
        return {origin: number for origin, number in counts.items() if origin is not None}
