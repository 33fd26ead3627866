"""The numbers of each queue: a round trip for its list and registries, one for a few jobs of it.

Registries are read as they are. RQ's own way to count them cleans them up first, which moves jobs.
Most of them are empty at most times, so only those that exist cost anything.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from hiredis import ReplyError

from bgtop.backends.redis_errors import code_of, is_wrong_type
from bgtop.backends.redis_sparse import SparseKeys
from bgtop.backends.rq import wire
from bgtop.model import Age

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_link import Part
    from bgtop.backends.redis_search import Command
    from bgtop.backends.redis_sparse import Question
    from bgtop.backends.rq.troubles import Troubles
    from bgtop.model import QueueReading

    Ended = tuple[bytes, bytes]
    """A finished job and its score: a job that ran again has another score."""

HEADS = 3
"""Jobs looked at for the oldest: some may have expired, others were put in at the front."""

MOST_RECHECKED = 1_000
"""Queues a poll whose next job is asked again when it was put in; with more they take turns.

A job that is put in anew while nobody looks has another time under the same id.
"""

LATEST = 6
"""Finished jobs looked at for the last end and the mean runtime.

They are ordered by when their results expire. Those that never do come first, in no order; if there
are no others among the latest, the last end is unknown.
"""

_FOR_EVER = b"inf"


class Span(NamedTuple):
    """When a finished job ended, and how long it ran."""

    ended: datetime
    seconds: float


_NONE: frozenset[bytes] = frozenset()
"""One for all: each other empty set takes 200 bytes, ten thousand times."""

_UNASKED = Span(datetime.min, 0.0)  # noqa: DTZ901  # stands for a span, is never shown


class Row:
    """What is known of one queue; numbers are ``None`` where they cannot be read."""

    __slots__ = (
        *("deferred", "depth", "failed", "finished", "heads", "name", "running", "scheduled"),
        *("changed", "last_completed_at", "reading", "runtime_mean_seconds", "wrong"),
        *("bad_times", "_enqueued_of", "_oldest", "_said", "_spans"),
    )

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.depth: int | None = 0
        self.running: int | None = 0
        self.failed: int | None = 0
        self.scheduled: int | None = 0
        self.deferred: int | None = 0
        self.heads: tuple[bytes, ...] = ()
        """The jobs next in turn."""
        self.finished: tuple[Ended, ...] = ()
        self.last_completed_at: datetime | None = None
        """When the last job ended, as far as finished jobs are kept."""
        self.runtime_mean_seconds: float | None = None
        """Over the latest finished jobs."""
        self.changed = True
        """Whether ``reading`` does not tell any more what is known."""
        self.reading: QueueReading | None = None
        """The last that was told of this queue."""
        self.wrong = _NONE
        """The kinds of keys that hold something else than RQ puts there."""
        self._oldest: float | None = None
        """When the first of the heads was put in, in seconds since the epoch."""
        self._said: Reply = None
        """What the job next in turn says of when it was put in."""
        self.bad_times = 0
        """Jobs next in turn whose times cannot be understood."""
        self._enqueued_of: tuple[bytes, ...] = ()
        """The heads of which all is known."""
        self._spans: tuple[Span | None, ...] = ()
        """When each of ``finished`` ran; ``None`` if it does not say."""

    def take_heads(self, heads: Reply) -> None:
        """The first jobs of the list."""
        self.heads = tuple(job for job in _strings(heads) if wire.job_key(job) is not None)
        if not self.heads:
            self._oldest, self._said, self.bad_times, self._enqueued_of = None, None, 0, ()

    @property
    def is_told(self) -> bool:
        """Whether all of the heads have said when they were put in."""
        return self.heads == self._enqueued_of

    def heads_to_ask(self) -> tuple[bytes, ...]:
        """The jobs whose time is not known for sure.

        A job that was taken and put in again has another time, and those behind the first one
        are not taken before it: while it says the same, nothing has changed.
        """
        return self.heads[:1] if self.is_told else self.heads

    def learn_enqueued(self, said: Sequence[Reply]) -> None:
        """When the jobs of ``heads_to_ask`` were put in; an expired job has nothing to tell."""
        if self.heads != self._enqueued_of or said[0] != self._said:
            times = [_seconds(words) for words in said]
            self._oldest = min((at for at in times if at is not None), default=None)
            self._said = said[0]
            self.bad_times = sum(map(_is_no_time, said, times))
            self._enqueued_of = self.heads if len(said) == len(self.heads) else ()

    def take_latest(self, latest: Reply) -> None:
        """The jobs that ended last, with their scores."""
        finished = [one for one in _scored(latest) if wire.job_key(one[0]) is not None]
        unordered = len(finished) == LATEST and finished[-1][1] == _FOR_EVER
        known = dict(zip(self.finished, self._spans, strict=True))
        self.finished = () if unordered else tuple(finished)
        self._spans = tuple([known.get(ended, _UNASKED) for ended in self.finished])
        if _UNASKED not in self._spans:
            self._tell()

    def runs_to_ask(self) -> list[Ended]:
        """The finished jobs whose times are not known for sure."""
        pairs = zip(self.finished, self._spans, strict=True)
        # A result kept for ever keeps its score when its job runs again.
        return [ended for ended, span in pairs if span is _UNASKED or ended[1] == _FOR_EVER]

    def learn_runs(self, runs: Mapping[Ended, Span | None]) -> None:
        """When the jobs of ``runs_to_ask`` ran."""
        pairs = zip(self.finished, self._spans, strict=True)
        self._spans = tuple([runs.get(ended, span) for ended, span in pairs])
        self._tell()

    def _tell(self) -> None:
        spans = [span for span in self._spans if span is not None]
        seconds = [span.seconds for span in spans]
        self.last_completed_at = max([span.ended for span in spans], default=None)
        self.runtime_mean_seconds = sum(seconds) / len(seconds) if seconds else None
        self.changed = True

    @property
    def holds_jobs(self) -> bool:
        """Whether there is a job here; cancelled ones are not counted."""
        numbers = (self.depth, self.running, self.failed, self.scheduled, self.deferred)
        return any(numbers) or bool(self.finished)

    @property
    def malformed(self) -> bool:
        """Whether something of it is not what RQ writes."""
        return bool(self.wrong) or self.bad_times > 0

    def note(self, kind: bytes, reply: Reply) -> None:
        """Whether this kind of key is what it should be; something about the queue is new."""
        self.changed = True
        replies = reply if isinstance(reply, list) else [reply]
        if ReplyError in map(type, replies) and any(map(is_wrong_type, replies)):
            self.wrong |= {kind}
        elif self.wrong:
            self.wrong -= {kind}

    def oldest(self, now: float) -> Age | None:
        """The age of the job that waits longest; ``now`` in seconds since the epoch."""
        return None if self._oldest is None else Age(max(0.0, now - self._oldest))


class Queues:
    """Measures one set of queues; the calls of a poll come in the order written here."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._now = ""
        self._unsettled: set[int] = set()
        """The queues with finished jobs that have to be asked when they ran."""
        self._with_heads: list[Row] = []
        self._asked_heads: list[tuple[Row, int]] = []
        self._turn = 0
        self._asked_runs: list[tuple[Row, list[Ended]]] = []
        self.plan(())

    def plan(self, names: Iterable[bytes]) -> None:
        """Measure these queues from now on, in this order; their ``presence`` is not known."""
        self._names = tuple(names)
        self.rows = [Row(name) for name in self._names]
        self._unsettled = set()
        self._lists = self._sparse(wire.QUEUE, _waiting)
        self._failed = self._sparse(wire.FAILED, _size)
        self._scheduled = self._sparse(wire.SCHEDULED, _size)
        self._deferred = self._sparse(wire.DEFERRED, _size)
        self._finished = self._sparse(wire.FINISHED, _ended_last)
        # Started jobs whose time is over were left by a worker that died, so the time counts.
        self._started = self._sparse(wire.STARTED, self._still_running, steady=False)

    def _sparse(self, prefix: bytes, question: Question, *, steady: bool = True) -> SparseKeys:
        return SparseKeys(
            self._names,
            lambda name: (prefix + name,),
            lambda name: question(prefix + name),
            steady=steady,
        )

    def _still_running(self, key: bytes) -> tuple[Command, ...]:
        return ("ZCARD", key), ("ZCOUNT", key, self._now, "+inf")

    def _all(self) -> tuple[SparseKeys, ...]:
        return (
            *(self._lists, self._failed, self._scheduled),
            *(self._deferred, self._finished, self._started),
        )

    def presence(self) -> list[Part]:
        """What to ask first: whether keys have appeared."""
        return [(keys.presence(), keys.absorb_presence) for keys in self._all()]

    def parts(self, now: float) -> Iterator[Part]:
        """What to ask next; ``now`` in seconds since the epoch."""
        self._now = f"{now:.6f}"
        for keys in self._all():
            yield keys.known(), keys.absorb_known
            yield keys.suspects(), keys.absorb_suspects

    def settle(self, troubles: Troubles) -> None:
        """Tell each queue what has changed since the last poll."""
        number = troubles.number
        for row, reply in self._changes(self._lists, wire.QUEUE):
            depth, heads = reply if isinstance(reply, list) else (0, None)
            row.depth = number(wire.QUEUE + row.name, depth)
            row.take_heads(heads)
        for row, reply in self._changes(self._failed, wire.FAILED):
            row.failed = number(wire.FAILED + row.name, reply or 0)
        for row, reply in self._changes(self._scheduled, wire.SCHEDULED):
            row.scheduled = number(wire.SCHEDULED + row.name, reply or 0)
        for row, reply in self._changes(self._deferred, wire.DEFERRED):
            row.deferred = number(wire.DEFERRED + row.name, reply or 0)
        for row, reply in self._changes(self._started, wire.STARTED):
            running = reply[1] if isinstance(reply, list) else 0
            row.running = number(wire.STARTED + row.name, running)
        for place, latest in self._finished.changes():
            row = self.rows[place]
            row.note(wire.FINISHED, latest)
            troubles.note(wire.FINISHED + row.name, latest)
            row.take_latest(latest)
            self._unsettled.add(place)

    def _changes(self, keys: SparseKeys, kind: bytes) -> Iterator[tuple[Row, Reply]]:
        for place, reply in keys.changes():
            row = self.rows[place]
            row.note(kind, reply)
            yield row, reply

    def job_commands(self) -> Iterator[Command]:
        """What to ask next: when the first jobs were put in, and when new finished ones ran."""
        rows = self.rows
        self._with_heads = [row for place in self._lists.answers if (row := rows[place]).heads]
        self._asked_heads = []
        for row in self._in_turn(self._with_heads):
            jobs = row.heads_to_ask()
            self._asked_heads.append((row, len(jobs)))
            for job in jobs:
                yield "HGET", wire.JOB + job, "enqueued_at"
        self._asked_runs = []
        unsettled, self._unsettled = self._unsettled, set()
        for place in sorted(unsettled):
            runs = self.rows[place].runs_to_ask()
            if not runs:
                continue
            for job, _ in runs:
                yield "HMGET", wire.JOB + job, "started_at", "ended_at"
            self._asked_runs.append((self.rows[place], runs))
            self._unsettled.add(place)

    def _in_turn(self, rows: list[Row]) -> list[Row]:
        """Those that have not told all yet, and so many of the others as a poll asks again."""
        told = [row for row in rows if row.is_told]
        turns = -(-len(told) // MOST_RECHECKED)
        if turns <= 1:
            return rows
        self._turn = (self._turn + 1) % turns
        return [*told[self._turn :: turns], *(row for row in rows if not row.is_told)]

    def absorb_jobs(self, replies: Sequence[Reply], troubles: Troubles) -> None:
        """Take the replies to ``job_commands``."""
        start = 0
        for row, jobs in self._asked_heads:
            end = start + jobs
            row.learn_enqueued(replies[start:end])
            start = end
        troubles.bad_times += sum([row.bad_times for row in self._with_heads])
        for row, runs in self._asked_runs:
            end = start + len(runs)
            row.learn_runs(dict(zip(runs, map(_span, replies[start:end]), strict=True)))
            start = end


def _waiting(key: bytes) -> tuple[Command, ...]:
    return ("LLEN", key), ("LRANGE", key, 0, HEADS - 1)


def _size(key: bytes) -> tuple[Command, ...]:
    return (("ZCARD", key),)


def _ended_last(key: bytes) -> tuple[Command, ...]:
    return (("ZREVRANGE", key, 0, LATEST - 1, "WITHSCORES"),)


def _seconds(words: Reply) -> float | None:
    when = wire.moment(words)
    return None if when is None else when.timestamp()


def _is_no_time(words: Reply, at: float | None) -> bool:
    """Whether something else stands where a time should; without the right to look nobody knows."""
    kept_from_us = isinstance(words, ReplyError) and code_of(words) == "NOPERM"
    return bool(words) and at is None and not kept_from_us


def _strings(reply: Reply) -> list[bytes]:
    return [one for one in (reply if isinstance(reply, list) else ()) if isinstance(one, bytes)]


def _scored(reply: Reply) -> Iterator[Ended]:
    """Members and scores, which Redis sends in turns."""
    words = _strings(reply)
    return zip(words[::2], words[1::2], strict=False)


def _span(times: Reply) -> Span | None:
    match times:
        case [bytes(began), bytes(ended)]:
            first, last = wire.moment(began), wire.moment(ended)
            if first is not None and last is not None:
                return Span(last, max(0.0, (last - first).total_seconds()))
    return None
