"""What can go wrong, said to the person who has to act on it.

BgWorkerError
├── NotJson              an argument or a result is not JSON (also a TypeError)
├── PayloadTooLarge      an argument list is over the size cap (also a ValueError)
│   └── ResultTooLarge   so is what a task returned
├── DuplicateTask        two tasks of one name (also a ValueError)
├── UnknownTask          no task of that name is declared (also a LookupError)
├── UnknownJob           no job of that id is in the file (also a LookupError)
├── JobFailed            the job whose result was asked for did not succeed
├── UnusableDatabase     the file cannot be used; the message says why and what to do
│   └── DatabaseGone     it was moved, replaced or deleted while it was in use
├── QueueUnavailable     the file cannot be written right now; trying again may help
│   └── DiskFull         there is no room; nothing was stored
├── SeatLost             the worker lost its proof of life and must stop
└── BadUrl               the URL names no engine we have (also a ValueError)

SoftTimeout is raised inside a task whose time is over.
"""

from __future__ import annotations


class BgWorkerError(Exception):
    """Root of everything bgworker raises on purpose."""


class NotJson(BgWorkerError, TypeError):
    """An argument or a result is not JSON."""


class PayloadTooLarge(BgWorkerError, ValueError):
    """An argument list or a result is larger than the cap."""


class ResultTooLarge(PayloadTooLarge):
    """What a task returned is larger than the cap; the job has failed and is not tried again."""


class DuplicateTask(BgWorkerError, ValueError):
    """Two tasks were declared under one name."""


class UnknownTask(BgWorkerError, LookupError):
    """No task of that name is declared."""


class UnknownJob(BgWorkerError, LookupError):
    """No job of that id is stored (never was, or retention removed it)."""


class BadUrl(BgWorkerError, ValueError):
    """The URL names no engine that is installed."""


class UnusableDatabase(BgWorkerError):
    """The file cannot be used as a queue; nothing was changed."""


class NewerSchema(UnusableDatabase):
    """The file was written by a newer bgworker."""


class DatabaseGone(UnusableDatabase):
    """The file in use is no longer the one at its path; nothing was stored in it."""


class QueueUnavailable(BgWorkerError):
    """The file cannot be written right now (locked by a foreign program, disk full, I/O error)."""


class DiskFull(QueueUnavailable):
    """There is no room on the disk: nothing was stored. Trying again helps when there is."""


class SeatLost(BgWorkerError):
    """The worker's proof of life was removed: others may run its jobs, so it must stop."""


class JobFailed(BgWorkerError):
    """The job ended without a result; ``kind`` and ``detail`` say how.

    Attributes:
        state: how it ended: ``failed``, ``dead`` or ``cancelled``.
        kind: the exception's type name, or what happened to the process.
        detail: its message.
        traceback: the task's traceback as text, empty when there is none.
    """

    def __init__(self, state: str, kind: str, detail: str, traceback: str = "") -> None:
        super().__init__(f"job {state}: {kind}: {detail}" if detail else f"job {state}: {kind}")
        self.state = state
        self.kind = kind
        self.detail = detail
        self.traceback = traceback


class SoftTimeout(Exception):
    """Raised inside a task that has run longer than its ``timeout``."""

    def __init__(self, message: str = "the task has run longer than its timeout") -> None:
        super().__init__(message)
