"""Raising an exception in another thread, but only while a task runs there."""

from __future__ import annotations

import ctypes
import threading
import time
from typing import TYPE_CHECKING

from bgworker.errors import SoftTimeout

if TYPE_CHECKING:
    from bgworker.worker.awaiting import Awaiting

_STRIKES = (SoftTimeout, SystemExit)


class Target:
    """Belongs to the thread that runs tasks; only the last two methods are for another one.

    Each of those raises at most once in a run. What is raised is seen at the next bytecode: a call
    into C goes on until it returns, unless it is the waiting of an event loop, which is woken.
    """

    def __init__(self) -> None:
        self.deadline: float | None = None
        """When the soft timeout is due, on the monotonic clock."""
        self._thread = 0
        self._turn = threading.Lock()
        self._job: tuple[str, int] | None = None
        self._inside = False
        self._stopped = False
        self._awaiting: Awaiting | None = None

    def expect(self, job: tuple[str, int]) -> None:
        """This job, by id and claim, comes next; from now on it can be stopped."""
        with self._turn:
            self._job, self._inside, self._stopped = job, False, False

    def enter(self, timeout: float | None) -> float | None:
        """The task begins; when its time is over. Raises ``SystemExit``: it was stopped before."""
        with self._turn:
            self._thread = threading.get_ident()
            self._inside = True
            deadline = self.deadline = None if timeout is None else time.monotonic() + timeout
            if self._stopped:
                raise SystemExit
        return deadline

    def awaits(self, awaiting: Awaiting) -> None:
        """The task is a coroutine."""
        with self._turn:
            self._awaiting = awaiting

    def leave(self) -> None:
        """The task has ended; when this returns, nothing is raised any more."""
        while True:
            try:
                with self._turn:
                    self._inside = False
                    self._job = self._awaiting = self.deadline = None
                    _raise_in(self._thread, None)
            except _STRIKES:  # it came when the task had ended already
                continue
            return

    def check_time(self, now: float) -> None:
        """Raise ``SoftTimeout`` in the task if it has run longer than it may."""
        with self._turn:
            if self._inside and self.deadline is not None and self.deadline <= now:
                again = None if self._awaiting is None else self._awaiting.cancel()
                self.deadline = None if again is None else now + again
                if again is None:
                    self._strike(SoftTimeout)

    def stop(self, job: tuple[str, int]) -> None:
        """Raise ``SystemExit`` in this job; nothing happens when it is not, or no longer, here."""
        with self._turn:
            if self._job == job and not self._stopped:
                self._stopped = True
                if self._inside:
                    self._strike(SystemExit)

    def _strike(self, kind: type[BaseException]) -> None:
        _raise_in(self._thread, kind)
        if self._awaiting is not None:
            self._awaiting.wake()


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """``None`` takes back what was not seen yet."""
    wanted = ctypes.py_object() if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), wanted)
