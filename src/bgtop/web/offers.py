"""What can be done to a row or to what a page is about, for somebody who may do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bgtop.actions import WORKER_VERBS, Verb
from bgtop.jobs import JobReading, JobState
from bgtop.state.records import JobRow, QueueRow, SourceRow, TypeRow, WorkerRow
from bgtop.view.subjects import job_of, queue_of, worker_of
from bgtop.web.grants import verbs_of

if TYPE_CHECKING:
    from bgtop.model import Frame
    from bgtop.view.ui import Visit
    from bgtop.web.grants import Person


class Blank(NamedTuple):
    """What somebody has to fill in: a field of the request, and how it is asked for."""

    field: str
    words: str
    kind: str = "text"
    usual: str = ""
    needed: bool = True


class Deed(NamedTuple):
    """A button: what it says, whether it warns, and what is asked before it is done."""

    label: str
    danger: bool = False
    blanks: tuple[Blank, ...] = ()


_BY: Final = Blank("by", "How many", "count", "1")
_QUEUE: Final = Blank("queue", "Queue")
_TASK: Final = Blank("task", "Task")

DEEDS: Final[Mapping[str, Deed]] = {
    "retry": Deed("Retry"),
    "cancel": Deed("Cancel"),
    "terminate": Deed("Stop", danger=True),
    "delete": Deed("Delete", danger=True),
    "abort": Deed("Abort", danger=True),
    "requeue": Deed("Retry failed"),
    "purge": Deed("Purge", danger=True),
    "pause": Deed("Pause"),
    "resume": Deed("Resume"),
    "grow": Deed("Grow pool", blanks=(_BY,)),
    "shrink": Deed("Shrink pool", blanks=(_BY,)),
    "autoscale": Deed(
        "Autoscale", blanks=(Blank("least", "At least", "count"), Blank("most", "At most", "count"))
    ),
    "restart": Deed("Restart pool", danger=True),
    "add-queue": Deed("Add queue", blanks=(_QUEUE,)),
    "drop-queue": Deed("Drop queue", danger=True, blanks=(_QUEUE,)),
    "limit-rate": Deed(
        "Limit rate", blanks=(_TASK, Blank("rate", "Rate, such as 100/m; 0 is no limit"))
    ),
    "limit-time": Deed(
        "Limit time",
        blanks=(
            _TASK,
            Blank("soft", "Soft limit in seconds", "number", needed=False),
            Blank("hard", "Hard limit in seconds", "number", needed=False),
        ),
    ),
    "shutdown": Deed("Shut down", danger=True),
    "suspend": Deed("Suspend workers"),
    "wake": Deed("Wake workers"),
    "send": Deed(
        "Send task",
        blanks=(
            _TASK,
            _QUEUE._replace(words="Queue; empty is the usual one", needed=False),
            Blank("args", "Arguments, a JSON list", usual="[]"),
            Blank("kwargs", "Named arguments, a JSON object", usual="{}"),
            Blank("countdown", "Not before so many seconds", "number", needed=False),
        ),
    ),
}
"""By their names; ``terminate`` is a cancel that also stops what runs, all others are verbs."""

_OF_NO_WORKER: Final = frozenset({Verb.SEND, Verb.ABORT, Verb.SUSPEND, Verb.WAKE})
OF_WORKERS: Final = tuple(name for name in DEEDS if name in WORKER_VERBS - _OF_NO_WORKER)

_ENDED_BADLY: Final = frozenset({JobState.FAILED, JobState.DEAD, JobState.CANCELLED})
_OPEN: Final = frozenset({JobState.WAITING, JobState.SCHEDULED, JobState.DEFERRED})


class Offer(NamedTuple):
    """Actions by their names, and the object: the fields of a request beside its verb.

    ``words`` say what this system cannot do.
    """

    names: tuple[str, ...]
    target: dict[str, str]
    words: str = ""


def offer_for(
    row: Any,
    person: Person,
    titles: Mapping[str, str],
    *,
    control: bool,
    whole_page: bool = False,
) -> Offer | None:
    """What somebody may do to a row, or to what a whole page is about; ``None`` if nothing."""
    if not (control and person.known):
        return None
    found = _of(row)
    if found is None:
        return None
    names, target, queue = found
    if whole_page and isinstance(row, QueueRow):
        names = (*names, "send")
    able = row.source.info.verbs & verbs_of(person.grant.role)
    if person.grant.narrow:
        able -= WORKER_VERBS
    names = tuple(n for n in names if (Verb.CANCEL in able and n == "terminate") or n in able)
    if not names or not person.grant.covers_queue(queue):
        return None
    return Offer(names, {"source": titles[row.source.key], **target})


def worker_offer(
    row: WorkerRow, person: Person, titles: Mapping[str, str], *, control: bool
) -> Offer | None:
    """What somebody may tell a worker; ``None`` for who may tell workers nothing."""
    if not (control and person.known) or person.grant.narrow:
        return None
    mine = [name for name in OF_WORKERS if name in verbs_of(person.grant.role)]
    if not mine:
        return None
    able = row.source.info.verbs
    cannot = [DEEDS[name].label.lower() for name in mine if name not in able]
    words = f"{row.source.info.system} cannot: {', '.join(cannot)}" if cannot else ""
    target = {"source": titles[row.source.key], "worker": row.worker.name}
    return Offer(tuple(name for name in mine if name in able), target, words)


def held_deeds(row: WorkerRow, person: Person, *, control: bool) -> dict[JobState, list[str]]:
    """What somebody may do to jobs that a worker says it holds, by what it does with them."""
    found = {}
    for state in (JobState.RUNNING, JobState.WAITING, JobState.SCHEDULED):
        job = JobRow(row.source, JobReading(id="", state=state))
        offer = offer_for(job, person, {row.source.key: ""}, control=control)
        # A worker has it in its hands: there is nothing to delete.
        found[state] = [name for name in offer.names if name != "delete"] if offer else []
    return found


def _of(row: Any) -> tuple[tuple[str, ...], dict[str, str], str | None] | None:
    match row:
        case JobRow(_, job):
            return _of_job(job.state), {"id": job.id}, job.queue
        case QueueRow(_, queue, _):
            pause = {True: ("resume",), False: ("pause",), None: ("pause", "resume")}[queue.paused]
            bad = ("requeue",) if queue.failed or queue.dead else ()
            return (*pause, *bad, "purge"), {"queue": queue.name}, queue.name
        case TypeRow(_, kind):
            names = () if kind.failed == 0 else ("requeue",)
            return names, {"task": kind.name}, None
        case SourceRow():
            return ("requeue", "suspend", "wake", "send"), {}, None
        case _:
            return None


def _of_job(state: JobState) -> tuple[str, ...]:
    if state in _ENDED_BADLY:
        return "retry", "delete"
    if state in _OPEN:
        return "cancel", "delete"
    return ("abort", "terminate") if state is JobState.RUNNING else ("delete",)


def subject_row(frame: Frame, visit: Visit) -> Any:
    """The row of what a page is about, if it is about a queue, a worker or a job that is there."""
    match visit.page:
        case "worker":
            return worker_of(frame, visit)
        case "queue":
            return queue_of(frame, visit)
        case "job":
            return job_of(frame, visit)
        case _:
            return None
