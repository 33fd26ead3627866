"""Single tasks of a broker on Redis: what waits, what workers hold, and the results they left.

Which of the messages that workers hold are running cannot be told from the broker; those that
acknowledge early have left it when they start. Results are read by id and never listed.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.celery.held_tasks import Held, held, held_one, of_worker, with_what_is_held
from bgtop.backends.celery.stored_messages import Delivery, Head, Message, Messages
from bgtop.backends.celery.task_messages import (
    IN_A_LIST,
    UNREAD,
    WHOLE,
    id_of,
    job_in,
    moment,
)
from bgtop.backends.celery.task_results import READY, Stored, job_of
from bgtop.backends.celery.wire import json_of
from bgtop.backends.raw_names import quoted
from bgtop.contracts import BackendError, NotPermitted
from bgtop.model import JobList, JobReading, JobState
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bgtop.backends.celery.catalog import Catalog
    from bgtop.backends.celery.control import Mailbox
    from bgtop.backends.celery.task_results import Results
    from bgtop.backends.redis_link import RedisLink
    from bgtop.model import JobQuery

LISTED = frozenset({JobState.WAITING, JobState.SCHEDULED})
UNREADABLE = frozenset({JobState.RUNNING, JobState.FAILED, JobState.SUCCEEDED, JobState.CANCELLED})
"""In these states a task is known to its worker, or by its result, which has to be named."""

SEARCHED = 1_000
"""Messages of each list among which one job is looked for, from the next to be taken on."""

SEARCHED_TO_ACT = 100_000

_BUDGET = 4 * 1024 * 1024
_BUDGET_TO_ACT = 256 * 1024 * 1024
_STATES = [*JobState]


class Found(NamedTuple):
    """Where a job was found; ``complete`` says that it was looked for everywhere."""

    message: Message | None
    delivery: Delivery | None
    stored: Stored | None
    complete: bool


class Jobs:
    """Answers queries; ``warnings`` are those of the last answer."""

    def __init__(self, link: RedisLink, results: Results, catalog: Catalog) -> None:
        self.warnings: tuple[str, ...] = ()
        self._link = link
        self._results = results
        self._catalog = catalog
        self._labels: Mapping[bytes, str] = {}
        self._mailboxes: Sequence[Mailbox] = ()

    def answer(
        self,
        query: JobQuery,
        heads: Sequence[Head],
        labels: Mapping[bytes, str],
        mailboxes: Sequence[Mailbox] = (),
    ) -> JobList:
        """What a query asks for, of lists that hold messages and queues by the key of their name.

        Workers are asked only if there are ``mailboxes``.

        Raises:
            BackendError: when the server cannot be used.
        """
        self.warnings = ()
        self._labels = labels
        self._mailboxes = mailboxes
        if query.id is not None:
            return self._one(query, query.id, heads)
        if query.worker is not None:
            jobs, self.warnings = of_worker(query, query.worker, mailboxes)
            return jobs
        return self._listed(query, [one for one in heads if query.queue in {None, one.label}])

    def _listed(self, query: JobQuery, heads: Sequence[Head]) -> JobList:
        now = datetime.now(timezone.utc)
        messages = Messages(self._link, _BUDGET)
        wanted, rows = query.states & LISTED, []
        if wanted:
            fetched = messages.delivered(self._catalog.prefixes)
            rows += [self._delivered(one, now, IN_A_LIST) for one in fetched]
            rows = [row for row in rows if query.queue in {None, row.queue}]
            most = query.limit if JobState.WAITING in wanted else SEARCHED
            rows += [_waiting(one, now, IN_A_LIST) for one in messages.next_ones(heads, most)]
        if messages.skipped:
            self.warnings = (_too_large(messages.skipped),)
        unreadable = query.states & UNREADABLE
        if self._mailboxes and JobState.RUNNING in unreadable:
            running = held(self._mailboxes, [JobState.RUNNING])
            rows = with_what_is_held(rows, running)
            rows = [row for row in rows if query.queue in {None, row.queue}]
            self._note(running)
            unreadable -= {JobState.RUNNING}
            wanted |= {JobState.RUNNING}
        kept = [row for state in _STATES if state in wanted for row in _next(rows, state, query)]
        left_out = sum(row.state in wanted for row in rows) > len(kept)
        return JobList(
            query=query,
            rows=tuple(kept),
            more=messages.more or left_out,
            unreadable=unreadable,
        )

    def _one(self, query: JobQuery, job_id: str, heads: Sequence[Head]) -> JobList:
        now = datetime.now(timezone.utc)
        found = self.find(job_id, heads)
        job = None
        if found.message is not None:
            job = _waiting(found.message, now, WHOLE)
        elif found.delivery is not None:
            job = self._delivered(found.delivery, now, WHOLE)
        if found.stored is not None:
            result = job_of(job_id, found.stored, WHOLE)
            if result is None:
                self.warnings = (
                    f"the result of {quoted(job_id)} is stored in a form that is not read",
                )
            elif job is None:
                job = result
            else:
                job = _merged(job, result)
        if self._mailboxes and (job is None or job.state not in READY):
            asked = held_one(self._mailboxes, job_id)
            self._note(asked)
            job = next(iter(with_what_is_held([job] if job else [], asked)), None)
        return JobList(query=query, rows=(job,) if job else (), more=not (job or found.complete))

    def _note(self, found: Held) -> None:
        self.warnings += (found.trouble,) if found.trouble else ()

    def find(self, job_id: str, heads: Sequence[Head], *, to_act: bool = False) -> Found:
        """Where this job is: in a list, in the hands of a worker, or ended; in this order.

        Raises:
            BackendError: when the server cannot be used.
        """
        messages = Messages(self._link, _BUDGET_TO_ACT if to_act else _BUDGET)
        all_of = messages.all_of(heads, SEARCHED_TO_ACT if to_act else SEARCHED)
        signs = _signs_of(job_id)
        likely = (one for one in all_of if any(sign in one.raw for sign in signs))
        message = next((one for one in likely if id_of(one.raw) == job_id), None)
        fetched = messages.delivered(self._catalog.prefixes) if message is None else []
        delivery = next((one for one in fetched if _id_of_delivery(one) == job_id), None)
        return Found(message, delivery, self._stored(job_id), not messages.more)

    def _stored(self, job_id: str) -> Stored | None:
        try:
            return self._results.find(job_id, self._catalog.prefixes)
        except BackendError as fault:
            if not self._results.own and not isinstance(fault, NotPermitted):
                raise
            self.warnings = (f"results are not known: {fault}",)
            return None

    def _delivered(self, one: Delivery, now: datetime, room: int) -> JobReading:
        message, exchange, routing_key = _parts(one.entry)
        job = job_in(one.entry, message, now=now, room=room)
        queue = self._catalog.queue_of(one.prefix, exchange, routing_key)
        since = moment(one.fetched_at)
        words = "fetched by a worker" if since is None else f"to a worker at {since:%F %T} UTC"
        if job.state is JobState.WAITING:
            words += ": it runs, or is among the next"
        label = None if queue is None else self._labels.get(queue.key)
        return replace(job, queue=label, facts=(*job.facts, ("delivered", words)))


def _signs_of(job_id: str) -> tuple[bytes, ...]:
    """Of these bytes some are in every message with this id; reading each would take seconds."""
    if job_id.startswith(UNREAD):
        return (b"",)
    return job_id.encode("utf-8", "surrogatepass"), json.dumps(job_id)[1:-1].encode()


def _waiting(one: Message, now: datetime, room: int) -> JobReading:
    job = job_in(one.raw, json_of(one.raw), now=now, room=room)
    return replace(job, queue=one.head.label)


def _parts(entry: bytes) -> tuple[object, bytes, bytes]:
    """Message, exchange and routing key of an entry of ``unacked``."""
    content = json_of(entry)
    if not isinstance(content, list) or len(content) != 3:
        return None, b"", b""
    names = (part if isinstance(part, str) else "" for part in content[1:])
    exchange, routing_key = (name.encode("utf-8", "replace") for name in names)
    return content[0], exchange, routing_key


def _id_of_delivery(one: Delivery) -> str:
    return job_in(one.entry, _parts(one.entry)[0], now=datetime.max.replace(tzinfo=timezone.utc)).id


def _next(rows: Sequence[JobReading], state: JobState, query: JobQuery) -> list[JobReading]:
    some = [row for row in rows if row.state is state]
    if state is JobState.SCHEDULED:
        some.sort(key=lambda row: row.due_at or datetime.max.replace(tzinfo=timezone.utc))
    return some[: query.limit]


def _merged(job: JobReading, result: JobReading) -> JobReading:
    """A message and what is stored of its last attempt: the message says what comes next."""
    stays = result.state in {JobState.RUNNING, JobState.CANCELLED}
    return replace(
        job,
        state=result.state if stays else job.state,
        worker=result.worker,
        ended_at=result.ended_at if stays else None,
        error=result.error,
        traceback=result.traceback,
        children=result.children,
        facts=(*job.facts, *(fact for fact in result.facts if fact not in job.facts)),
    )


def _too_large(count: int) -> str:
    return f"{count} messages or lists of messages are too large to be looked into"
