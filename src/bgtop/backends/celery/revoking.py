"""Revoking a task: every worker is told to discard it, and keeps that in its memory only.

Facts from Celery 4.4 and 5.7 (``worker/control.py``): ``query_task`` answers, of the tasks a worker
has fetched, ``{id: [state, info]}``; ``revoke`` makes it discard the task when it comes, and with
``terminate`` sends a signal to the process that runs it, which only the prefork pool has.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

from bgtop.actions import Outcome
from bgtop.backends.celery.task_messages import one_line
from bgtop.backends.raw_names import quoted
from bgtop.contracts import Absent, BackendError, NoSuchTarget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.actions import CancelJob
    from bgtop.backends.celery.control import Mailbox


class Asked(NamedTuple):
    """What the workers said of one task."""

    held_by: str | None
    running: bool
    certain: bool
    """Whether every worker has answered."""


class Told(NamedTuple):
    """What became of telling all workers to discard a task."""

    workers: int
    """So many have said that they will."""
    listeners: int | None
    """So many may have heard it; ``None``: unknown."""

    @property
    def words(self) -> str:
        """One line for the operator."""
        count = f"{self.workers} worker{'s' if self.workers != 1 else ''}"
        if self.listeners is not None and self.listeners > self.workers:
            count = f"{self.workers} of {self.listeners} workers"
        return f"discarded by {count}; those that start later do not know of it"


def whereabouts(job_id: str, mailboxes: Sequence[Mailbox]) -> Asked:
    """Who has fetched this task; raises :class:`BackendError`."""
    held_by, running, certain = None, False, True
    for mailbox in mailboxes:
        heard = mailbox.ask("query_task", {"ids": [job_id]})
        certain = certain and heard.by_all
        for answer in heard.answers:
            told = answer.value.get(job_id) if isinstance(answer.value, dict) else None
            if isinstance(told, list) and told:
                held_by, running = answer.node, running or told[0] == "active"
    return Asked(held_by, running, certain)


def tell(action: CancelJob, mailboxes: Sequence[Mailbox]) -> Told:
    """Tell all workers to discard a task, and with ``terminate`` to stop it.

    Raises:
        BackendError: when they cannot be told, or say that they cannot.
    """
    arguments = {"task_id": action.id, "terminate": action.terminate, "signal": action.signal}
    heard = [mailbox.ask("revoke", arguments) for mailbox in mailboxes]
    answers = [answer for one in heard for answer in one.answers]
    failed = [f"{one_line(answer.node)}: {answer.error}" for answer in answers if answer.error]
    if failed:
        raise BackendError(f"the workers could not do it: {'; '.join(failed[:3])}")
    counts = [one.listeners for one in heard if one.listeners is not None]
    return Told(len(answers), sum(counts) if len(counts) == len(heard) else None)


def revoke(
    action: CancelJob, mailboxes: Sequence[Mailbox], *, waits: bool | None, ended: str | None
) -> Outcome:
    """Cancel a task out of our reach; ``waits``: the broker holds it; ``ended``: how it did.

    Raises:
        NoSuchTarget: when it has ended, runs and is not to be stopped, or is nowhere.
        BackendError: when nobody listens.
    """
    asked, name = whereabouts(action.id, mailboxes), quoted(action.id)
    if asked.held_by is None and waits is not True:
        if ended is not None:
            raise NoSuchTarget(f"the task {name} has ended: {ended}")
        if waits is False and asked.certain:
            raise Absent(f"no queue and no worker has a task {name}")
    node = one_line(asked.held_by or "")
    if asked.running and not action.terminate:
        raise NoSuchTarget(f"the task {name} runs on {node}: only terminate stops it")
    told = tell(action, mailboxes)
    if told.listeners == 0:
        raise BackendError("no worker listens, so nobody would remember it")
    known = asked.held_by is not None or waits is True
    words = f"the signal was sent to its process on {node}" if asked.running else told.words
    return Outcome(1 if known else None, words)


def check_signal(action: CancelJob) -> None:
    """Raises :class:`BackendError` for a signal no process knows."""
    name = action.signal if action.signal.startswith("SIG") else f"SIG{action.signal}"
    if name not in signal.Signals.__members__:
        raise BackendError(f"there is no signal {quoted(action.signal)}")
