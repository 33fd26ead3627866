"""What can be done to Celery on RabbitMQ, and what its results tell of single tasks.

Messages cannot be looked at without taking them out, which changes their order and marks them as
redelivered: so nothing is read, moved or deleted one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.actions import (
    CancelJob,
    DeleteJob,
    Outcome,
    PurgeQueue,
    RetryJob,
    is_for_workers,
)
from bgtop.backends.celery.held_tasks import held, held_one, of_worker, with_what_is_held
from bgtop.backends.celery.revoking import check_signal, revoke
from bgtop.backends.celery.verbs import ABORTED, unsupported
from bgtop.backends.rabbit_commands import Parcel, publish, purge
from bgtop.backends.raw_names import quoted
from bgtop.contracts import BackendError, NoSuchTarget
from bgtop.model import JobList, JobState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.actions import Action, WorkerAction
    from bgtop.backends.celery.control import Mailbox
    from bgtop.backends.celery.retrying import Again
    from bgtop.backends.celery.steering import Crew
    from bgtop.backends.celery.task_results import Results
    from bgtop.backends.rabbit_link import RabbitLink
    from bgtop.model import JobQuery, JobReading, Reading
    from bgtop.worker_actions import SendTask

_SECONDS_TO_CONFIRM = 10.0


def answer(
    query: JobQuery, results: Results | None, mailboxes: Sequence[Mailbox]
) -> tuple[JobList, tuple[str, ...]]:
    """What a query asks for, and warnings; workers are asked only if there are ``mailboxes``.

    A task that left a result is known by its id, and what runs by the workers.
    """
    if query.id is not None:
        return _one(query, query.id, results, mailboxes)
    if query.worker is not None:
        return of_worker(query, query.worker, mailboxes)
    if not mailboxes or JobState.RUNNING not in query.states:
        return JobList(query=query, unreadable=query.states), ()
    found = held(mailboxes, [JobState.RUNNING])
    rows = [row for row in found.rows if query.queue in {None, row.queue}]
    jobs = JobList(
        query=query,
        rows=tuple(rows[: query.limit]),
        more=len(rows) > query.limit,
        unreadable=query.states - {JobState.RUNNING},
    )
    return jobs, (found.trouble,) if found.trouble else ()


def _one(
    query: JobQuery, job_id: str, results: Results | None, mailboxes: Sequence[Mailbox]
) -> tuple[JobList, tuple[str, ...]]:
    job, warnings = None, []
    try:
        job, unread = (None, False) if results is None else _result(job_id, results)
        if unread:
            warnings.append(f"the result of {quoted(job_id)} is stored in a form that is not read")
    except BackendError as fault:
        warnings.append(f"results are not known: {fault}")
    asked = held_one(mailboxes, job_id)
    if asked.trouble is not None:
        warnings.append(asked.trouble)
    rows = with_what_is_held([job] if job else [], asked)
    return JobList(query=query, rows=tuple(rows[:1]), more=not rows), tuple(warnings)


def _result(job_id: str, results: Results) -> tuple[JobReading | None, bool]:
    """The job by its result, and whether there is one that cannot be read."""
    from bgtop.backends.celery.task_messages import WHOLE
    from bgtop.backends.celery.task_results import job_of

    stored = results.find(job_id, ())
    job = None if stored is None else job_of(job_id, stored, WHOLE)
    return job, stored is not None and job is None


def perform(action: Action, link: RabbitLink, crew: Crew, results: Results | None) -> Outcome:
    """Carry out an action; raises :class:`bgtop.contracts.BackendError`."""
    if is_for_workers(action):
        return _steer(action, link, crew, results)
    match action:
        case PurgeQueue(queue=queue):
            return Outcome(purge(link, queue))
        case CancelJob():
            check_signal(action)
            return revoke(action, crew.mailboxes, waits=None, ended=_ended(action.id, results))
        case RetryJob(id=job_id) if results is not None:
            from bgtop.backends.celery.retrying import retry

            return retry(job_id, results, (), lambda again: _send(link, again))
        case DeleteJob(id=job_id) if results is not None:
            return _forget(job_id, results)
        case _:
            raise unsupported(action)


def _steer(action: WorkerAction, link: RabbitLink, crew: Crew, results: Results | None) -> Outcome:
    from bgtop.worker_actions import AbortJob, SendTask, SuspendWorkers, WakeWorkers

    match action:
        case AbortJob(id=job_id) if results is not None:
            if not results.abort(job_id, results.find(job_id, ())):
                raise NoSuchTarget(f"the task {quoted(job_id)} has ended")
            return Outcome(None, ABORTED)
        case AbortJob() | SuspendWorkers() | WakeWorkers():
            raise unsupported(action)
        case SendTask():
            return _send_new(action, link, crew.reading)
        case _:
            return crew.tell(action)


def _send_new(action: SendTask, link: RabbitLink, reading: Reading) -> Outcome:
    from bgtop.backends.celery.sending import letter_of, queue_for

    letter = letter_of(action)
    known = {queue.name for queue in reading.queues if not queue.internal}
    # Where queues cannot be listed the broker itself says that there is none.
    queue = queue_for(action, known | ({action.queue} if action.queue else set()))
    parcel = Parcel(
        letter.headers,
        letter.body,
        persistent=True,
        correlation_id=letter.id,
        priority=letter.priority,
    )
    publish(link, queue, parcel, _SECONDS_TO_CONFIRM)
    return Outcome(1, letter.words)


def _send(link: RabbitLink, again: Again) -> None:
    job_id = str(again.headers["id"])
    parcel = Parcel(again.headers, again.body, persistent=True, correlation_id=job_id)
    publish(link, again.queue, parcel, _SECONDS_TO_CONFIRM)


def _ended(job_id: str, results: Results | None) -> str | None:
    """How a task ended, as far as is known."""
    if results is None:
        return None
    from bgtop.backends.celery.task_results import READY

    job, _ = _result(job_id, results)
    return job.state.value if job is not None and job.state in READY else None


def _forget(job_id: str, results: Results) -> Outcome:
    """Delete what a task left behind; its message, if it waits, cannot be taken out."""
    if _ended(job_id, results) is None:
        raise NoSuchTarget(
            f"there is no result of a task {quoted(job_id)} that has ended; RabbitMQ does not let "
            "single messages be taken out: cancel it instead"
        )
    if not results.forget(results.find(job_id, ())):
        raise NoSuchTarget(f"the result of {quoted(job_id)} has just gone")
    return Outcome(1, "its result is deleted")
