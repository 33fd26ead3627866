"""What can be done to what a page shows: which commands find something here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from bgtop.actions import (
    Action,
    CancelJob,
    DeleteJob,
    PauseQueue,
    PurgeQueue,
    RequeueFailed,
    ResumeQueue,
    RetryJob,
    Verb,
)
from bgtop.model import Frame, QueueReading, Source
from bgtop.state.records import JobRow, QueueRow, SourceRow, TypeRow, WorkerRow
from bgtop.view.listed import Listed
from bgtop.view.ui import Pane, Ui


class Target(NamedTuple):
    """What something is done to: a job, a queue, a task or a worker; its name in a question."""

    source: Source
    kind: str
    name: str
    title: str
    queue: QueueReading | None = None


class Deed(NamedTuple):
    """What a command does to which kinds of thing."""

    verb: Verb
    words: str
    make: Mapping[str, Callable[[Target], Action]]
    signals: bool = False


def _shut_down(target: Target) -> Action:
    from bgtop.worker_actions import ShutdownWorker

    return ShutdownWorker(worker=target.name)


def _grow(target: Target) -> Action:
    from bgtop.worker_actions import GrowPool

    return GrowPool(worker=target.name)


def _shrink(target: Target) -> Action:
    from bgtop.worker_actions import ShrinkPool

    return ShrinkPool(worker=target.name)


DEEDS: Final[Mapping[str, Deed]] = {
    "retry": Deed(Verb.RETRY, "Retry", {"job": lambda t: RetryJob(id=t.name)}),
    "cancel": Deed(Verb.CANCEL, "Cancel", {"job": lambda t: CancelJob(id=t.name)}),
    "kill": Deed(
        Verb.CANCEL,
        "Cancel, even while running,",
        {"job": lambda t: CancelJob(id=t.name, terminate=True)},
        signals=True,
    ),
    "delete": Deed(Verb.DELETE, "Delete", {"job": lambda t: DeleteJob(id=t.name)}),
    "requeue": Deed(
        Verb.REQUEUE,
        "Retry all failed and dead jobs of",
        {
            "queue": lambda t: RequeueFailed(queue=t.name),
            "task": lambda t: RequeueFailed(task=t.name),
            "source": lambda _: RequeueFailed(),
        },
    ),
    "purge": Deed(
        Verb.PURGE, "Delete all jobs that wait in", {"queue": lambda t: PurgeQueue(queue=t.name)}
    ),
    "suspend": Deed(Verb.PAUSE, "Pause", {"queue": lambda t: PauseQueue(queue=t.name)}),
    "again": Deed(Verb.RESUME, "Resume", {"queue": lambda t: ResumeQueue(queue=t.name)}),
    "grow": Deed(Verb.GROW, "Add one to the pool of", {"worker": _grow}),
    "shrink": Deed(Verb.SHRINK, "Take one from the pool of", {"worker": _shrink}),
    "shutdown": Deed(Verb.SHUTDOWN, "Shut down", {"worker": _shut_down}),
}


def chosen(table: Listed, pane: Pane) -> list[Target]:
    """What a table offers: its marked rows, else the selected one."""
    if pane.marks:
        at = sorted(table.places[row_id] for row_id in pane.marks if row_id in table.places)
        rows = [table.rows[index] for index in at]
    else:
        rows = [table.rows[table.position(pane)]] if table.rows else []
    return [target for row in rows for target in _of_row(row)]


def _of_row(row: Any) -> list[Target]:
    match row:
        case JobRow(source, job):
            return [Target(source, "job", job.id, f"job {job.name or ''} {job.id}")]
        case QueueRow(source, queue, _):
            return [_queue_target(source, queue)]
        case TypeRow(source, task_type):
            return [Target(source, "task", task_type.name, f"task {task_type.name}")]
        case WorkerRow(source, worker):
            return [Target(source, "worker", worker.name, f"worker {worker.name}")]
        case SourceRow(source, title):
            return [Target(source, "source", source.key, f"source {title}")]
        case _:
            return []


def _queue_target(source: Source, queue: QueueReading) -> Target:
    return Target(source, "queue", queue.name, f"queue {queue.name}", queue)


def of_subject(ui: Ui, frame: Frame) -> list[Target]:
    """What the page itself is about."""
    match ui.visit.page:
        case "queue":
            from bgtop.view.subjects import queue_of

            row = queue_of(frame, ui.visit)
            return [_queue_target(row.source, row.queue)] if row else []
        case "job":
            from bgtop.view.subjects import job_of

            job = job_of(frame, ui.visit)
            return _of_row(job) if job else []
        case "worker":
            from bgtop.view.subjects import worker_of

            found = worker_of(frame, ui.visit)
            return _of_row(found) if found else []
        case "failures":
            sources = frame.snapshot.sources
            return [Target(s, "source", s.key, f"source {s.name}") for s in sources]
        case _:
            return []


def offered(ui: Ui, frame: Frame, table: Listed, pane: Pane) -> frozenset[str]:
    """The commands that find something here that they are meant for."""
    able = {
        (target.kind, verb)
        for target in (*chosen(table, pane), *of_subject(ui, frame))
        for verb in target.source.info.verbs
    }
    return frozenset(
        [
            name
            for name, deed in DEEDS.items()
            if any((kind, deed.verb) in able for kind in deed.make)
        ]
    )
