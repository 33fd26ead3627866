"""The words for what is not well: findings, with all kinds that are known, and alerts."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from bgworker.values import dataclass


class Severity(str, Enum):
    """How bad a finding is: ``error`` needs somebody now."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not well: about what, in words, what shows it, and what mends it.

    ``code`` is the same for all findings of a kind; ``mend`` is a command where there is one.
    """

    code: str
    severity: Severity
    subject: str
    words: str
    evidence: str
    mend: str


class Alert(NamedTuple):
    """A rule of the user's that is broken: which, at which source, by what, and the words."""

    rule: str
    source: str
    subject: str
    words: str


class Symptom(NamedTuple):
    """What all findings with one code have in common."""

    severity: Severity
    words: str


SYMPTOMS: Final[dict[str, Symptom]] = {
    "source-down": Symptom(Severity.ERROR, "the source cannot be read"),
    "no-system": Symptom(Severity.INFO, "no job system was found here"),
    "no-consumer": Symptom(Severity.ERROR, "jobs wait and no worker takes from this queue"),
    "not-consumed": Symptom(
        Severity.ERROR, "ready but not consumed: the oldest job waits although a worker is idle"
    ),
    "paused": Symptom(Severity.INFO, "jobs wait in a queue that is paused"),
    "worker-silent": Symptom(Severity.WARNING, "a worker is dead, or announced and silent"),
    "duplicate-worker": Symptom(Severity.WARNING, "several workers have one name"),
    "clock-drift": Symptom(Severity.WARNING, "the clock of a worker differs from the one here"),
    "prefetch-hoarding": Symptom(
        Severity.WARNING, "busy workers hold messages that idle workers could run"
    ),
    "priority-unread": Symptom(
        Severity.WARNING, "messages wait under priorities that workers may not read"
    ),
    "unacked-grows": Symptom(
        Severity.WARNING, "more and more messages are delivered and not acknowledged"
    ),
    "visibility-timeout": Symptom(
        Severity.WARNING, "tasks run longer than the visibility timeout: they may run twice"
    ),
    "events-off": Symptom(Severity.INFO, "a worker runs tasks and tells no events of them"),
    "task-sent-off": Symptom(Severity.INFO, "producers do not tell when they send a task"),
    "scheduler-missing": Symptom(
        Severity.ERROR, "jobs are due, and no scheduler puts them into their queue"
    ),
    "results-kept": Symptom(Severity.WARNING, "results are kept for ever"),
    "version-untested": Symptom(Severity.INFO, "a version that bgtop was not tested with"),
    "queue-file": Symptom(Severity.WARNING, "the doctor of bgworker has something to say"),
    "warning": Symptom(Severity.WARNING, "what is shown may be incomplete or mislead"),
}


DRIFT: Final = 5.0
"""Seconds by which two clocks may differ before it is worth a word."""


def finding(code: str, subject: str, evidence: str, mend: str) -> Finding:
    """A finding of a known kind."""
    severity, words = SYMPTOMS[code]
    return Finding(
        code=code, severity=severity, subject=subject, words=words, evidence=evidence, mend=mend
    )


def clock_drift(worker: str, ahead: float, host: str | None) -> Finding:
    """The clock of a worker is so many seconds ahead of the one here; behind it if negative."""
    from shlex import quote

    side = "ahead of" if ahead > 0 else "behind"
    return finding(
        "clock-drift",
        worker,
        f"its clock is about {abs(ahead):.0f} s {side} the one here",
        f"on {quote(host) if host else 'its machine'}: chronyc makestep",
    )
