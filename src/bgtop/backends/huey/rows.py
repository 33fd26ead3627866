"""One waiting or scheduled task of Huey as a row, from Redis and from SQLite alike."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, NamedTuple

from bgtop.backends.huey.messages import digest_of, task_in
from bgtop.contracts import Unsupported
from bgtop.model import JobList, JobReading, JobState
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bgtop.backends.huey.messages import Coding, Result, Task
    from bgtop.model import JobQuery

STORED: Final = frozenset({JobState.WAITING, JobState.SCHEDULED})
"""States in which Huey keeps a task."""

NOT_LISTED: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED})
"""Results are kept by the id of their task alone, without its name."""

TAKEN: Final = (
    "no task {id!r} waits or is scheduled; what a consumer of Huey has taken cannot be called back"
)
CUT_SHORT: Final = "no task {id!r} among the first ones of all queues"
NOT_REVOKED: Final = (
    "the task {id!r} is not revoked, so it will run: Huey forgets what was taken, and only what is"
    " revoked can be given back"
)
REVOKED: Final = "it stays in its queue until a consumer takes it and passes over it"


class Stored(NamedTuple):
    """A task where it lies; ``raw`` is ``None`` where it is too large to be fetched."""

    queue: bytes
    state: JobState
    raw: bytes | None
    size: int
    key: bytes | int
    """What it is found by: the element of the list or the sorted set, or the number of its row."""
    priority: int | None = None
    put_at: float | None = None
    """Seconds since the epoch, by the clock of the producer."""

    @property
    def task(self) -> Task | None:
        """What it says of itself."""
        return None if self.raw is None else task_in(self.raw)

    @property
    def id(self) -> str:
        """The id of the task, or what stands for it."""
        task = self.task
        if task is not None:
            return task.id
        return digest_of(self.raw if self.raw is not None else repr(self.key).encode())


def row_of(stored: Stored, queue: str, *, revoked: bool = False) -> JobReading:
    """The row; a revoked task stays where it is until a consumer passes over it."""
    task = stored.task
    state = JobState.CANCELLED if revoked else stored.state
    facts = (("revoked", f"it is {stored.state.value}, and will not run"),) if revoked else ()
    put_at = stored.put_at
    enqueued_at = None if put_at is None else datetime.fromtimestamp(put_at, timezone.utc)
    if task is None:
        why = ("serializer", "not Huey's own, so it is not read")
        if stored.raw is None:
            why = ("size", f"{stored.size:,} bytes, too large to be looked into")
        return JobReading(
            id=stored.id,
            state=state,
            queue=queue,
            priority=stored.priority,
            enqueued_at=enqueued_at,
            facts=(*facts, why),
            malformed=stored.raw is not None,
        )
    return JobReading(
        id=task.id,
        state=state,
        name=task.name,
        queue=queue,
        priority=stored.priority,
        args=task.args,
        kwargs=task.kwargs,
        enqueued_at=enqueued_at,
        due_at=task.eta,
        attempts_left=None if task.retries is None else max(task.retries, 0) + 1,
        children=task.children,
        facts=(*facts, *task.facts),
    )


def revocable(stored: Stored) -> Coding:
    """How a mark for this task is to be written.

    Raises:
        Unsupported: when its application alone can write one.
    """
    task = stored.task
    if task is None:
        raise Unsupported("a task in a serializer of its own cannot be revoked: delete it")
    if task.coding.signed:
        raise Unsupported("a signed task can be revoked by its application only: delete it")
    return task.coding


def with_result(row: JobReading, result: Result) -> JobReading:
    """What is stored of the task's end, or of its last try."""
    return replace(row, result=result.text, error=result.error, traceback=result.traceback)


def ended(identity: str, queue: str, result: Result) -> JobReading:
    """A task of which nothing but its result is left."""
    state = JobState.FAILED if result.failed else JobState.SUCCEEDED
    return with_result(JobReading(id=identity, state=state, queue=queue), result)


def listed(
    query: JobQuery, rows: Iterable[JobReading], *, more: bool, unreadable: Iterable[JobState]
) -> JobList:
    """The answer to a query, cut at its limit."""
    by_state: Mapping[JobState, list[JobReading]] = {state: [] for state in JobState}
    for row in rows:
        by_state[row.state].append(row)
    kept: list[JobReading] = []
    for state, found in by_state.items():
        if state in query.states:
            more = more or len(found) > query.limit
            kept += found[: query.limit]
    return JobList(
        query=query,
        rows=tuple(kept),
        more=more,
        unreadable=frozenset(unreadable) & query.states,
    )
