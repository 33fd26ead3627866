"""Waking up when the process of another worker ends: its jobs need not wait for the next tick."""

from __future__ import annotations

import contextlib
import os
import selectors
import time

from bgworker.contracts import Engine, Membership

_ALERT = 1.0
"""Seconds after an end in which locks are looked at often: the worker's other processes die a
little later than its supervisor."""
_OFTEN = 0.02


class Vigil:
    """Watches the processes that the engine names; a look at the locks follows the end of one.

    Only the engine can prove a death. A process id may mean another process here than where it was
    written down, in another container: then it is watched in vain, and the next tick finds what
    there is to find.
    """

    def __init__(self, selector: selectors.BaseSelector, engine: Engine, seat: Membership) -> None:
        self._selector = selector
        self._engine = engine
        self._seat = seat
        self._watched: dict[int, int] = {}
        self._ended: set[int] = set()
        self._alert_until = 0.0
        self._rang = False

    def renew(self) -> None:
        """Watch those who came, forget those who left."""
        pids = self._engine.peers(self._seat)
        for pid in self._watched.keys() - pids:
            self._forget(pid)
        self._ended &= pids
        for pid in pids - self._watched.keys() - self._ended:
            self._watch(pid)

    def look_after(self, usual: float) -> float:
        """Seconds until the next look, which is after ``usual`` seconds when nothing happened."""
        return _OFTEN if time.monotonic() < self._alert_until else usual

    def take(self) -> bool:
        """Whether a process has ended since the last call."""
        rang, self._rang = self._rang, False
        return rang

    def close(self) -> None:
        """Watch nobody any more."""
        for pid in list(self._watched):
            self._forget(pid)

    def _watch(self, pid: int) -> None:
        # Gone already, of another container, or a kernel that cannot: the tick is there for that.
        with contextlib.suppress(OSError):
            fd = os.pidfd_open(pid)
            self._watched[pid] = fd
            self._selector.register(fd, selectors.EVENT_READ, lambda: self._on_end(pid))

    def _on_end(self, pid: int) -> None:
        self._forget(pid)
        self._ended.add(pid)
        self._alert_until = time.monotonic() + _ALERT
        self._rang = True

    def _forget(self, pid: int) -> None:
        fd = self._watched.pop(pid)
        self._selector.unregister(fd)
        os.close(fd)
