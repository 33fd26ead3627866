"""What a run says of its progress, on its way to the supervisor; and what is known of the run."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from bgworker.app import Task
from bgworker.callbacks import JobRun
from bgworker.codec import dump_progress
from bgworker.lock import Lock
from bgworker.model import JobId, Progress
from bgworker.worker.frames import Order, pack_report, write_all

RATE = 20.0
"""Words on progress a run may send each second in the long term; the supervisor stores fewer."""
BURST = 10.0
"""Words it may send at once. So the last one before a long silence is rarely one left out."""
_TEXT_LIMIT = 300
"""Characters: a frame that fits into PIPE_BUF is written whole, whatever signal comes."""


class Voice:
    """Belongs to one child; threads of the task may use it, its copies in other processes not."""

    def __init__(self, tasks: Sequence[Task[Any, Any]], reports: int) -> None:
        self._tasks = tasks
        self._reports = reports
        self._pid = os.getpid()
        self._order: Order | None = None
        self._allowance = BURST
        self._said_at = 0.0
        self._held_back: Progress | None = None
        self._turn = Lock()

    def begin(self, order: Order) -> None:
        """This run begins."""
        self._order = order

    def end(self) -> None:
        """The run is over: send its last word if that was held back, and hear no other."""
        with self._turn:
            if self._held_back is not None:
                self._send(self._held_back)
                self._held_back = None
            self._order = None

    def job(self) -> JobRun | None:
        """See :func:`bgworker.current_job`."""
        order = self._order
        if order is None:
            return None
        return JobRun(JobId(order.id), self._tasks[order.task].name, order.attempt)

    def progress(self, n: float, total: float | None, text: str) -> None:
        """See :func:`bgworker.progress`."""
        if os.getpid() != self._pid:
            return
        at, now = time.time_ns() // 1_000_000, time.monotonic()
        said = Progress(_plain(n), None if total is None else _plain(total), text[:_TEXT_LIMIT], at)
        with self._turn:
            self._allowance = min(BURST, self._allowance + (now - self._said_at) * RATE)
            self._said_at = now
            if self._allowance >= 1:
                self._allowance -= 1
                self._held_back = None
                self._send(said)
            else:
                self._held_back = said

    def _send(self, said: Progress) -> None:
        if self._order is not None:
            body = dump_progress(said)
            write_all(self._reports, pack_report(self._order, "said", said.at, 0, body))


def _plain(number: float) -> float:
    """Numbers of other libraries as Python's own, which JSON knows."""
    return number if type(number) is int else float(number)
