"""From a key and the rows it is meant for to a question, and what follows a yes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from bgtop.actions import (
    Action,
    CancelJob,
    DeleteJob,
    PauseQueue,
    Performed,
    PurgeQueue,
    RequeueFailed,
    ResumeQueue,
    RetryJob,
    Verb,
)
from bgtop.model import Frame, QueueReading, Source
from bgtop.page import Status, Tone
from bgtop.source_url import redacted
from bgtop.state.records import JobRow, QueueRow, SourceRow, TypeRow
from bgtop.view.listed import Listed
from bgtop.view.subjects import job_of, queue_of
from bgtop.view.text import clean, number
from bgtop.view.ui import Asking, Pane, Perform, Ui

_MOST_NAMED: Final = 3


class Target(NamedTuple):
    """What something is done to: a job, a queue, or a task; and how it is called in a question."""

    source: Source
    kind: str
    name: str
    title: str
    queue: QueueReading | None = None


class _Deed(NamedTuple):
    """What a command does to which kinds of thing."""

    verb: Verb
    words: str
    make: Mapping[str, Callable[[Target], Action]]
    signals: bool = False


_DEEDS: Final[Mapping[str, _Deed]] = {
    "retry": _Deed(Verb.RETRY, "Retry", {"job": lambda t: RetryJob(id=t.name)}),
    "cancel": _Deed(Verb.CANCEL, "Cancel", {"job": lambda t: CancelJob(id=t.name)}),
    "kill": _Deed(
        Verb.CANCEL,
        "Cancel, even while running,",
        {"job": lambda t: CancelJob(id=t.name, terminate=True)},
        signals=True,
    ),
    "delete": _Deed(Verb.DELETE, "Delete", {"job": lambda t: DeleteJob(id=t.name)}),
    "requeue": _Deed(
        Verb.REQUEUE,
        "Retry all failed and dead jobs of",
        {
            "queue": lambda t: RequeueFailed(queue=t.name),
            "task": lambda t: RequeueFailed(task=t.name),
            "source": lambda _: RequeueFailed(),
        },
    ),
    "purge": _Deed(
        Verb.PURGE, "Delete all jobs that wait in", {"queue": lambda t: PurgeQueue(queue=t.name)}
    ),
    "suspend": _Deed(Verb.PAUSE, "Pause", {"queue": lambda t: PauseQueue(queue=t.name)}),
    "again": _Deed(Verb.RESUME, "Resume", {"queue": lambda t: ResumeQueue(queue=t.name)}),
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
        case SourceRow(source, title):
            return [Target(source, "source", source.key, f"source {title}")]
        case _:
            return []


def _queue_target(source: Source, queue: QueueReading) -> Target:
    return Target(source, "queue", queue.name, f"queue {queue.name}", queue)


def _of_subject(ui: Ui, frame: Frame) -> list[Target]:
    """What the page itself is about."""
    match ui.visit.page:
        case "queue":
            row = queue_of(frame, ui.visit)
            return [_queue_target(row.source, row.queue)] if row else []
        case "job":
            job = job_of(frame, ui.visit)
            return _of_row(job) if job else []
        case "failures":
            sources = frame.snapshot.sources
            return [Target(s, "source", s.key, f"source {s.name}") for s in sources]
        case _:
            return []


def offered(ui: Ui, frame: Frame, table: Listed, pane: Pane) -> frozenset[str]:
    """The commands that find something here that they are meant for."""
    able = {
        (target.kind, verb)
        for target in (*chosen(table, pane), *_of_subject(ui, frame))
        for verb in target.source.info.verbs
    }
    return frozenset(
        [
            name
            for name, deed in _DEEDS.items()
            if any((kind, deed.verb) in able for kind in deed.make)
        ]
    )


def ask(name: str, ui: Ui, frame: Frame, table: Listed, pane: Pane) -> Asking | Status:
    """The question before an action, or why there is none."""
    deed = _DEEDS[name]
    targets = [t for t in chosen(table, pane) if t.kind in deed.make]
    targets = targets or [t for t in _of_subject(ui, frame) if t.kind in deed.make]
    if not targets and pane.marks and not pane.marks & table.places.keys():
        words = f"none of the {len(pane.marks)} marked rows is shown; U unmarks"
        return Status("NOTE", Tone.INFO, f"{deed.verb.value}: {words}")
    if not targets:
        kinds = " or ".join(deed.make)
        return Status("NOTE", Tone.INFO, f"{deed.verb.value}: choose a {kinds} first")
    able = [target for target in targets if deed.verb in target.source.info.verbs]
    unable = [target for target in targets if deed.verb not in target.source.info.verbs]
    if not able:
        return Status("NOTE", Tone.WARN, f"{_systems(unable)}: {deed.verb.value} is not supported")
    lines = [*_named(able), *_counted(deed, able), f"at {_places(able)}"]
    if unable:
        lines.append(f"not at {_systems(unable)}, where it is not supported: {len(unable)}")
    unseen = len(pane.marks - table.places.keys())
    if unseen:
        lines.append(f"{unseen} more marked, but not shown: left alone")
    return Asking(
        title=f"{deed.words} {_what(able)}?",
        lines=tuple([clean(line, 300) for line in lines]),
        deeds=tuple([Perform(t.source.key, deed.make[t.kind](t)) for t in able]),
        signals=deed.signals,
    )


def _what(targets: Sequence[Target]) -> str:
    if len(targets) == 1:
        return clean(targets[0].title)
    return f"{len(targets)} {targets[0].kind}s"


def _named(targets: Sequence[Target]) -> list[str]:
    """Some of the names, if there are several."""
    if len(targets) == 1:
        return []
    names = [target.title for target in targets[:_MOST_NAMED]]
    more = len(targets) - len(names)
    return [*names, *([f"and {more} more"] if more else [])]


def _counted(deed: _Deed, targets: Sequence[Target]) -> list[str]:
    """How many jobs it is about, where that is more than one each."""
    queues = [target.queue for target in targets if target.queue is not None]
    if not queues or deed.verb not in {Verb.PURGE, Verb.REQUEUE}:
        return []
    if deed.verb is Verb.PURGE:
        counts = [queue.depth for queue in queues]
    else:
        counts = [
            None
            if queue.failed is None and queue.dead is None
            else (queue.failed or 0) + (queue.dead or 0)
            for queue in queues
        ]
    known = [count for count in counts if count is not None]
    return [f"{number(sum(known))} jobs at the moment" if known else "how many jobs is not known"]


def _places(targets: Sequence[Target]) -> str:
    sources = {target.source.key: target.source for target in targets}
    return ", ".join(
        [
            f"{source.info.system or source.info.broker} {redacted(source.info.url)}"
            for source in sources.values()
        ]
    )


def _systems(targets: Sequence[Target]) -> str:
    return ", ".join(sorted({t.source.info.system or t.source.info.broker for t in targets}))


def outcome_of(performed: Performed) -> Status:
    """What an action came to, as a line."""
    action = performed.action
    object_ = clean(object_of(action))
    if performed.outcome is None:
        fault = clean(performed.fault or "failed", 500)
        return Status("FAILED", Tone.BAD, f"{action.verb.value} {object_}: {fault}")
    changed, words = performed.outcome.changed, clean(performed.outcome.words, 500)
    count = "" if changed is None else f"{number(changed)} changed"
    parts = [part for part in (count, words) if part]
    return Status(
        "DONE", Tone.GOOD, f"{action.verb.value} {object_}: {' · '.join(parts) or 'done'}"
    )


def outcomes_of(performed: Sequence[Performed], asked: int) -> Status:
    """What several actions came to, so far, as one line."""
    last = performed[-1]
    if asked <= 1:
        return outcome_of(last)
    faults = [one for one in performed if one.outcome is None]
    counts = [one.outcome.changed for one in performed if one.outcome]
    known = [count for count in counts if count is not None]
    words = f"{last.action.verb.value} {len(performed)} of {asked}"
    if known:
        words += f": {number(sum(known))} changed"
    if faults:
        return Status(
            "FAILED",
            Tone.BAD,
            f"{words} · {len(faults)} failed, such as {outcome_of(faults[0]).text}",
        )
    return Status("DONE", Tone.GOOD, words)


def object_of(action: Action) -> str:
    """What an action is done to, in words."""
    match action:
        case RetryJob() | CancelJob() | DeleteJob():
            return action.id
        case RequeueFailed():
            return action.queue or action.task or "everything"
        case _:
            return action.queue
