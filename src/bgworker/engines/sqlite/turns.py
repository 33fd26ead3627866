"""Waiting for a file lock with an end to it, and saying who is in the way.

``flock`` knows no time limit, and a signal to end it belongs to the application. So a thread waits
in the place of whoever may want to stop waiting; what it is given too late it gives back.
"""

from __future__ import annotations

import fcntl
import functools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

_IDLE = 1.0
"""Seconds without a wish after which the thread ends: a process that forks is better off alone."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock; a stopped one does not let go."""

    pid: int
    is_stopped: bool


def holder_of(path: str) -> Holder | None:
    """Who holds the lock of this file, as far as can be seen from this container."""
    try:
        inode = os.stat(path).st_ino
        with open("/proc/locks", encoding="ascii", errors="replace") as file:
            held = [line.split() for line in file if "FLOCK" in line and "->" not in line]
        for words in held:
            if words[5].rpartition(":")[2] == str(inode):
                pid = int(words[4])
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                    state = file.read().rpartition(")")[2].split()[0]
                return Holder(pid, is_stopped=state in {"T", "t"})
    except (OSError, ValueError, IndexError):  # gone meanwhile, or of another container
        return None
    return None


def in_the_way(holder: Holder | None, path: str, seconds: float) -> str:
    """What to tell who has waited for this lock in vain, so long if it is not for a stopped one."""
    if holder is None:
        return f"another process has kept {path} locked for {seconds:g} s: nothing was stored"
    if not holder.is_stopped:
        return f"process {holder.pid} has kept {path} locked for {seconds:g} s: nothing was stored"
    return (
        f"process {holder.pid} is stopped and keeps {path} locked, nothing was stored: "
        f"let it go on with kill -CONT {holder.pid}, or end it"
    )


@dataclass(frozen=True, slots=True)
class _Wish:
    """Somebody waits. ``decided`` is taken by the thread to give, or by him to give up."""

    given: threading.Lock = field(default_factory=threading.Lock)
    decided: threading.Lock = field(default_factory=threading.Lock)


class StandIn:
    """Waits for a lock in the place of one caller at a time."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._name = f"bgworker waits for {path}"
        self._door = threading.Lock()
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
