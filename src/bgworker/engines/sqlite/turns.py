"""Waiting for a file lock with an end to it.

``flock`` knows no time limit, and a signal to end it belongs to the application. So a thread waits
in the place of whoever may want to stop waiting; what it is given too late it gives back.
"""

from __future__ import annotations

import fcntl
import functools
import os
import threading
from collections.abc import Callable

from bgworker.lock import Lock

_IDLE = 1.0
"""Seconds without a wish after which the thread ends: a process that forks is better off alone."""


class _Wish:
    """Somebody waits. ``decided`` is taken by the thread to give, or by him to give up."""

    __slots__ = ("decided", "given")

    def __init__(self) -> None:
        self.given = threading.Lock()
        self.decided = threading.Lock()


class StandIn:
    """Waits for a lock in the place of one caller at a time."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._name = f"bgworker waits for {path}"
        self._door = Lock()
        self._asked = threading.Lock()  # free while there is a wish the thread has not seen
        self._wish = _Wish()
        self._serves = False
        self._closed = False
        self.release: Callable[[], None] = functools.partial(fcntl.flock, self._fd, fcntl.LOCK_UN)
        """Let go of what :meth:`wait` gave; a call into C all through."""

    def wait(self, seconds: float) -> bool:
        """Whether the lock is the caller's now; a signal's handler that raises ends the wait."""
        wish = _Wish()
        wish.given.acquire()
        try:
            self._ask(wish)
            return wish.given.acquire(timeout=seconds) or not wish.decided.acquire(blocking=False)
        except BaseException:
            if not wish.decided.acquire(blocking=False):
                self.release()
            raise

    def forget(self) -> None:
        """In a forked child: the thread stayed behind, and what it waits for is the parent's."""
        os.close(self._fd)

    def close(self) -> None:
        """Free the file: now, or when the thread has come to the end of its wait."""
        with self._door:
            self._closed = True
            if not self._serves:
                os.close(self._fd)

    def _ask(self, wish: _Wish) -> None:
        with self._door:
            self._wish = wish
            if not self._serves:
                self._serves = True  # before the start, which a signal can interrupt
                threading.Thread(target=self._serve, name=self._name, daemon=True).start()
            elif self._asked.locked():
                self._asked.release()

    def _serve(self) -> None:
        self._asked.acquire(blocking=False)
        self._grant()
        while self._asked.acquire(timeout=_IDLE) or not self._ends():
            self._grant()

    def _grant(self) -> None:
        if self._wish.decided.locked():  # by an earlier turn, or it was given up
            return
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        wish = self._wish  # perhaps another than before: the one who asks now
        if wish.decided.acquire(blocking=False):
            wish.given.release()
        else:
            self.release()

    def _ends(self) -> bool:
        with self._door:
            if self._asked.acquire(blocking=False):
                return False
            self._serves = False
            if self._closed:
                os.close(self._fd)
            return True
