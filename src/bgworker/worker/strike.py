"""Raising an exception in another thread, but only while a task runs there."""

from __future__ import annotations

import ctypes
import threading
import time
from typing import TYPE_CHECKING

from bgworker.errors import SoftTimeout

if TYPE_CHECKING:
    from bgworker.worker.awaiting import Awaiting

STRIKES = (SoftTimeout, SystemExit)
"""What may be raised."""


class Target:
    """Belongs to the thread that runs tasks; only the last two methods are for another one.

    Each of those raises at most once in a run. What is raised is seen at the next bytecode: a call
    into C goes on until it returns, unless it is the waiting of an event loop, which is woken.

    While it may be hit, the thread itself takes no lock: it would be hit with that in its hands,
    and Python 3.14 does not guard the first moment in the body of a ``with``.
    """

    def __init__(self) -> None:
        self.inside = False
        """Whether a task runs. Set to false, nothing more is raised but what is on its way: to be
        done first of all when it ends, as a call of a method may already be hit."""
        self.deadline: float | None = None
        """When the soft timeout is due, on the monotonic clock."""
        self._thread = 0
        self._turn = threading.Lock()
        self._job: tuple[str, int] | None = None
        self._stopped = False
        self._awaiting: Awaiting | None = None

    def expect(self, job: tuple[str, int]) -> None:
        """This job, by id and claim, comes next; from now on it can be stopped."""
        with self._turn:
            self._job, self.inside, self._stopped = job, False, False

    def enter(self, timeout: float | None) -> float | None:
        """The task begins; when its time is over. Raises ``SystemExit``: it was stopped before."""
        with self._turn:
            self._thread = threading.get_ident()
            self.inside = True
            deadline = self.deadline = None if timeout is None else time.monotonic() + timeout
            if self._stopped:
                raise SystemExit
        return deadline

    def awaits(self, awaiting: Awaiting) -> None:
        """The task is a coroutine."""
        self._awaiting = awaiting

    def leave(self) -> None:
        """The task has ended; when this returns, nothing is raised any more.

        Raises what came when the task had ended already, if it comes as this begins: call it again.
        """
        self.inside = False
        try:
            self._see_it_through()
        except STRIKES:
            self._see_it_through()
        self._job = self._awaiting = self.deadline = None

    def _see_it_through(self) -> None:
        while self._turn.locked():  # somebody who saw that a task runs may be about to raise
            time.sleep(0)
        _raise_in(self._thread, None)

    def check_time(self, now: float) -> None:
        """Raise ``SoftTimeout`` in the task if it has run longer than it may."""
        with self._turn:
            deadline, awaiting = self.deadline, self._awaiting
            if self.inside and deadline is not None and deadline <= now:
                again = None if awaiting is None else awaiting.cancel()
                self.deadline = None if again is None else now + again
                if again is None:
                    self._strike(SoftTimeout)

    def stop(self, job: tuple[str, int]) -> None:
        """Raise ``SystemExit`` in this job; nothing happens when it is not, or no longer, here."""
        with self._turn:
            if self._job == job and not self._stopped:
                self._stopped = True
                if self.inside:
                    self._strike(SystemExit)

    def _strike(self, kind: type[BaseException]) -> None:
        awaiting = self._awaiting
        _raise_in(self._thread, kind)
        if awaiting is not None:
            awaiting.wake()


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """``None`` takes back what was not seen yet."""
    wanted = ctypes.py_object() if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), wanted)
