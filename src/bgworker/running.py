"""What a task can say and ask while it runs: ``progress()`` and ``current_job()``.

Outside a task both do nothing, so that a function can be called with or without the queue.
"""

from __future__ import annotations

import math
from typing import Protocol

from bgworker.callbacks import JobRun


class Host(Protocol):
    """The process that runs tasks."""

    def job(self) -> JobRun | None:
        """What it runs; for the calling thread, where there are several."""
        ...

    def progress(self, n: float, total: float | None, text: str) -> None:
        """Pass on what the task says of its progress."""
        ...


_host: Host | None = None


def set_host(host: Host) -> None:
    """From now on this process runs tasks."""
    global _host  # noqa: PLW0603 - a process is one thing, and tasks hold no reference to it
    _host = host


def progress(n: float, total: float | None = None, text: str = "") -> None:
    """Say that the running job has done ``n`` of ``total``; seen by ``Handle.progress``.

    Cheap enough for an inner loop: what comes too often is left out, never the last word. Outside a
    task, and in a process that the task started, it does nothing.

    Raises:
        TypeError: ``n`` or ``total`` is no number, or ``text`` no string.
        ValueError: ``n`` or ``total`` is infinite, not a number, or too large for a float.
    """
    if not (_is_amount(n) and (total is None or _is_amount(total))):
        raise ValueError(f"progress({n!r:.80}, {total!r:.80}): there is no such amount")
    if not isinstance(text, str):
        raise TypeError(f"progress(…, text={text!r}): the text must be a string")
    if _host is not None:
        _host.progress(n, total, text)


def _is_amount(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def current_job() -> JobRun | None:
    """The job that is running here, ``None`` outside a task."""
    return _host.job() if _host is not None else None
