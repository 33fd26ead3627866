"""What the author of a backend tells about single jobs, for tests of looking inside and acting."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, ClassVar

import pytest

from bgtop.actions import Verb
from bgtop.contracts import Backend, Interest
from bgtop.model import ALL_STATES, JobList, JobQuery, JobReading, JobState
from bgtop.testing.hooks import BackendHooks
from bgtop.testing.waiting import settled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PARENTS = "parents"
"""The queue of the jobs that deferred ones wait for."""


class JobHooks(BackendHooks):
    """``fill`` puts jobs nobody takes; these hooks make jobs in any state, by the real system."""

    job_states: ClassVar[frozenset[JobState]] = ALL_STATES
    """The states that :meth:`jobs_in` can bring about and the backend can list."""

    verbs: ClassVar[frozenset[Verb]] = frozenset()
    """What the backend declares that it can do."""

    failed_state: ClassVar[JobState] = JobState.FAILED
    """The state of jobs that may be retried; :attr:`JobState.DEAD` where none is kept as failed."""

    failure: ClassVar[str] = "ValueError: as asked for"
    """The last line of what jobs fail with that :meth:`jobs_in` lets fail."""

    def jobs_in(self, state: JobState, queue: str, count: int) -> Sequence[str]:
        """Required: make ``count`` jobs of this queue, all in this state; gives their ids.

        Not for running ones. In the order they were put in, or ended. Scheduled ones are due in an
        hour; deferred ones wait for jobs of the queue :data:`PARENTS`. Workers that are needed for
        it are gone when it returns.
        """
        raise NotImplementedError

    def running_jobs(self, queue: str, count: int) -> AbstractContextManager[Sequence[str]]:
        """Optional: so many jobs are executed by real workers meanwhile; gives their ids.

        At the end those that still run come to their own end, and the workers stop.
        """
        pytest.skip(f"no hook to run {count} jobs of {queue}")

    def work_off(self, *queues: str) -> None:
        """Optional: let a real worker do all that waits in these queues."""
        pytest.skip(f"no hook to work {queues} off")

    def begun(self, id_: str) -> int:
        """Optional: how often this job was begun, as its task noted it."""
        pytest.skip(f"no hook to count the runs of {id_}")

    def ended(self, id_: str) -> int:
        """Optional: how often this job came to its own end, as its task noted it."""
        pytest.skip(f"no hook to count the ends of {id_}")

    def declare_schedule(self) -> str:
        """Optional: declare something that runs by the clock; gives its name."""
        pytest.skip("no hook to declare a schedule")

    def open_operator(self) -> Backend:
        """Optional: a backend that may act, where :meth:`open_backend` may only read."""
        return self.open_backend()

    @pytest.fixture
    def operator(self) -> Iterator[Backend]:
        """A freshly opened backend that may act, closed after the test."""
        with closing(self.open_operator()) as operator:
            settled(operator)
            yield operator


def listed(backend: Backend, query: JobQuery | None = None) -> JobList:
    """The answer to a query, of a complete reading."""
    jobs = settled(backend, Interest(jobs=query or JobQuery())).jobs
    assert jobs is not None, "Interest.jobs has to be answered"  # noqa: S101  # for tests
    return jobs


def ids_by_state(jobs: JobList, queue: str | None = None) -> dict[JobState, list[str]]:
    """The ids of the rows by state, of one queue or all; states without jobs are left out."""
    found: dict[JobState, list[str]] = {}
    for row in jobs.rows:
        if queue in {None, row.queue}:
            found.setdefault(row.state, []).append(row.id)
    return found


def look_at(backend: Backend, id_: str) -> JobReading | None:
    """One job, whole; ``None`` if the backend knows none of this id."""
    rows = listed(backend, JobQuery(id=id_)).rows
    assert len(rows) <= 1, "an id is of one job"  # noqa: S101  # for tests
    return rows[0] if rows else None
