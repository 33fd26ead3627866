"""Lists of RQ's jobs: four round trips, whatever their number.

Ids come from the heads of lists and registries, then what is short of each job's hash together
with the sizes of what may be long, then those long parts that are of a decent size. One more tells
which ids of running jobs are whole.
"""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.raw_names import text
from bgtop.backends.rq import job_wire, wire
from bgtop.backends.rq.job_wire import FIELDS, JobParts, of_decent_size
from bgtop.model import JobList, JobReading, JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeAlias

    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_search import Command
    from bgtop.model import JobQuery

    Ask: TypeAlias = Callable[[Sequence[Command]], list[Reply]]
    """Asks some commands in one round trip, and none in none."""

MOST_QUEUES = 100
"""Queues whose jobs are listed together; of a server with more, those of the first ones."""

_NEWEST = {
    JobState.FAILED: wire.FAILED,
    JobState.SUCCEEDED: wire.FINISHED,
    JobState.CANCELLED: job_wire.CANCELED,
}
_OLDEST = {JobState.SCHEDULED: wire.SCHEDULED, JobState.DEFERRED: wire.DEFERRED}


class Place(NamedTuple):
    """A job, and where it was found; ``score`` is that of the registry, in seconds."""

    id: bytes
    queue: bytes | None
    score: bytes = b""

    @property
    def seconds(self) -> float:
        """The score; registries hold no other kind, but anybody may write to them."""
        try:
            return float(self.score)
        except ValueError:
            return 0.0


class JobLook:
    """One query at one poll. ``queues`` are those that hold jobs, with their labels."""

    def __init__(
        self,
        ask: Ask,
        query: JobQuery,
        queues: Mapping[bytes, str],
        now: float,
    ) -> None:
        self._ask = ask
        self._query = query
        self._labels = queues
        chosen = [raw for raw, label in queues.items() if query.queue in {None, label}]
        self._queues = chosen[:MOST_QUEUES]
        self._more = len(chosen) > MOST_QUEUES
        self._now = now

    def rows(self, delayed: Iterable[Place]) -> JobList:
        """The list; ``delayed`` are the jobs of rq-scheduler, the next to be due first."""
        places = self._places(delayed)
        jobs = [place for some in places.values() for place in some]
        parts = dict(zip(jobs, self._parts(places), strict=True))
        rows: list[JobReading] = []
        for state, some in places.items():
            found = [self._row(parts[place], state, place) for place in some]
            rows += self._sorted(state, found)
        worker = self._query.worker
        rows = [row for row in rows if worker in {None, row.worker}]
        return JobList(query=self._query, rows=tuple(rows), more=self._more)

    def _row(self, parts: JobParts, state: JobState, place: Place) -> JobReading:
        queue = None if place.queue is None else self._labels.get(place.queue, text(place.queue))
        return job_wire.reading_of(parts, state, queue, place.score)

    def _sorted(self, state: JobState, rows: list[JobReading]) -> list[JobReading]:
        """Scores of those that ended tell when they expire, which is nearly the order of ends."""
        if state in _NEWEST:
            key = {row.id: row.ended_at.timestamp() for row in rows if row.ended_at is not None}
            return sorted(rows, key=lambda row: -key.get(row.id, 0.0))
        if state is JobState.RUNNING:
            key = {row.id: row.started_at.timestamp() for row in rows if row.started_at is not None}
            return sorted(rows, key=lambda row: key.get(row.id, 0.0))
        return rows

    def _places(self, delayed: Iterable[Place]) -> dict[JobState, list[Place]]:
        """The first round trip: which jobs, of each state the first ones up to the limit."""
        last = self._query.limit  # one more than is shown tells that there are more
        wanted = [state for state in JobState if state in self._query.states]
        if self._query.worker is not None:
            wanted = [state for state in wanted if state in {*_NEWEST, JobState.RUNNING}]
        asked = [
            (state, queue, command)
            for state in wanted
            for queue in self._queues
            if (command := self._command(state, queue, last)) is not None
        ]
        found: dict[JobState, list[list[Place]]] = {state: [] for state in wanted}
        replies = self._ask([command for _, _, command in asked])
        for (state, queue, _), reply in zip(asked, replies, strict=True):
            found[state].append(_members(state, queue, reply))
        if JobState.SCHEDULED in found:
            found[JobState.SCHEDULED].append(list(delayed))
        return {state: self._first(state, some) for state, some in found.items()}

    def _command(self, state: JobState, queue: bytes, last: int) -> Command | None:
        if state is JobState.WAITING:
            return ("LRANGE", wire.QUEUE + queue, 0, last)
        if state is JobState.RUNNING:
            # What is over was left behind by a worker that died.
            since = f"{self._now:.6f}"
            return ("ZRANGEBYSCORE", wire.STARTED + queue, since, "+inf", "LIMIT", 0, last + 1)
        if state in _OLDEST:
            return ("ZRANGE", _OLDEST[state] + queue, 0, last, "WITHSCORES")
        if state in _NEWEST:
            return ("ZREVRANGE", _NEWEST[state] + queue, 0, last, "WITHSCORES")
        return None

    def _first(self, state: JobState, queues: list[list[Place]]) -> list[Place]:
        if state in _NEWEST:
            merged = sorted(chain(*queues), key=lambda place: -place.seconds)
        elif state in _OLDEST:
            merged = sorted(chain(*queues), key=lambda place: place.seconds)
        else:  # one of each queue in turn: each queue's first is the next to be taken there
            merged = [place for turn in zip_longest(*queues) for place in turn if place is not None]
        self._more = self._more or len(merged) > self._query.limit
        return merged[: self._query.limit]

    def _parts(self, places: Mapping[JobState, Sequence[Place]]) -> list[JobParts]:
        """The second and the third trip: what is known of these jobs."""
        ids = [
            (place.id, state is JobState.RUNNING, state is JobState.FAILED)
            for state, some in places.items()
            for place in some
        ]
        chosen = self._choose([id_ for id_, running, _ in ids if running])
        ids = [(chosen.get(id_, id_) if runs else id_, runs, failed) for id_, runs, failed in ids]
        return read_parts(self._ask, [(id_, failed) for id_, _, failed in ids])

    def _choose(self, members: Sequence[bytes]) -> dict[bytes, bytes]:
        """Members of the started registry are ``JOB:EXECUTION`` since 2.0, and ``JOB`` before."""
        replies = self._ask([("EXISTS", wire.JOB + member) for member in members])
        return {
            member: member if reply == 1 else member.rpartition(b":")[0] or member
            for member, reply in zip(members, replies, strict=True)
        }


def read_parts(ask: Ask, jobs: Sequence[tuple[bytes, bool]]) -> list[JobParts]:
    """What the hashes of these jobs say, and of those marked as failed also with what."""
    commands: list[Command] = []
    for id_, failed in jobs:
        commands += [
            ("HMGET", wire.JOB + id_, *FIELDS),
            ("HSTRLEN", wire.JOB + id_, "description"),
        ]
        if failed:
            commands.append(("MEMORY", "USAGE", job_wire.RESULTS + id_))
    replies = iter(ask(commands))
    known = [(id_, next(replies), next(replies), next(replies) if f else None) for id_, f in jobs]
    long: list[Command] = []
    for id_, _, words, stream in known:
        if of_decent_size(words):
            long.append(("HGET", wire.JOB + id_, "description"))
        if of_decent_size(stream, job_wire.LONGEST_STREAM):
            long.append(("XREVRANGE", job_wire.RESULTS + id_, "+", "-", "COUNT", 1))
    answers = iter(ask(long))
    found = []
    for id_, fields, words, stream in known:
        description = next(answers) if of_decent_size(words) else None
        read = of_decent_size(stream, job_wire.LONGEST_STREAM)
        ending = job_wire.ending_of(next(answers)) if read else job_wire.Ending()
        found.append(JobParts(id_, job_wire.fields_of(fields), description, ending))
    return found


def _members(state: JobState, queue: bytes, reply: Reply) -> list[Place]:
    """The jobs of a list or registry; what can be no job's id is left out."""
    found = [one for one in reply if isinstance(one, bytes)] if isinstance(reply, list) else []
    if state in {JobState.WAITING, JobState.RUNNING}:
        places = [Place(id_, queue) for id_ in found]
    else:
        pairs = zip(found[::2], found[1::2], strict=False)
        places = [Place(id_, queue, score) for id_, score in pairs]
    return [place for place in places if wire.job_key(place.id) is not None]
