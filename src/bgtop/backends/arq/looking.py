"""Single jobs of arq, as :attr:`bgtop.contracts.Interest.jobs` asks for them: four round trips.

A queue is a sorted set of ids, in which a job stays while it runs; what is called is in a key of
each job, which is fetched only if it is small.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, NamedTuple

from hiredis import ReplyError

from bgtop.backends.arq.stored_jobs import call_in, result_row
from bgtop.backends.arq.wire import IN_PROGRESS, JOB, RESULT, RETRY, is_time, score_in
from bgtop.backends.raw_names import text
from bgtop.backends.redis_link import RedisLink, pack
from bgtop.model import JobList, JobReading, JobState
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_search import Command
    from bgtop.model import JobQuery

NOT_LISTED: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
"""Results are in keys of their own, of which there is no list."""

MOST_QUEUES = 200
BYTES_PER_ID = 1_024
"""Ids have 32 bytes unless the application makes its own; much larger ones are not fetched."""

LONGEST_ID = 8 * 1024
LARGEST = 64 * 1024
BYTES_OF_JOBS = 4 * 1024 * 1024
"""How much of their data one look fetches."""

MOST_RUNNING = 1_000
_LONGEST_COUNT = 20


class Scope(NamedTuple):
    """What the last poll has seen; ``running`` is how many jobs run, where that is known."""

    labels: Mapping[bytes, str]
    running: Mapping[bytes, int]
    now_ms: int


class Entry(NamedTuple):
    """One member of a queue."""

    queue: bytes
    id: bytes
    score: float
    runs: bool = False
    attempts: int | None = None
    size: int = 0
    body: bytes | None = None

    def state(self, now_ms: int) -> JobState:
        """Where it is in its life."""
        if self.runs:
            return JobState.RUNNING
        return JobState.WAITING if self.score <= now_ms else JobState.SCHEDULED


class Looking:
    """Answers queries."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def answer(self, query: JobQuery, scope: Scope) -> JobList:
        """The jobs asked for; raises :class:`bgtop.contracts.BackendError`."""
        if query.id is not None:
            row = self._one(query.id, scope)
            return JobList(query=query, rows=(row,) if row else ())
        unreadable = query.states & NOT_LISTED
        if query.worker is not None:  # nothing says which worker runs what
            return JobList(query=query, unreadable=unreadable | {JobState.RUNNING})
        queues = [name for name, label in scope.labels.items() if query.queue in (None, label)]
        entries, more, large = self._entries(queues[:MOST_QUEUES], query, scope)
        found: dict[JobState, list[JobReading]] = {state: [] for state in JobState}
        for entry in self._filled(entries):
            row = _row(entry, scope)
            if row.state in query.states:
                found[row.state].append(row)
        more = more or len(queues) > MOST_QUEUES
        more = more or any(len(rows) > query.limit for rows in found.values())
        return JobList(
            query=query,
            rows=tuple(row for rows in found.values() for row in rows[: query.limit]),
            more=more,
            unreadable=unreadable | large,
        )

    def _entries(
        self, queues: Sequence[bytes], query: JobQuery, scope: Scope
    ) -> tuple[list[Entry], bool, frozenset[JobState]]:
        """The first members of these queues; whether there are more; what cannot be read."""
        sizes: list[Command] = []
        for queue in queues:
            sizes += [("ZCARD", queue), ("MEMORY", "USAGE", queue, "SAMPLES", "20")]
        replies = self._link.exchange(pack(*sizes)) if sizes else []
        # Who may not ask for the memory looks all the same: large ids are a rarity.
        chosen = [
            queue
            for queue, card, used in zip(queues, replies[::2], replies[1::2], strict=True)
            if isinstance(card, int)
            and card
            and not (isinstance(used, int) and used > card * BYTES_PER_ID)
        ]
        unseen = sum(1 for card in replies[::2] if card != 0) - len(chosen)
        large = query.states & {JobState.WAITING, JobState.SCHEDULED, JobState.RUNNING}
        commands: list[Command] = []
        for queue in chosen:
            ahead = min(scope.running.get(queue, 0), MOST_RUNNING)
            due = ("ZRANGEBYSCORE", queue, "-inf", scope.now_ms, "WITHSCORES")
            later = ("ZRANGEBYSCORE", queue, f"({scope.now_ms}", "+inf", "WITHSCORES")
            commands.append((*due, "LIMIT", 0, query.limit + 1 + ahead))
            commands.append((*later, "LIMIT", 0, query.limit + 1))
        replies = self._link.exchange(pack(*commands)) if commands else []
        entries, more = [], False
        for number, reply in enumerate(replies):
            if isinstance(reply, ReplyError):
                unseen += 1
            some = [*_members(chosen[number // 2], reply)]
            entries += some
            more = more or (number % 2 == 0 and len(some) == commands[number][-1])
        return entries, more, large if unseen else frozenset()

    def _filled(self, entries: Iterable[Entry]) -> list[Entry]:
        """With what is stored under the id of each."""
        entries = [entry for entry in entries if len(entry.id) <= LONGEST_ID]
        asked: list[Command] = []
        for entry in entries:
            asked += _about(entry.id)
        replies = iter(self._link.exchange(pack(*asked)) if asked else [])
        found = [
            entry._replace(
                runs=next(replies) == 1, attempts=_number(next(replies)), size=_size(next(replies))
            )
            for entry in entries
        ]
        left = BYTES_OF_JOBS
        small = []
        for number, entry in enumerate(found):
            if 0 < entry.size <= min(LARGEST, left):
                left -= entry.size
                small.append(number)
        if small:
            bodies = self._link.exchange(pack(*(("GET", JOB + found[n].id) for n in small)))
            for number, body in zip(small, bodies, strict=True):
                known = body if isinstance(body, bytes) else None
                found[number] = found[number]._replace(body=known)
        return found

    def find(self, identity: str, scope: Scope) -> Entry | None:
        """The job with this id in any queue; raises :class:`bgtop.contracts.BackendError`."""
        raw = identity.encode("utf-8", "surrogatepass")
        if not scope.labels or len(raw) > LONGEST_ID:
            return None
        scores = self._link.exchange(pack(*(("ZSCORE", queue, raw) for queue in scope.labels)))
        for queue, reply in zip(scope.labels, scores, strict=True):
            score = score_in(reply)
            if score is not None:
                return self._filled([Entry(queue, raw, score)])[0]
        return None

    def _one(self, identity: str, scope: Scope) -> JobReading | None:
        entry = self.find(identity, scope)
        if entry is not None:
            return _row(entry, scope)
        raw = identity.encode("utf-8", "surrogatepass")
        if len(raw) > LONGEST_ID:
            return None
        size = self._link.exchange(pack(("STRLEN", RESULT + raw)))[0]
        if not isinstance(size, int) or not size > 0:
            return None
        if size > LARGEST:
            facts = (_too_large(size),)
            return JobReading(id=identity, state=JobState.SUCCEEDED, facts=facts)
        result = self._link.exchange(pack(("GET", RESULT + raw)))[0]
        return result_row(identity, result) if isinstance(result, bytes) else None


def _about(identity: bytes) -> list[Command]:
    return [
        ("EXISTS", IN_PROGRESS + identity),
        ("GETRANGE", RETRY + identity, 0, _LONGEST_COUNT - 1),
        ("STRLEN", JOB + identity),
    ]


def _members(queue: bytes, reply: Reply) -> Iterator[Entry]:
    words = reply if isinstance(reply, list) else []
    for one, told in zip(words[::2], words[1::2], strict=False):
        score = score_in(told)
        if isinstance(one, bytes) and score is not None:
            yield Entry(queue, one, score)


def _row(entry: Entry, scope: Scope) -> JobReading:
    state = entry.state(scope.now_ms)
    queue, identity = scope.labels[entry.queue], text(entry.id)
    due_at = None
    if is_time(entry.score) and state is JobState.SCHEDULED:
        due_at = datetime.fromtimestamp(entry.score / 1000, timezone.utc)
    row = JobReading(
        id=identity, state=state, queue=queue, due_at=due_at, attempts=entry.attempts or 0
    )
    if entry.body is None:
        gone = ("expired", "what it calls is gone; a worker will drop it")
        return replace(row, facts=(_too_large(entry.size) if entry.size else gone,))
    call = call_in(entry.body)
    if call is None:
        facts = (("serializer", "not arq's own, so it is not read"),)
        return replace(row, malformed=True, facts=facts)
    return replace(
        row,
        name=call.name,
        args=call.args,
        kwargs=call.kwargs,
        enqueued_at=call.enqueued_at,
    )


def _too_large(size: int) -> tuple[str, str]:
    return "size", f"{size:,} bytes, too large to be looked into"


def _number(reply: Reply) -> int | None:
    return int(reply) if isinstance(reply, bytes) and reply.isdigit() else None


def _size(reply: Reply) -> int:
    # What cannot be measured is there all the same.
    return reply if isinstance(reply, int) else LARGEST + 1
