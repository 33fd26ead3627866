"""Rows as values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bgworker.codec import load_progress
from bgworker.engines.sqlite.queries import SQL
from bgworker.errors import UnknownJob
from bgworker.model import Claim, JobId, JobRecord, job_number
from bgworker.states import JobState


def claim_of(row: Sequence[Any]) -> Claim:
    """A claim from a row of ``claim`` (without the place) or ``owned``."""
    id_, number, task, queue, priority, args, attempts, retries, crashes = row
    return Claim(
        id=JobId(str(id_)),
        number=number,
        task=task,
        queue=queue,
        priority=priority,
        args=args,
        attempts=attempts,
        retries=retries,
        crashes=crashes,
    )


def record_of(row: Sequence[Any]) -> JobRecord:
    """A record from a row of ``live_record`` or ``final_record``."""
    id_, task, queue, state, priority, args, enqueued_at, run_at, started_at, finished_at, *rest = (
        row
    )
    attempts, retries, crashes, worker, result, error, said = rest
    return JobRecord(
        id=JobId(str(id_)),
        task=task,
        queue=queue,
        state=JobState(state),
        priority=priority,
        args=args,
        enqueued_at=enqueued_at,
        run_at=run_at,
        started_at=started_at,
        finished_at=finished_at,
        attempts=attempts,
        retries=retries,
        crashes=crashes,
        worker=worker,
        result=result,
        error=error,
        progress=None if said is None else load_progress(said),
    )


def find_record(
    read: Callable[[str, tuple[Any, ...]], Sequence[Sequence[Any]]], job: str, path: str
) -> JobRecord:
    """Everything stored about one job; raises :class:`UnknownJob`.

    The live table is asked again because a job may move to history between the two reads.
    """
    number = job_number(JobId(job))
    for query in ("live_record", "final_record", "live_record") if number is not None else ():
        found = read(SQL[query], (number,))
        if found:
            return record_of(found[0])
    raise UnknownJob(f"no job {job!r} in {path}")
