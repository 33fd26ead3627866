"""The numbers of each queue: a round trip for its list and registries, one for a few jobs of it.

Registries are read as they are. RQ's own way to count them cleans them up first, which moves jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.redis_connection import Request
from bgtop.backends.redis_link import pack
from bgtop.backends.rq import wire
from bgtop.model import Age

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_search import Command
    from bgtop.backends.rq.troubles import Troubles

    Ended = tuple[bytes, bytes]
    """A finished job and its score: a job that ran again has another score."""

HEADS = 3
"""Jobs looked at for the oldest: some may have expired, others were put in at the front."""

LATEST = 6
"""Finished jobs looked at for the last end and the mean runtime.

They are ordered by when their results expire. Those that never do come first, in no order; if there
are no others among the latest, the last end is unknown.
"""

QUEUES_PER_TRIP = 5_000

_FOR_EVER = b"inf"


class Numbers(NamedTuple):
    """How many jobs of a queue are in which state; ``None`` is unknown."""

    depth: int | None = None
    running: int | None = None
    failed: int | None = None
    scheduled: int | None = None
    deferred: int | None = None


class Span(NamedTuple):
    """When a finished job began and ended."""

    began: datetime
    ended: datetime


class Row:
    """What one poll saw of one queue."""

    __slots__ = ("_enqueued", "_spans", "finished", "heads", "name", "numbers")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.numbers = Numbers()
        self.heads: tuple[bytes, ...] = ()
        """The jobs next in turn."""
        self.finished: tuple[Ended, ...] = ()
        self._enqueued: list[float] = []
        self._spans: list[Span] = []

    def commands(self) -> list[Command]:
        """What is asked at each poll in the same words."""
        queue = wire.QUEUE + self.name
        return [
            ("LLEN", queue),
            ("LRANGE", queue, 0, HEADS - 1),
            ("ZCARD", wire.FAILED + self.name),
            ("ZCARD", wire.SCHEDULED + self.name),
            ("ZCARD", wire.DEFERRED + self.name),
            ("ZREVRANGE", wire.FINISHED + self.name, 0, LATEST - 1, "WITHSCORES"),
        ]

    def absorb(self, replies: Sequence[Reply], running: Reply, troubles: Troubles) -> None:
        """Take the replies to ``commands``, and how many jobs are started."""
        depth, heads, failed, scheduled, deferred, latest = replies
        name, number = self.name, troubles.number
        self.numbers = Numbers(
            depth=number(wire.QUEUE + name, depth),
            running=number(wire.STARTED + name, running),
            failed=number(wire.FAILED + name, failed),
            scheduled=number(wire.SCHEDULED + name, scheduled),
            deferred=number(wire.DEFERRED + name, deferred),
        )
        troubles.note(wire.FINISHED + name, latest)
        self.heads = tuple(_strings(heads))
        finished = _scored(latest)
        unordered = len(finished) == LATEST and finished[-1][1] == _FOR_EVER
        self.finished = () if unordered else tuple(finished)
        self._enqueued, self._spans = [], []

    def learn_enqueued(self, when: Reply, troubles: Troubles) -> None:
        """When one of the heads was put in; an expired job has nothing to tell."""
        moment = wire.moment(when)
        if moment is not None:
            self._enqueued.append(moment.timestamp())
        elif when:
            troubles.bad_times += 1

    def learn_span(self, span: Span) -> None:
        """When one of the finished jobs ran."""
        self._spans.append(span)

    def oldest(self, now: float) -> Age | None:
        """The age of the job that waits longest; ``now`` in seconds since the epoch."""
        return Age(max(0.0, now - min(self._enqueued))) if self._enqueued else None

    @property
    def last_completed_at(self) -> datetime | None:
        """When the last job ended, as far as finished jobs are kept."""
        return max((span.ended for span in self._spans), default=None)

    @property
    def runtime_mean_seconds(self) -> float | None:
        """Over the latest finished jobs."""
        seconds = [max(0.0, (span.ended - span.began).total_seconds()) for span in self._spans]
        return sum(seconds) / len(seconds) if seconds else None


class Queues:
    """Measures one set of queues; the calls of a poll come in the order written here."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._requests: list[Request] = []
        self._spans: dict[Ended, Span | None] = {}
        self._asked_heads: list[Row] = []
        self._asked_spans: list[Ended] = []

    def plan(self, names: Iterable[bytes]) -> None:
        """Measure these queues from now on, in this order; packed once for many polls."""
        self.rows = [Row(name) for name in names]
        self._requests = [
            pack(*(command for row in rows for command in row.commands()))
            for rows in _chunks(self.rows)
        ]

    def requests(self, now: float) -> list[Request]:
        """What to ask first, one request for each ``QUEUES_PER_TRIP`` queues.

        Started jobs whose time is over were left by a worker that died, so ``now`` counts (seconds
        since the epoch).
        """
        found = []
        for rows, fixed in zip(_chunks(self.rows), self._requests, strict=True):
            counting = [("ZCOUNT", wire.STARTED + row.name, f"{now:.6f}", "+inf") for row in rows]
            moving = pack(*counting)
            request = Request(fixed.payload + moving.payload, fixed.replies + moving.replies)
            found.append(request)
        return found

    def absorb(self, replies: Sequence[Reply], troubles: Troubles) -> None:
        """Take the replies to ``requests``."""
        position = 0
        for rows, fixed in zip(_chunks(self.rows), self._requests, strict=True):
            width = fixed.replies // len(rows)
            running = replies[position + fixed.replies : position + fixed.replies + len(rows)]
            for number, row in enumerate(rows):
                start = position + number * width
                row.absorb(replies[start : start + width], running[number], troubles)
            position += fixed.replies + len(rows)

    def job_commands(self) -> list[Command]:
        """What to ask next: when the first jobs were put in, and when new finished ones ran."""
        asked: list[Command] = []
        self._asked_heads = []
        for row in self.rows:
            for job in row.heads:
                key = wire.job_key(job)
                if key is not None:
                    self._asked_heads.append(row)
                    asked.append(("HGET", key, "enqueued_at"))
        listed = dict.fromkeys(ended for row in self.rows for ended in row.finished)
        # A result kept for ever keeps its score when its job runs again.
        self._spans = {
            ended: self._spans[ended]
            for ended in listed
            if ended in self._spans and ended[1] != _FOR_EVER
        }
        self._asked_spans = []
        for ended in listed:
            key = wire.job_key(ended[0]) if ended not in self._spans else None
            if key is not None:
                self._asked_spans.append(ended)
                asked.append(("HMGET", key, "started_at", "ended_at"))
        return asked

    def absorb_jobs(self, replies: Sequence[Reply], troubles: Troubles) -> None:
        """Take the replies to ``job_commands``."""
        number = len(self._asked_heads)
        for row, when in zip(self._asked_heads, replies[:number], strict=True):
            row.learn_enqueued(when, troubles)
        for ended, times in zip(self._asked_spans, replies[number:], strict=True):
            self._spans[ended] = _span(times)

    def tell_spans(self) -> None:
        """Give each queue the runs that are known of its latest jobs, new ones or not."""
        for row in self.rows:
            for ended in row.finished:
                span = self._spans.get(ended)
                if span is not None:
                    row.learn_span(span)


def _chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), QUEUES_PER_TRIP):
        yield rows[start : start + QUEUES_PER_TRIP]


def _strings(reply: Reply) -> Iterator[bytes]:
    return (one for one in (reply if isinstance(reply, list) else ()) if isinstance(one, bytes))


def _scored(reply: Reply) -> list[Ended]:
    """Members and scores, which Redis sends in turns."""
    words = _strings(reply)
    return list(zip(words, words, strict=False))


def _span(times: Reply) -> Span | None:
    match times:
        case [bytes(began), bytes(ended)]:
            first, last = wire.moment(began), wire.moment(ended)
            return None if first is None or last is None else Span(first, last)
    return None
