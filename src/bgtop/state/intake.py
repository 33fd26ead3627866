"""What is kept of a reading: the queues and workers asked for, and how alive each worker is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from operator import attrgetter

from bgtop.model import JobList, QueueReading, Reading, WorkerReading, WorkerState
from bgworker.values import dataclass, replace


class BadPattern(ValueError):
    """A filter that is not a regular expression; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class NameFilter:
    """Keeps names in which the pattern is found, or, ``inverse``, those in which it is not."""

    pattern: re.Pattern[str]
    inverse: bool = False

    def keeps(self, name: str) -> bool:
        """Whether this name passes."""
        return (self.pattern.search(name) is None) == self.inverse


def name_filter(text: str) -> NameFilter | None:
    """The filter a text describes: a regular expression, ``!`` before it for all others.

    Raises :class:`BadPattern`. An empty text filters nothing and gives ``None``.
    """
    import warnings

    pattern = text.removeprefix("!")
    if not pattern:
        return None
    try:
        with warnings.catch_warnings():
            # While somebody types "[[a]]" Python would print what that may mean one day.
            warnings.simplefilter("ignore", FutureWarning)
            return NameFilter(re.compile(pattern), inverse=text.startswith("!"))
    except (re.error, RecursionError, OverflowError) as fault:
        raise BadPattern(f"not a pattern: {fault}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which queues and workers are of interest, and after how many seconds a worker is dead."""

    queues: NameFilter | None = None
    workers: NameFilter | None = None
    internal: bool = False
    dead_after: float = 30.0
    redact: str = ""
    """More patterns for the names of secrets in what jobs carry; ``off``: nothing is hidden."""


def take_in(reading: Reading, selection: Selection) -> Reading:
    """The reading as everybody else sees it: chosen, sorted, judged, and without secrets."""
    queues: Iterable[QueueReading] = reading.queues
    if selection.queues is not None or not selection.internal:
        keeps = selection.queues.keeps if selection.queues is not None else None
        queues = [
            queue
            for queue in queues
            if (selection.internal or not queue.internal) and (keeps is None or keeps(queue.name))
        ]
    workers = [
        worker
        if worker.state is not None
        else worker.judged(judge(worker, reading.taken_at, selection.dead_after))
        for worker in reading.workers
        if selection.workers is None or selection.workers.keeps(worker.name)
    ]
    return replace(
        reading,
        queues=tuple(sorted(queues, key=attrgetter("name"))),
        workers=tuple(sorted(workers, key=attrgetter("name"))),
        jobs=reading.jobs and _redacted(reading.jobs, selection.redact),
    )


def _redacted(jobs: JobList, redact: str) -> JobList:
    # Its patterns are compiled only where jobs are looked at.
    from bgtop.state.redaction import redaction_of

    redaction = redaction_of(redact)
    return jobs if redaction is None else redaction.jobs(jobs)


def judge(worker: WorkerReading, taken_at: datetime, dead_after: float) -> WorkerState:
    """How alive a worker was when the reading was taken.

    Judged by the reading's time, not by the clock on the wall: while a source is down no heartbeat
    can be seen, and nobody has died of that.
    """
    if worker.state is not None:
        return worker.state
    if worker.last_heartbeat_at is None:
        return WorkerState.UNKNOWN
    if (taken_at - worker.last_heartbeat_at).total_seconds() > dead_after:
        return WorkerState.DEAD
    return WorkerState.ACTIVE if worker.running else WorkerState.IDLE
