"""What workers say they hold: which tasks run, which wait in their hands, which are not due.

Facts from Celery 4.4 and 5.7 (``worker/control.py``): ``active`` and ``reserved`` answer lists of
``{id, name, args, kwargs, time_start, delivery_info, …}``, ``scheduled`` lists of
``{eta, request}``, ``query_task`` ``{id: [state, info]}``. Answering costs a worker some
milliseconds and the broker a message; so it is done only where the address says
``ask_workers=yes``, and only while somebody looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bgtop.backends.celery.task_messages import IN_A_LIST, WHOLE, cut, in_words, moment, named
from bgtop.backends.celery.wire import instant
from bgtop.contracts import BackendError
from bgtop.model import JobList, JobReading, JobState
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bgtop.backends.celery.control import Answer, Mailbox
    from bgtop.model import JobQuery

COMMANDS: Final = {
    JobState.WAITING: "reserved",
    JobState.RUNNING: "active",
    JobState.SCHEDULED: "scheduled",
}
"""The command that lists the tasks of a worker in each state."""

_STATES = {word: state for state, word in COMMANDS.items()}


class Held(NamedTuple):
    """The tasks in the hands of workers; ``trouble`` says why some may be missing."""

    rows: tuple[JobReading, ...] = ()
    trouble: str | None = None


def held(
    mailboxes: Sequence[Mailbox], states: Iterable[JobState], worker: str | None = None
) -> Held:
    """All tasks of these states that workers hold, or that one of them does; never raises."""
    rows: list[JobReading] = []
    silent = False
    nodes = None if worker is None else [worker]
    try:
        for state in states:
            for mailbox in mailboxes:
                # Texts that are short already; what does not know the word ignores it.
                heard = mailbox.ask(COMMANDS[state], {"safe": True}, nodes=nodes)
                silent = silent or not (heard.by_all or heard.listeners is None)
                for answer in heard.answers:
                    rows += _tasks(answer, state)
    except BackendError as fault:
        return Held((*rows,), f"what workers run is not known: {fault}")
    return Held((*rows,), "some workers do not say what they run" if silent else None)


def held_one(mailboxes: Sequence[Mailbox], job_id: str) -> Held:
    """This task, if a worker holds it; never raises."""
    rows = []
    try:
        for mailbox in mailboxes:
            for answer in mailbox.ask("query_task", {"ids": [job_id]}).answers:
                value = answer.value if isinstance(answer.value, dict) else {}
                match value.get(job_id):
                    case [str(word), dict(info)] if word in _STATES:
                        job = _task(answer.node, _STATES[word], info, WHOLE)
                        rows += [job] if job is not None and job.id == job_id else []
    except BackendError as fault:
        return Held(trouble=f"what workers run is not known: {fault}")
    return Held((*rows,))


def of_worker(
    query: JobQuery, worker: str, mailboxes: Sequence[Mailbox]
) -> tuple[JobList, tuple[str, ...]]:
    """What one worker holds, and warnings; without ``mailboxes`` it is not asked."""
    if not mailboxes:
        return JobList(query=query, unreadable=query.states), ()
    states = [state for state in JobState if state in query.states and state in COMMANDS]
    found = held(mailboxes, states, worker)
    chosen = [row for row in found.rows if query.queue in {None, row.queue}]
    by_state = [[row for row in chosen if row.state is state] for state in states]
    jobs = JobList(
        query=query,
        rows=tuple(row for rows in by_state for row in rows[: query.limit]),
        more=any(len(rows) > query.limit for rows in by_state),
        unreadable=query.states - {*states},
    )
    return jobs, (found.trouble,) if found.trouble else ()


def with_what_is_held(rows: Iterable[JobReading], found: Held) -> list[JobReading]:
    """The rows of a broker, corrected and completed by what the workers say."""
    by_id = {job.id: job for job in found.rows}
    known = [_corrected(row, by_id.pop(row.id, None)) for row in rows]
    return [*known, *by_id.values()]


def _corrected(row: JobReading, job: JobReading | None) -> JobReading:
    if job is None:
        return row
    facts = tuple(fact for fact in row.facts if fact[0] != "delivered")
    return replace(row, state=job.state, worker=job.worker, started_at=job.started_at, facts=facts)


def _tasks(answer: Answer, state: JobState) -> Iterator[JobReading]:
    for one in answer.value if isinstance(answer.value, list) else []:
        if not isinstance(one, dict):
            continue
        info = one.get("request") if state is JobState.SCHEDULED else one
        job = _task(answer.node, state, info, IN_A_LIST) if isinstance(info, dict) else None
        if job is not None:
            eta = one.get("eta")
            due_at = moment(instant(eta)) if isinstance(eta, str) else None
            yield replace(job, due_at=due_at) if state is JobState.SCHEDULED else job


def _task(node: str, state: JobState, info: dict[str, object], room: int) -> JobReading | None:
    job_id, name, started = (info.get(key) for key in ("id", "name", "time_start"))
    delivery = info.get("delivery_info")
    queue = delivery.get("routing_key") if isinstance(delivery, dict) else None
    known = isinstance(started, (int, float)) and state is JobState.RUNNING
    if (text := named(job_id)) is None:
        return None
    return JobReading(
        id=text,
        state=state,
        name=named(name),
        queue=named(queue),
        worker=node,
        args=_argument(info.get("args"), room),
        kwargs=_argument(info.get("kwargs"), room),
        started_at=moment(started) if known and isinstance(started, (int, float)) else None,
    )


def _argument(value: object, room: int) -> str | None:
    return cut(value, room) if isinstance(value, str) else in_words(value, room)
