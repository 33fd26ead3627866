"""What a page is about, looked up in a frame: the queue, the worker or the job of a visit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bgtop.contracts import Interest
from bgtop.model import ALL_STATES, Frame, JobQuery, JobState
from bgtop.state.records import JobRow, QueueRow, WorkerRow, queue_rows_of
from bgtop.view.job_columns import answer_of
from bgtop.view.specs import sources_of
from bgtop.view.ui import Visit
from bgworker.values import replace

_LISTED: Final = ALL_STATES - {JobState.SUCCEEDED, JobState.CANCELLED}


def interest_in(query: Callable[[Visit], JobQuery]) -> Callable[[Visit, str, Interest], Interest]:
    """Ask for these jobs, beside the usual, at the sources a visit is about."""

    def interest(visit: Visit, source: str, usual: Interest) -> Interest:
        if visit.subject is None or visit.subject[0] not in {"", source}:
            return usual
        return replace(usual, jobs=query(visit))

    return interest


def jobs_in_queue(visit: Visit) -> JobQuery:
    """What is asked about the queue of a visit."""
    name = visit.subject[1] if visit.subject else None
    return JobQuery(queue=name, states=_LISTED, limit=visit.limit)


def jobs_of_worker(visit: Visit) -> JobQuery:
    """What is asked about the worker of a visit."""
    name = visit.subject[1] if visit.subject else None
    return JobQuery(worker=name, states=frozenset({JobState.RUNNING}), limit=visit.limit)


def failed_jobs(visit: Visit) -> JobQuery:
    """What is asked of all sources about failures."""
    return JobQuery(states=frozenset({JobState.FAILED, JobState.DEAD}), limit=visit.limit)


def whole_job(visit: Visit) -> JobQuery:
    """What is asked about the job of a visit."""
    return JobQuery(id=visit.subject[1] if visit.subject else "")


def queue_of(frame: Frame, visit: Visit) -> QueueRow | None:
    """The queue a visit is about, if it is still there."""
    for source in sources_of(frame, visit):
        for row in queue_rows_of(frame, source):
            if row.id == visit.subject:
                return row
    return None


def worker_of(frame: Frame, visit: Visit) -> WorkerRow | None:
    """The worker a visit is about, if it is still there."""
    for source in sources_of(frame, visit):
        for worker in source.reading.workers if source.reading else ():
            if visit.subject == (source.key, worker.name):
                return WorkerRow(source, worker)
    return None


def job_of(frame: Frame, visit: Visit) -> JobRow | None:
    """The job a visit is about, once it is read."""
    query = whole_job(visit)
    for source in sources_of(frame, visit):
        answer = answer_of(source, query)
        if answer and answer.rows:
            return JobRow(source, answer.rows[0])
    return None
