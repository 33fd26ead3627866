"""Single messages in Redis, as :attr:`bgtop.contracts.Interest.jobs` asks for them.

A message that a process has fetched runs there, or waits in its memory: only an agent tells which.
Without one it is shown as running, and a fact says how far that is known.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from bgtop.backends.dramatiq.finding import Finder
from bgtop.backends.dramatiq.places import Wanted, fetch, gather
from bgtop.backends.dramatiq.stored_message import message_in, outcome_in, result_keys
from bgtop.backends.raw_names import text
from bgtop.backends.redis_link import pack
from bgtop.model import JobList, JobReading, JobState

if TYPE_CHECKING:
    from bgtop.backends.dramatiq.places import Place, Scope, Stored
    from bgtop.backends.dramatiq.stored_message import Message, Outcome
    from bgtop.backends.redis_link import RedisLink
    from bgtop.model import JobQuery

NOT_KEPT: Final = frozenset({JobState.SUCCEEDED})
"""What ended well is forgotten, but for a result that is found by the id of its message."""

LARGEST_RESULT = 64 * 1024
_DELIVERED = ("delivered", "to this worker; whether it has begun is not known")
_NOT_THE_LAST = ("traceback", "of the failure before the last, which Dramatiq does not store")
_IN_MEMORY = ("delivered", "to a worker, which has not begun it")


class Looking:
    """Answers queries; what it showed can be found again by :attr:`finder`."""

    def __init__(self, link: RedisLink) -> None:
        self.finder = Finder()
        self._link = link

    def answer(self, query: JobQuery, scope: Scope) -> JobList:
        """The jobs asked for; raises :class:`bgtop.contracts.BackendError`."""
        if query.id is not None:
            return self._one(query, query.id, scope)
        queues = [name for name in scope.numbers if query.queue in (None, scope.labels.get(name))]
        holders = [one for one in scope.processes if query.worker in (None, text(one))]
        found = gather(
            self._link,
            scope,
            Wanted(queues, query.states, holders, query.limit, query.worker is not None),
        )
        more = found.partial
        rows: dict[JobState, list[JobReading]] = {}
        places = [one for some in found.places.values() for one in some[: query.limit + 1]]
        for stored in fetch(self._link, scope.keys, places):
            row = self._row(stored, scope)
            rows.setdefault(row.state, []).append(row)
        rows.get(JobState.SCHEDULED, []).sort(key=_due)
        listed = [row for state in JobState if state in query.states for row in rows.get(state, ())]
        kept = _first_of_each(listed, query.limit)
        return JobList(
            query=query,
            rows=kept,
            more=more or len(kept) < len(listed),
            unreadable=frozenset(found.unreadable) | (query.states & NOT_KEPT),
        )

    def _one(self, query: JobQuery, identity: str, scope: Scope) -> JobList:
        stored = self.finder.find(self._link, scope, identity, search=False)
        if stored is None:
            row = self._ended(identity, scope)
            more = row is None and self.finder.cut_short
            return JobList(query=query, rows=(row,) if row else (), more=more)
        row = self._row(stored, scope)
        outcome = self._outcome(row.queue, row.name, identity)
        if outcome is not None:
            row = _with_outcome(row, outcome)
        return JobList(query=query, rows=(row,))

    def _ended(self, identity: str, scope: Scope) -> JobReading | None:
        """A message that is gone from the queue where it was seen, if there is a result of it."""
        known = self.finder.known(identity)
        if known is None or known.actor is None:
            return None
        queue = scope.labels.get(known.place.queue, text(known.place.queue))
        outcome = self._outcome(queue, known.actor, identity)
        if outcome is None:
            return None
        state = JobState.SUCCEEDED if outcome.error is None else JobState.FAILED
        row = JobReading(id=identity, state=state, name=known.actor, queue=queue)
        return _with_outcome(row, outcome)

    def _outcome(self, queue: str | None, actor: str | None, identity: str) -> Outcome | None:
        """The result, where Dramatiq's own result backend keeps it in this database."""
        if queue is None or actor is None:
            return None
        keys = result_keys(queue, actor, identity)
        sizes = self._link.exchange(pack(*(("MEMORY", "USAGE", key) for key in keys)))
        for key, size in zip(keys, sizes, strict=True):
            if isinstance(size, int) and size <= LARGEST_RESULT:
                raw = self._link.exchange(pack(("LINDEX", key, 0)))[0]
                return outcome_in(raw) if isinstance(raw, bytes) else None
        return None

    def _row(self, stored: Stored, scope: Scope) -> JobReading:
        place, message = stored.place, None
        if stored.body is not None:
            message = message_in(stored.body)
        identity = text(place.id) if message is None else message.id
        self.finder.learn(identity, place, message and message.actor)
        queue = scope.labels.get(place.queue, text(place.queue))
        worker = None if place.holder is None else text(place.holder)
        if message is None:
            return JobReading(
                id=identity,
                state=place.state,
                queue=queue,
                worker=worker,
                ended_at=_moment(place.died_at),
                facts=(_why_unread(stored),),
                malformed=stored.body is not None,
            )
        state, started_at, facts = _progress(place, message, scope)
        return JobReading(
            id=identity,
            state=state,
            name=message.actor,
            queue=queue,
            worker=worker,
            args=message.args,
            kwargs=message.kwargs,
            enqueued_at=message.sent_at,
            due_at=message.eta if state is JobState.SCHEDULED else None,
            started_at=started_at,
            ended_at=_moment(place.died_at),
            attempts=_attempts(state, message),
            attempts_left=_attempts_left(state, message),
            error=message.error,
            traceback=message.traceback,
            children=message.children,
            facts=(*facts, ("redis_message_id", text(place.id)), *message.facts),
        )


def _progress(
    place: Place, message: Message, scope: Scope
) -> tuple[JobState, datetime | None, tuple[tuple[str, str], ...]]:
    """Whether a message that was fetched runs, since when, and how sure that is."""
    if place.holder is None:
        dead = place.state is JobState.DEAD and message.traceback is not None
        return place.state, None, (_NOT_THE_LAST,) if dead else ()
    if place.state is not JobState.RUNNING:
        return place.state, None, (_IN_MEMORY,)
    words = scope.words.get(place.holder)
    if words is None or words.current is None:
        return JobState.RUNNING, None, (_DELIVERED,)
    for task in words.current:
        if task.id == message.id:
            return JobState.RUNNING, task.started_at, ()
    return JobState.WAITING, None, (_IN_MEMORY,)


def _attempts(state: JobState, message: Message) -> int | None:
    """Retries are counted when they are sent: of what runs or is dead the last start may lack."""
    known = state in (JobState.WAITING, JobState.SCHEDULED)
    return message.retries or 0 if known else None


def _attempts_left(state: JobState, message: Message) -> int | None:
    """Known only where the message itself says how often it may be retried."""
    if message.max_retries is None or state is JobState.DEAD:
        return None
    return max(message.max_retries + 1 - (message.retries or 0), 0)


def _why_unread(stored: Stored) -> tuple[str, str]:
    if stored.body is None:
        return "size", f"{stored.size:,} bytes, too large to be looked into"
    return "encoding", "not Dramatiq's own, so it is not decoded"


def _with_outcome(row: JobReading, outcome: Outcome) -> JobReading:
    from bgworker.values import replace

    return replace(row, result=outcome.result, error=outcome.error or row.error)


def _first_of_each(rows: list[JobReading], limit: int) -> tuple[JobReading, ...]:
    counts: dict[JobState, int] = {}
    kept = []
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
        if counts[row.state] <= limit:
            kept.append(row)
    return tuple(kept)


def _due(row: JobReading) -> float:
    return float("inf") if row.due_at is None else row.due_at.timestamp()


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
