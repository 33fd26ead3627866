"""What a backend lists of single jobs, as tests ask for it and hold it against what was put."""

from __future__ import annotations

from typing import Any

from bgtop.contracts import Backend, Interest
from bgtop.model import JobList, JobQuery, JobReading, JobState
from bgtop.testing import settled


def listed(backend: Backend, **query: Any) -> JobList:
    """The answer to this query, once everything has been found."""
    jobs = settled(backend, Interest(jobs=JobQuery(**query))).jobs
    assert jobs is not None
    return jobs


def one(backend: Backend, identity: str) -> JobReading | None:
    """The job with this id, if there is one."""
    rows = listed(backend, id=identity).rows
    assert len(rows) <= 1
    return rows[0] if rows else None


def by_state(jobs: JobList) -> dict[JobState, list[str]]:
    """The ids in the order in which they are listed."""
    found: dict[JobState, list[str]] = {}
    for row in jobs.rows:
        found.setdefault(row.state, []).append(row.id)
    return found
