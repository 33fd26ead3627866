"""The rows of all tables, and what a filter can ask of each."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import chain, repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bgtop.model import (
    UNKNOWN_RATES,
    Frame,
    JobReading,
    QueueReading,
    Rates,
    ScheduleReading,
    Source,
    TaskTypeReading,
    WorkerReading,
    WorkerState,
)
from bgtop.state.derived import derived

if TYPE_CHECKING:
    from bgtop.page import RowId
    from bgtop.state.filters import Facts


class QueueRow(NamedTuple):
    """A queue, where it lives, and how fast it moves; ``id`` is what a selection holds on to."""

    source: Source
    queue: QueueReading
    rates: Rates
    id: RowId


class WorkerRow(NamedTuple):
    """A worker and where it works."""

    source: Source
    worker: WorkerReading

    @property
    def id(self) -> RowId:
        """What a selection holds on to."""
        return self.source.key, self.worker.name


class JobRow(NamedTuple):
    """A single job and where it was seen."""

    source: Source
    job: JobReading

    @property
    def id(self) -> RowId:
        """What a selection holds on to."""
        return self.source.key, self.job.id


class TypeRow(NamedTuple):
    """All jobs of one task."""

    source: Source
    type: TaskTypeReading
    rates: Rates = UNKNOWN_RATES

    @property
    def task(self) -> str:
        """Its name."""
        return self.type.name

    @property
    def id(self) -> RowId:
        """What a selection holds on to."""
        return self.source.key, self.type.name


class ErrorRow(NamedTuple):
    """A kind of failure of one task, and how many of its jobs ended with it."""

    source: Source
    task: str
    error: str
    jobs: int

    @property
    def id(self) -> RowId:
        """What a selection holds on to."""
        return self.source.key, f"{self.task}\0{self.error}"

    @property
    def copied(self) -> str:
        """What is worth copying."""
        return self.error


class ScheduleRow(NamedTuple):
    """Something that runs by the clock."""

    source: Source
    schedule: ScheduleReading

    @property
    def id(self) -> RowId:
        """What a selection holds on to."""
        return self.source.key, self.schedule.name


class SourceRow(NamedTuple):
    """A source; ``title`` tells those of one place apart."""

    source: Source
    title: str

    @property
    def id(self) -> RowId:
        """What a selection holds on to."""
        return self.source.key, ""

    @property
    def copied(self) -> str:
        """What is worth copying."""
        return self.title


def queue_rows(frame: Frame) -> list[QueueRow]:
    """Every queue, by source and name."""
    return [*chain.from_iterable(queue_rows_of(frame, s) for s in frame.snapshot.sources)]


def queue_rows_of(frame: Frame, source: Source) -> list[QueueRow]:
    """The queues of one source of the frame."""
    return derived(frame, ("queue rows", source.key), lambda: _queue_rows(frame, source))


def _queue_rows(frame: Frame, source: Source) -> list[QueueRow]:
    queues = source.reading.queues if source.reading else ()
    ids = [*zip(repeat(source.key), map(attrgetter("name"), queues), strict=False)]
    rates: Iterable[Rates] = repeat(UNKNOWN_RATES)
    if frame.rates:  # not with systems that count nothing: ten thousand look-ups less
        rates = map(frame.rates.get, ids, repeat(UNKNOWN_RATES))
    return [*map(QueueRow, repeat(source), queues, rates, ids)]


def queue_state(queue: QueueReading) -> str:
    """What keeps the jobs of a queue from being taken, or its numbers from being whole."""
    if queue.malformed:
        return "malformed"
    if queue.paused:
        return "paused"
    return "no consumer" if queue.consumers == 0 and queue.depth else ""


def worker_state(worker: WorkerReading) -> str:
    """How alive it is, in a word."""
    return (worker.state or WorkerState.UNKNOWN).value


def seconds_before(row: Any, moment: datetime | None) -> float | None:
    """Seconds from a moment to when the row's source was read."""
    reading = row.source.reading
    if moment is None or reading is None:
        return None
    return float((reading.taken_at - moment).total_seconds())


def runtime_of(row: JobRow) -> float | None:
    """How long a job ran, or runs by now."""
    started, ended = row.job.started_at, row.job.ended_at
    if started is None:
        return None
    return seconds_before(row, started) if ended is None else (ended - started).total_seconds()


def late_by(row: ScheduleRow) -> float | None:
    """Seconds since a schedule should have run next; ``None`` if it is not late."""
    if row.schedule.enabled is False:
        return None
    late = seconds_before(row, row.schedule.next_at)
    return late if late is not None and late > 0 else None


def _system(row: Any) -> str | None:
    system: str | None = row.source.info.system
    return system


def _source(row: Any) -> str:
    name: str = row.source.name
    return name


QUEUE_FACTS: Final[Facts[QueueRow]] = {
    "name": lambda row: row.queue.name,
    "queue": lambda row: row.queue.name,
    "state": lambda row: queue_state(row.queue),
    "source": _source,
    "system": _system,
    "depth": lambda row: row.queue.depth,
    "unacked": lambda row: row.queue.unacked,
    "scheduled": lambda row: row.queue.scheduled,
    "deferred": lambda row: row.queue.deferred,
    "running": lambda row: row.queue.running,
    "failed": lambda row: row.queue.failed,
    "dead": lambda row: row.queue.dead,
    "age": lambda row: row.queue.oldest.seconds if row.queue.oldest else None,
    "in": lambda row: row.rates.in_per_second,
    "out": lambda row: row.rates.out_per_second,
    "drain": lambda row: row.rates.drain_seconds,
    "runtime": lambda row: row.queue.runtime_mean_seconds,
    "consumers": lambda row: row.queue.consumers,
}

WORKER_FACTS: Final[Facts[WorkerRow]] = {
    "name": lambda row: row.worker.name,
    "worker": lambda row: row.worker.name,
    "state": lambda row: worker_state(row.worker),
    "queue": lambda row: row.worker.queues,
    "source": _source,
    "system": _system,
    "beat": lambda row: seconds_before(row, row.worker.last_heartbeat_at),
    "running": lambda row: row.worker.running,
    "processed": lambda row: row.worker.processed,
    "failed": lambda row: row.worker.failed,
    "cpu": lambda row: row.worker.cpu_percent,
    "rss": lambda row: row.worker.rss_bytes,
    "concurrency": lambda row: row.worker.concurrency,
    "age": lambda row: seconds_before(row, row.worker.started_at),
    "task": lambda row: [task.name for task in row.worker.current or ()],
}

JOB_FACTS: Final[Facts[JobRow]] = {
    "name": lambda row: row.job.name or row.job.id,
    "task": lambda row: row.job.name,
    "id": lambda row: row.job.id,
    "state": lambda row: row.job.state.value,
    "queue": lambda row: row.job.queue,
    "worker": lambda row: row.job.worker,
    "source": _source,
    "system": _system,
    "args": lambda row: row.job.args,
    "kwargs": lambda row: row.job.kwargs,
    "result": lambda row: row.job.result,
    "error": lambda row: row.job.error,
    "priority": lambda row: row.job.priority,
    "attempts": lambda row: row.job.attempts,
    "age": lambda row: seconds_before(row, row.job.enqueued_at),
    "runtime": runtime_of,
}

TYPE_FACTS: Final[Facts[TypeRow]] = {
    "name": lambda row: row.type.name,
    "task": lambda row: row.type.name,
    "source": _source,
    "system": _system,
    "waiting": lambda row: row.type.waiting,
    "running": lambda row: row.type.running,
    "succeeded": lambda row: row.type.succeeded,
    "failed": lambda row: row.type.failed,
    "runtime": lambda row: row.type.runtime_mean_seconds,
    "error": lambda row: list(row.type.exceptions or ()),
    "in": lambda row: row.rates.in_per_second,
    "out": lambda row: row.rates.out_per_second,
}

ERROR_FACTS: Final[Facts[ErrorRow]] = {
    "name": lambda row: row.error,
    "error": lambda row: row.error,
    "task": lambda row: row.task,
    "source": _source,
    "system": _system,
    "count": lambda row: row.jobs,
}

SCHEDULE_FACTS: Final[Facts[ScheduleRow]] = {
    "name": lambda row: row.schedule.name,
    "task": lambda row: row.schedule.task,
    "queue": lambda row: row.schedule.queue,
    "rule": lambda row: row.schedule.rule,
    "enabled": lambda row: {True: "yes", False: "no", None: None}[row.schedule.enabled],
    "source": _source,
    "system": _system,
    "late": late_by,
}

SOURCE_FACTS: Final[Facts[SourceRow]] = {
    "name": lambda row: row.title,
    "source": _source,
    "system": _system,
    "state": lambda row: source_state(row.source),
    "error": lambda row: row.source.failure.message if row.source.failure else None,
}


def source_state(source: Source) -> str:
    """Whether a source answers, in a word."""
    if source.failure is not None:
        return "down"
    return "waiting" if source.reading is None else "ok"
