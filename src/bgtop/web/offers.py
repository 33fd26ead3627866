"""What can be done to a row or to what a page is about, for somebody who may do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bgtop.actions import Verb
from bgtop.model import JobState
from bgtop.state.records import JobRow, QueueRow, SourceRow, TypeRow
from bgtop.view.subjects import job_of, queue_of
from bgtop.web.grants import verbs_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgtop.model import Frame
    from bgtop.view.ui import Visit
    from bgtop.web.grants import Person

LABELS: Final = {
    "retry": "Retry",
    "cancel": "Cancel",
    "terminate": "Stop",
    "delete": "Delete",
    "requeue": "Retry failed",
    "purge": "Purge",
    "pause": "Pause",
    "resume": "Resume",
}
"""What the buttons say; ``terminate`` is a cancel that also stops what runs."""

_ENDED_BADLY: Final = frozenset({JobState.FAILED, JobState.DEAD, JobState.CANCELLED})
_OPEN: Final = frozenset({JobState.WAITING, JobState.SCHEDULED, JobState.DEFERRED})


class Offer(NamedTuple):
    """Actions by their names, and the object: the fields of a request beside its verb."""

    names: tuple[str, ...]
    target: dict[str, str]


def offer_for(
    row: Any, person: Person, titles: Mapping[str, str], *, control: bool
) -> Offer | None:
    """What somebody may do to a row; ``None`` if nothing."""
    if not (control and person.known):
        return None
    found = _of(row)
    if found is None:
        return None
    names, target, queue = found
    able = row.source.info.verbs & verbs_of(person.grant.role)
    names = tuple(n for n in names if (Verb.CANCEL in able and n == "terminate") or n in able)
    if not names or not person.grant.covers_queue(queue):
        return None
    return Offer(names, {"source": titles[row.source.key], **target})


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
            return ("requeue",), {}, None
        case _:
            return None


def _of_job(state: JobState) -> tuple[str, ...]:
    if state in _ENDED_BADLY:
        return "retry", "delete"
    if state in _OPEN:
        return "cancel", "delete"
    return ("terminate",) if state is JobState.RUNNING else ("delete",)


def subject_row(frame: Frame, visit: Visit) -> Any:
    """The row of what a page is about, if it is about a queue or a job that is there."""
    match visit.page:
        case "queue":
            return queue_of(frame, visit)
        case "job":
            return job_of(frame, visit)
        case _:
            return None
