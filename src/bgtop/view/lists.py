"""Rows of one kind, filtered, sorted and cut, as text, JSON or CSV.

Rows are those of the screen, written as their JSON records. Text is for people: columns nothing is
known of are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from bgtop.model import (
    UNKNOWN_RATES,
    BackendInfo,
    Frame,
    JobList,
    JobReading,
    JobState,
    QueueReading,
    Reading,
    ScheduleReading,
    Source,
    TaskTypeReading,
    WorkerReading,
)
from bgtop.state.filters import Facts, Test
from bgtop.state.records import (
    JOB_FACTS,
    QUEUE_FACTS,
    SCHEDULE_FACTS,
    TYPE_FACTS,
    WORKER_FACTS,
    JobRow,
    ScheduleRow,
    WorkerRow,
    queue_rows,
)
from bgtop.state.task_figures import type_rows
from bgtop.view.document import SCHEMA, moment, queue_record, source_records, worker_record
from bgtop.view.job_records import job_record, schedule_record, task_type_record
from bgtop.view.sheets import fields_of
from bgtop.view.text import SIGNS, UNKNOWN, age, clean, duration, fit, number, rate, width
from bgworker.values import dataclass, field

T = TypeVar("T")

Record = dict[str, Any]
Writer = Callable[[Any, datetime], str]

NOWHERE: Final = Source(name="", info=BackendInfo(system="", broker="", url=""))


class BadColumn(ValueError):
    """A column to sort by that these rows do not have; the message names those they have."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A column of the text: its heading, the key of the record, and how it is written."""

    title: str
    key: str
    write: Writer
    right: bool = True
    kind: str = ""
    """The key of what says whether the value is a lower bound, or an estimate."""

    def text(self, record: Record, now: datetime) -> str:
        """The cell of a row."""
        value, kind = record[self.key], record[self.kind] if self.kind else ""
        return (SIGNS.get(kind, "") if value is not None else "") + self.write(value, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of rows: ``name`` is its key in JSON, ``short`` are other words for its keys.

    ``empty`` is the record of nothing, which names the columns of a CSV without rows.
    """

    name: str
    columns: tuple[Shown, ...]
    rows: Callable[[Frame], Iterable[Any]]
    facts: Facts[Any]
    """What a filter can ask of a row: the same as on the screen."""
    record: Callable[..., Record]
    empty: Record
    short: Mapping[str, str] = field(default_factory=dict)

    def records(self, frame: Frame, keeps: Test[Any] | None = None) -> list[Record]:
        """The records of the rows that pass a filter."""
        return [self.record(*row) for row in self.rows(frame) if keeps is None or keeps(row)]

    def key_of(self, column: str) -> str:
        """The key a user means; raises :class:`BadColumn`."""
        wanted = column.lower()
        titles = {shown.title.lower(): shown.key for shown in self.columns}
        key = self.short.get(wanted) or titles.get(wanted) or wanted
        if key not in self.empty:
            known = ", ".join([*self.empty, *self.short])
            raise BadColumn(f"{column!r} is no column of {self.name}; known: {known}")
        return key


def in_order(records: Iterable[Record], kind: Kind, column: str | None) -> list[Record]:
    """Sorted by a column: texts from A to Z, numbers and times from the largest; unknown last.

    ``!`` before the column turns the order round.
    """
    if column is None:
        return list(records)
    key = kind.key_of(column.removeprefix("!"))
    rows = [*records]
    known = [row for row in rows if row[key] is not None]
    text = any(isinstance(row[key], str) for row in known) and not key.endswith("_at")
    known.sort(key=lambda row: _comparable(row[key]), reverse=text == column.startswith("!"))
    return known + [row for row in rows if row[key] is None]


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return sum(part for part in value.values() if isinstance(part, (int, float)))
    return len(value) if isinstance(value, list) else value


def list_document(frame: Frame, kind: Kind, records: Sequence[Record], hidden: int) -> Record:
    """The JSON document of a list; ``hidden`` is how many rows a limit has cut off."""
    document = {
        "schema": SCHEMA,
        "taken_at": moment(frame.snapshot.taken_at),
        "sources": source_records(frame),
        kind.name: list(records),
        "hidden": hidden,
    }
    if kind.name == "tasks":
        document["more"] = any(jobs.more for _, jobs in job_lists(frame))
        document["unreadable"] = [
            {"source": source.name, "system": source.info.system, "states": states}
            for source, jobs in job_lists(frame)
            if (states := [state.value for state in JobState if state in jobs.unreadable])
        ]
    return document


def job_lists(frame: Frame) -> list[tuple[Source, JobList]]:
    """What each source answered that was asked for jobs."""
    return [
        (source, source.reading.jobs)
        for source in frame.snapshot.sources
        if source.reading is not None and source.reading.jobs is not None
    ]


def sheet_of(kind: Kind, records: Sequence[Record]) -> str:
    """One table of CSV with a header line."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(kind.empty)
    writer.writerows(map(fields_of, records))
    return text.getvalue()


def text_of(kind: Kind, records: Sequence[Record], frame: Frame) -> str:
    """A table for people; columns of which nothing is known are left out, but the first.

    Where several sources were read each row says which one it is of, also if it is the only row.
    """
    now, sources = frame.snapshot.taken_at, frame.snapshot.sources
    first, *others = kind.columns
    several = {
        "source": len({source.name for source in sources}) > 1,
        "system": len({source.info.system for source in sources}) > 1,
    }
    where = [Shown(key.upper(), key, _word, right=False) for key in several if several[key]]
    shown = [first, *where, *(c for c in others if any(_is_known(row[c.key]) for row in records))]
    rows = [[column.text(row, now) for column in shown] for row in records]
    cells = [[column.title for column in shown], *rows]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            fit(text, room, right=column.right)
            for text, room, column in zip(line, widths, shown, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join(lines) + "\n"


def _is_known(value: Any) -> bool:
    return value not in (None, [], {})


def _word(value: Any, _: datetime) -> str:
    if value is None:
        return UNKNOWN
    words = value if isinstance(value, str) else " ".join(map(str, value))
    return clean(words, 60)


def _count(value: Any, _: datetime) -> str:
    return number(value)


def _rate(value: Any, _: datetime) -> str:
    return rate(value)


def _span(value: Any, _: datetime) -> str:
    return duration(value)


def _flag(value: Any, _: datetime) -> str:
    return UNKNOWN if value is None else ("yes" if value else "no")


def _since(value: Any, now: datetime) -> str:
    """How long ago; a time to come is said with ``in``."""
    if value is None:
        return UNKNOWN
    seconds = (now - datetime.fromisoformat(value.replace("Z", "+00:00"))).total_seconds()
    return age(seconds) if seconds >= 0 else f"in {age(-seconds)}"


def _priorities(value: Any, _: datetime) -> str:
    return UNKNOWN if value is None else " ".join(f"{key}:{part}" for key, part in value.items())


def _named(title: str, key: str) -> Shown:
    return Shown(title, key, _word, right=False)


def _seen(frame: Frame, part: Callable[[Reading], Iterable[T]]) -> Iterator[tuple[Source, T]]:
    """A part of what each source said, with the source."""
    for source in frame.snapshot.sources:
        if source.reading is not None:
            for row in part(source.reading):
                yield source, row


def _workers(frame: Frame) -> Iterable[WorkerRow]:
    return map(WorkerRow._make, _seen(frame, lambda reading: reading.workers))


def _jobs(frame: Frame) -> Iterable[JobRow]:
    return map(
        JobRow._make, _seen(frame, lambda reading: reading.jobs.rows if reading.jobs else ())
    )


def _schedules(frame: Frame) -> Iterable[ScheduleRow]:
    return map(ScheduleRow._make, _seen(frame, lambda reading: reading.schedules or ()))


QUEUES: Final = Kind(
    name="queues",
    columns=(
        _named("QUEUE", "name"),
        Shown("DEPTH", "depth", _count),
        Shown("PRIORITIES", "by_priority", _priorities),
        Shown("UNACKED", "unacked", _count),
        Shown("SCHEDULED", "scheduled", _count),
        Shown("DEFERRED", "deferred", _count),
        Shown("RUNNING", "running", _count),
        Shown("FAILED", "failed", _count),
        Shown("DEAD", "dead", _count),
        Shown("OLDEST", "oldest_age_seconds", _span, kind="oldest_age_is"),
        Shown("IN/S", "in_per_second", _rate, kind="rates_are"),
        Shown("OUT/S", "out_per_second", _rate, kind="rates_are"),
        Shown("DRAIN", "drain_seconds", _span),
        Shown("MEAN", "runtime_mean_seconds", _span),
        Shown("LAST", "last_completed_at", _since),
        Shown("WORKERS", "consumers", _count),
        Shown("PAUSED", "paused", _flag),
    ),
    rows=queue_rows,
    facts=QUEUE_FACTS,
    record=lambda source, queue, rates, _: queue_record(source, queue, rates),
    empty=queue_record(NOWHERE, QueueReading(name=""), UNKNOWN_RATES),
    short={
        "age": "oldest_age_seconds",
        "in": "in_per_second",
        "out": "out_per_second",
        "drain": "drain_seconds",
        "runtime": "runtime_mean_seconds",
    },
)

WORKERS: Final = Kind(
    name="workers",
    columns=(
        _named("WORKER", "name"),
        _named("STATE", "state"),
        Shown("BEAT", "last_heartbeat_at", _since),
        Shown("RUNNING", "running", _count),
        Shown("OF", "concurrency", _count),
        Shown("DONE", "processed", _count),
        Shown("FAILED", "failed", _count),
        Shown("CPU%", "cpu_percent", _rate),
        Shown("MEMORY", "rss_bytes", _count),
        Shown("PID", "pid", _count),
        _named("HOST", "host"),
        Shown("UP", "started_at", _since),
        _named("QUEUES", "queues"),
    ),
    rows=_workers,
    facts=WORKER_FACTS,
    record=worker_record,
    empty=worker_record(NOWHERE, WorkerReading(name="")),
    short={"beat": "heartbeat_age_seconds", "cpu": "cpu_percent", "rss": "rss_bytes"},
)

TASKS: Final = Kind(
    name="tasks",
    columns=(
        _named("ID", "id"),
        _named("TASK", "name"),
        _named("STATE", "state"),
        _named("QUEUE", "queue"),
        Shown("PRIORITY", "priority", _count),
        _named("WORKER", "worker"),
        Shown("ENQUEUED", "enqueued_at", _since),
        Shown("DUE", "due_at", _since),
        Shown("ENDED", "ended_at", _since),
        Shown("RUNTIME", "runtime_seconds", _span),
        Shown("ATTEMPTS", "attempts", _count),
        _named("ARGS", "args"),
        _named("KWARGS", "kwargs"),
        _named("ERROR", "error"),
    ),
    rows=_jobs,
    facts=JOB_FACTS,
    record=job_record,
    empty=job_record(NOWHERE, JobReading(id="", state=JobState.WAITING)),
    short={"task": "name", "age": "age_seconds", "runtime": "runtime_seconds"},
)

TYPES: Final = Kind(
    name="task_types",
    columns=(
        _named("TASK", "name"),
        Shown("WAITING", "waiting", _count),
        Shown("RUNNING", "running", _count),
        Shown("SUCCEEDED", "succeeded", _count),
        Shown("FAILED", "failed", _count),
        Shown("IN/S", "in_per_second", _rate),
        Shown("OUT/S", "out_per_second", _rate),
        Shown("MEAN", "runtime_mean_seconds", _span),
        Shown("P50", "runtime_p50_seconds", _span, kind="runtime_percentiles_are"),
        Shown("P95", "runtime_p95_seconds", _span, kind="runtime_percentiles_are"),
        Shown("LAST", "last_ended_at", _since),
        Shown("EXCEPTIONS", "exceptions", _priorities),
    ),
    rows=type_rows,
    facts=TYPE_FACTS,
    record=task_type_record,
    empty=task_type_record(NOWHERE, TaskTypeReading(name="")),
    short={"task": "name", "runtime": "runtime_mean_seconds"},
)

SCHEDULES: Final = Kind(
    name="schedules",
    columns=(
        _named("SCHEDULE", "name"),
        _named("TASK", "task"),
        _named("QUEUE", "queue"),
        _named("RULE", "rule"),
        Shown("NEXT", "next_at", _since),
        Shown("LAST", "last_at", _since),
        Shown("ENABLED", "enabled", _flag),
    ),
    rows=_schedules,
    facts=SCHEDULE_FACTS,
    record=schedule_record,
    empty=schedule_record(NOWHERE, ScheduleReading(name="")),
    short={"next": "next_at", "last": "last_at"},
)
