"""Which source an action is for, and what it is about in words: pure, from what was just read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from bgtop.actions import (
    Action,
    CancelJob,
    DeleteJob,
    RequeueFailed,
    RetryJob,
    Verb,
    is_for_workers,
)
from bgtop.counted import counted
from bgtop.model import Frame, JobReading, Source
from bgtop.state.places import titles_of
from bgtop.state.totals import failed_of
from bgworker.values import dataclass

if TYPE_CHECKING:
    from bgtop.actions import WorkerAction

_DONE: Final = {
    Verb.RETRY: "retried",
    Verb.CANCEL: "cancelled",
    Verb.DELETE: "deleted",
    Verb.REQUEUE: "requeued",
    Verb.PURGE: "purged",
    Verb.PAUSE: "paused",
    Verb.RESUME: "resumed",
}
_MOST_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Target:
    """An action and the source it is for; ``words`` name the object, and how much there is of it.

    ``able`` is false where that system will refuse it.
    """

    source: Source
    action: Action
    words: str
    able: bool = True


class NoTarget(Exception):
    """Nothing can be done; the message says why.

    ``ambiguous``: too many could be meant; ``unread``: a source that could be cannot be read.
    """

    def __init__(self, words: str, *, ambiguous: bool = False, unread: bool = False) -> None:
        super().__init__(words)
        self.ambiguous, self.unread = ambiguous, unread


def target_of(frame: Frame, action: Action) -> Target:
    """The one source that has what the action is about; raises :class:`NoTarget`.

    An object nobody can see is left to the only source that could know it.
    """
    sources = [source for source in frame.snapshot.sources if source.info.system is not None]
    holding = [source for source in sources if _holds(source, action)]
    if len(holding) > 1:
        places = ", ".join(_place(frame, source) for source in holding)
        could = "could be in" if is_for_workers(action) else "is in"
        words = f"{_object(action)} {could} several sources: {places}; name one by its URL,"
        raise NoTarget(f"{words} --source or --backend", ambiguous=True)
    if not holding:
        holding = [source for source in sources if action.verb in source.info.verbs]
        holding = holding or sources
    failures = [s.failure.message for s in frame.snapshot.sources if s.failure is not None]
    if len(holding) != 1 or holding[0].failure is not None:
        raise NoTarget("; ".join(failures) or _not_found(action), unread=bool(failures))
    [source] = holding
    able = action.verb in source.info.verbs
    return Target(source, action, _words(source, action), able)


def question(frame: Frame, targets: Sequence[Target]) -> str:
    """What is asked before anything is done: what, how many, and where."""
    parts = []
    for source in dict.fromkeys(target.source.key for target in targets):
        mine = [target for target in targets if target.source.key == source]
        named = ", ".join(target.words for target in mine[:_MOST_NAMED])
        if len(mine) > _MOST_NAMED:
            named += f" and {len(mine) - _MOST_NAMED} more"
        count = f"{len(mine)} jobs: " if len(mine) > 1 else ""
        parts.append(f"{count}{named} on {_place(frame, mine[0].source)}")
    action = targets[0].action
    if is_for_workers(action):
        return f"{'; '.join(parts)}?"
    hard = " and stop what runs" if isinstance(action, CancelJob) and action.terminate else ""
    return f"{action.verb.value}{hard} {'; '.join(parts)}?"


def outcome_words(target: Target, changed: int | None, words: str) -> str:
    """What was done, in a line."""
    if is_for_workers(target.action):
        return f"{target.words}: {words or 'done'}"
    verb = _DONE[target.action.verb]
    said = f" ({words})" if words else ""
    if changed == 0:
        return f"nothing changed: {_object(target.action)}{said}"
    if target.action.verb in {Verb.PURGE, Verb.REQUEUE} and changed is not None:
        return f"{verb} {counted(changed, 'job')}: {_object(target.action)}{said}"
    return f"{verb} {_object(target.action)}{said}"


def _place(frame: Frame, source: Source) -> str:
    title = titles_of(frame.snapshot.sources)[source.key]
    system = source.info.system or ""
    return title if system in title.split() else f"{title} ({system})"


def _object(action: Action) -> str:
    if is_for_workers(action):
        return _errand_words(action)
    match action:
        case RetryJob() | CancelJob() | DeleteJob():
            return f"job {action.id}"
        case RequeueFailed():
            words = "failed jobs"
            words += f" of queue {action.queue}" if action.queue is not None else ""
            return words + (f" of task {action.task}" if action.task is not None else "")
        case _:
            return f"queue {action.queue}"


def _not_found(action: Action) -> str:
    words = _object(action)
    return f"no source to {words} at" if is_for_workers(action) else f"{words} was not found"


def _errand_words(action: WorkerAction) -> str:
    # Loaded for those who steer workers only.
    from bgtop.state.errands import errand_words

    return errand_words(action)


def _job(source: Source, id_: str) -> JobReading | None:
    jobs = source.reading.jobs if source.reading else None
    return next((job for job in jobs.rows if job.id == id_), None) if jobs else None


def _holds(source: Source, action: Action) -> bool:
    if source.reading is None or source.failure is not None:
        return False
    if is_for_workers(action):
        from bgtop.state.errands import is_known

        return is_known(source, action)
    match action:
        case RetryJob() | CancelJob() | DeleteJob():
            return _job(source, action.id) is not None
        case RequeueFailed(queue=None):
            return bool(failed_of(source))
        case _:
            return any(queue.name == action.queue for queue in source.reading.queues)


def _words(source: Source, action: Action) -> str:
    if is_for_workers(action):
        return _errand_words(action)
    match action:
        case RetryJob() | CancelJob() | DeleteJob():
            job = _job(source, action.id)
            known = [job.name, job.state.value] if job else []
            return f"{action.id} ({', '.join(filter(None, known))})" if job else action.id
        case RequeueFailed():
            count = _failed(source, action)
            return _object(action) if count is None else f"{count} {_object(action)}"
        case _:
            queues = source.reading.queues if source.reading else ()
            depths = [queue.depth for queue in queues if queue.name == action.queue]
            known_depth = depths[0] if depths else None
            with_jobs = (
                "" if known_depth is None else f" with {counted(known_depth, 'waiting job')}"
            )
            return f"{_object(action)}{with_jobs}"


def _failed(source: Source, action: RequeueFailed) -> int | None:
    """How many there are, where that can be told: nobody counts them by task."""
    if action.task is not None or source.reading is None:
        return None
    if action.queue is None:
        return failed_of(source)
    counts = [
        count
        for queue in source.reading.queues
        if queue.name == action.queue
        for count in (queue.failed, queue.dead)
        if count is not None
    ]
    return sum(counts) if counts else None
