"""Who may see and do what: roles, and the sources and queues they hold for. Pure."""

from __future__ import annotations

from enum import Enum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from bgtop.actions import WORKER_VERBS, Verb
from bgworker.values import dataclass, replace

if TYPE_CHECKING:
    from bgtop.actions import Action
    from bgtop.jobs import JobList
    from bgtop.model import Frame, Reading, Source, WorkerReading

EVERYTHING: Final = ("*",)


class Role(str, Enum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    """What can be taken back: retry, cancel, requeue, pause, resume, suspend, wake."""
    ADMIN = "admin"
    """Everything, as deleting jobs and what is done to workers."""


_OF_OPERATORS: Final = frozenset(
    {
        *(Verb.RETRY, Verb.CANCEL, Verb.REQUEUE, Verb.PAUSE, Verb.RESUME),
        *(Verb.SUSPEND, Verb.WAKE),
    }
)


@dataclass(frozen=True, slots=True)
class Grant:
    """A role, and patterns (``*``, ``?``, ``[…]``) of the sources and queues it holds for.

    A source is meant by its name, its system, or both as the pages write them.
    """

    role: Role = Role.VIEWER
    sources: tuple[str, ...] = EVERYTHING
    queues: tuple[str, ...] = EVERYTHING

    @property
    def narrow(self) -> bool:
        """Whether it holds for some queues only."""
        return self.queues != EVERYTHING

    def covers(self, source: Source) -> bool:
        """Whether it holds for this source."""
        if self.sources == EVERYTHING:
            return True
        names = {source.name, source.info.system or "", source.key.replace("\0", " ")}
        return any(fnmatchcase(name, glob) for name in names for glob in self.sources)

    def covers_queue(self, name: str | None) -> bool:
        """Whether it holds for this queue; for one that is not known only if for all."""
        if not self.narrow:
            return True
        return name is not None and any(fnmatchcase(name, glob) for glob in self.queues)


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: a name for the audit log, a grant, and how it was proved who it is.

    ``how`` is ``anonymous``, ``token``, ``password`` or ``session``; of a log-in also ``provider``.
    """

    name: str
    grant: Grant
    how: str
    guard: str = ""
    """What a form of this session has to send along, so that nobody else's page can send it."""

    @property
    def known(self) -> bool:
        """Whether somebody has said who it is."""
        return self.how != "anonymous"


ANYBODY: Final = Person("anonymous", Grant(), "anonymous")


def verbs_of(role: Role) -> frozenset[Verb]:
    """What a role may do. A verb that nobody thought of here is an administrator's."""
    match role:
        case Role.ADMIN:
            return frozenset(Verb)
        case Role.OPERATOR:
            return _OF_OPERATORS
        case _:
            return frozenset()


def why_not(person: Person, verb: Verb, *, control: bool) -> str | None:
    """Why somebody may not do this anywhere; ``None`` if it may be done somewhere."""
    if not control:
        return "read-only: this server was started without --allow-control"
    if not person.known:
        return "log in first: nothing is changed without credentials"
    if verb not in verbs_of(person.grant.role):
        return f"not permitted: {verb.value} is not for the role {person.grant.role.value}"
    return None


def why_not_here(grant: Grant, action: Action, queue: str | None) -> str | None:
    """Why a grant does not cover an action on this queue (of the job, or named by the action)."""
    if grant.narrow and action.verb in WORKER_VERBS:
        return f"not permitted: {action.verb.value} is not only about the queues of this grant"
    if grant.covers_queue(queue):
        return None
    where = "a queue that is not known" if queue is None else f"queue {queue}"
    return f"not permitted: {action.verb.value} at {where}"


def narrowed(frame: Frame, grant: Grant) -> Frame:
    """The frame as somebody with this grant may see it.

    What is told of a source as a whole is left out where only some queues may be seen.
    """
    if grant.sources == EVERYTHING and not grant.narrow:
        return frame
    shown = tuple(_of_source(s, grant) for s in frame.snapshot.sources if grant.covers(s))
    keys = {source.key for source in shown}
    return replace(
        frame,
        snapshot=replace(frame.snapshot, sources=shown),
        searches=tuple(s for s in frame.searches if grant.covers(s)),
        rates={
            key: rates
            for key, rates in frame.rates.items()
            if key[0] in keys and grant.covers_queue(key[1])
        },
        # They are over all queues.
        source_rates={}
        if grant.narrow
        else {key: rates for key, rates in frame.source_rates.items() if key in keys},
        task_rates={}
        if grant.narrow
        else {key: rates for key, rates in frame.task_rates.items() if key[0] in keys},
        trends=None if grant.narrow or len(shown) < len(frame.snapshot.sources) else frame.trends,
        earlier=tuple(narrowed(one, grant) for one in frame.earlier),
    )


def _of_source(source: Source, grant: Grant) -> Source:
    if source.reading is None or not grant.narrow:
        return source
    return replace(source, reading=_reading(source.reading, grant))


def _reading(reading: Reading, grant: Grant) -> Reading:
    schedules = reading.schedules
    return replace(
        reading,
        queues=tuple(queue for queue in reading.queues if grant.covers_queue(queue.name)),
        workers=tuple(_worker(w, grant) for w in reading.workers if _serves(w, grant)),
        totals={},
        jobs=reading.jobs and _jobs(reading.jobs, grant),
        task_types=None,
        schedules=schedules and tuple(s for s in schedules if grant.covers_queue(s.queue)),
        events=None,
        findings=tuple(f for f in reading.findings if grant.covers_queue(f.subject)),
    )


def _serves(worker: WorkerReading, grant: Grant) -> bool:
    return any(grant.covers_queue(name) for name in worker.queues or ())


def _worker(worker: WorkerReading, grant: Grant) -> WorkerReading:
    """What it does now may be a job of another queue."""
    seen = tuple(name for name in worker.queues or () if grant.covers_queue(name))
    return worker if seen == worker.queues else replace(worker, queues=seen, current=None)


def _jobs(jobs: JobList, grant: Grant) -> JobList:
    return replace(jobs, rows=tuple(job for job in jobs.rows if grant.covers_queue(job.queue)))
