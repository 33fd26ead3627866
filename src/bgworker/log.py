"""One line per event on stderr: JSON for machines, text for a terminal."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import stat
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from bgworker.clock import Clock, SystemClock

EVENTS: Final = {
    "worker_start": "info",
    "worker_stop": "info",
    "cron_enqueued": "info",
    "task_start": "info",
    "task_success": "info",
    "task_retry": "warning",
    "task_failed": "error",
    "task_dead": "error",
    "task_timeout": "warning",
    "task_crash": "error",
    "task_released": "info",
    "task_cancelled": "info",
    "task_unknown": "error",
    "rescued": "warning",
    "stale_write": "warning",
    "child_lost": "warning",
    "heartbeat_error": "error",
    "cleanup": "info",
    "health_lost": "error",
}
"""Every event and its level."""

STYLES: Final = ("json", "text")

_SURELY_ONE_PIECE = select.PIPE_BUF // 4
"""Characters that are never more bytes than a pipe takes at once."""
_NEVER_CUT = 40
"""Characters of a text that are left alone: of a handful of texts so long a line can be made."""


class Log:
    """Collects lines and writes them together; one owner, one thread.

    Formatting is by hand on the two lines every job has: at 15,000 jobs a second ``json.dumps``
    alone would take a tenth of the worker.
    """

    def __init__(
        self, worker: str, *, style: str | None = None, fd: int = 2, clock: Clock | None = None
    ) -> None:
        self._worker = worker
        self._json = (style or chosen_style(fd)) == "json"
        self._fd = fd
        self._clock = clock or SystemClock()
        self._lines: list[str] = []
        self._heads: dict[tuple[str, str | None], str] = {}
        self._now = -1
        self._date = ""
        self._stamp = ""
        self._tail = _Tail.of(fd)

    def emit(
        self, event: str, task: str | None = None, job_id: str | None = None, **fields: Any
    ) -> None:
        """Note an event of :data:`EVENTS`; fields that are ``None`` are left out."""
        now = self._clock.now()
        if self._json:
            head = self._heads.get((event, task)) or self._head(event, task)
            line = f'{{"ts":"{self._time(now)}{head}'
            if job_id is not None:
                line += f',"job_id":"{job_id}"'
            for name, value in fields.items():
                if value is not None:
                    line += f',"{name}":{_literal(value)}'
            line += "}\n"
        else:
            words = task and _plain(task)
            said = [self._time(now)[11:19], event, words, job_id and f"#{job_id}"]
            said += [
                f"{name}={_plain(value)}" for name, value in fields.items() if value is not None
            ]
            line = " ".join(word for word in said if word) + "\n"
        if len(line) > _SURELY_ONE_PIECE and len(_bytes(line)) > select.PIPE_BUF:
            self.emit(event, _shortened(task), job_id, **_all_shortened(fields))
            return
        self._lines.append(line)

    def flush(self) -> None:
        """Write what was collected; a reader that has gone away is no reason to stop working."""
        if not self._lines:
            return
        data = _bytes("".join(self._lines))
        self._lines.clear()
        start = 0
        try:
            if self._tail is not None:
                data = self._tail.line_end(len(data)) + data
            while start < len(data):
                start += os.write(self._fd, data[start : _end_of_piece(data, start)])
        except OSError:
            return

    def _head(self, event: str, task: str | None) -> str:
        head = f'Z","level":"{EVENTS[event]}","event":"{event}","worker":{_dumps(self._worker)}'
        if task is not None:
            head += f',"task":{_dumps(task)}'
        self._heads[event, task] = head
        return head

    def _time(self, now: int) -> str:
        if now != self._now:  # lines come many in a millisecond
            second, millis = divmod(now, 1000)
            if second != self._now // 1000:
                self._date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._now = now
            self._stamp = f"{self._date}.{millis:03d}"
        return self._stamp


class _Tail:
    """The end of a log file to which tasks print as well: a line of ours begins a line."""

    def __init__(self, fd: int, reader: int) -> None:
        self._fd = fd
        self._reader = reader
        self._size = -1

    @classmethod
    def of(cls, fd: int) -> _Tail | None:
        """``None`` for what cannot be looked at: a terminal, a pipe."""
        with contextlib.suppress(OSError):
            if stat.S_ISREG(os.fstat(fd).st_mode):
                return cls(fd, os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC))
        return None

    def line_end(self, coming: int) -> bytes:
        """What has to come before our next bytes: nothing, or the end that another's line lacks."""
        size = os.fstat(self._fd).st_size
        missing = size not in {0, self._size} and os.pread(self._reader, 1, size - 1) != b"\n"
        self._size = size + missing + coming
        return b"\n" if missing else b""


def _end_of_piece(data: bytes, start: int) -> int:
    """Where to cut: a pipe that tasks print to as well takes only so much in one piece."""
    limit = start + select.PIPE_BUF
    if limit >= len(data):
        return len(data)
    return data.rfind(b"\n", start, limit) + 1 or limit


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _shortened(text: str | None) -> str | None:
    """The half of a long text that tells most: its beginning."""
    if text is None or len(text) <= _NEVER_CUT:
        return text
    return f"{text[: len(text) // 2]}…"


def _all_shortened(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _shortened(value if isinstance(value, str) else str(value))
        if value is not None and not isinstance(value, int | float)
        else value
        for name, value in fields.items()
    }


def chosen_style(fd: int = 2) -> str:
    """``$BGWORKER_LOG``, else text on a terminal and JSON anywhere else."""
    chosen = os.environ.get("BGWORKER_LOG", "")
    if chosen in STYLES:
        return chosen
    return "text" if os.isatty(fd) else "json"


def _literal(value: object) -> str:
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return repr(value)
    return _dumps(value)


def _dumps(value: object) -> str:
    return json.dumps(value, default=str)


def _plain(value: object) -> str:
    """A value for a terminal: one line, and no control character of a task's message in it."""
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return text if text.isprintable() else json.dumps(text)


def printable(text: str) -> str:
    """Text that cannot move a terminal's cursor: what is not printable is shown escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def complain(message: str) -> None:
    """One line for the person at the command line."""
    sys.stderr.write(f"bgworker: {printable(message)}\n")
