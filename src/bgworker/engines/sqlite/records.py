"""Rows as values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bgworker.codec import load_progress
from bgworker.engines.sqlite.queries import SQL
from bgworker.errors import UnknownJob
from bgworker.model import Claim, JobId, JobRecord, job_number
from bgworker.states import JobState

_BEGINNING = (
    *("id", "task", "queue", "state", "priority", "args"),
    *("enqueued_at", "run_at", "started_at", "finished_at"),
)


def claim_of(row: Sequence[Any]) -> Claim:
    """A claim from a row of ``claim`` (from the id on) or ``owned``: its fields in their order."""
    id_, *others = row
    return Claim(JobId(str(id_)), *others)


def beginning_of(row: Sequence[Any]) -> tuple[dict[str, Any], Sequence[Any]]:
    """What each row of a job begins with, by the names of the fields; and the rest of the row."""
    known = dict(zip(_BEGINNING, row, strict=False))
    known |= {"id": JobId(str(known["id"])), "state": JobState(known["state"])}
    return known, row[len(_BEGINNING) :]


def record_of(row: Sequence[Any]) -> JobRecord:
    """A record from a row of ``live_record`` or ``final_record``."""
    known, rest = beginning_of(row)
    attempts, retries, crashes, worker, result, error, said = rest
    return JobRecord(
        **known,
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
