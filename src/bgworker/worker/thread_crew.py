"""A crew whose members are threads of one process, each a child to the rest of the worker."""

from __future__ import annotations

import array
import contextlib
import os
import selectors
import socket
import time
from typing import Any

from bgworker.model import Claim
from bgworker.values import dataclass, field
from bgworker.worker.crew import GARBLED, SWEPT, Crew, Died, Finished, Outcome
from bgworker.worker.forker import Exited, Forked
from bgworker.worker.frames import Report
from bgworker.worker.pool import Child

_PATIENCE = 0.5
"""Seconds a run has to end by itself when it is told to; then its process is killed."""

_LONGEST = 64  # bytes of what a process says of itself


@dataclass(slots=True, eq=False)
class Shared:
    """A process and the slots whose threads are in it. ``key`` is its name to the zygote."""

    key: int
    control: socket.socket
    pid: int | None = None
    pidfd: int | None = None
    slots: set[int] = field(default_factory=set)
    killed: bool = False

    def open(self, slot: int, *fds: int) -> None:
        """Have it start a thread; if it is dead, the zygote will say so."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.control.sendmsg([f"open {slot}".encode()], rights)

    def stop(self, claim: Claim) -> None:
        """Tell a run to end. What is not heard in time will be killed."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            words = f"stop {claim.id} {claim.number}".encode()
            self.control.send(words, socket.MSG_DONTWAIT)

    def hear(self) -> bytes:
        """What it says; empty when it has died. Raises ``BlockingIOError``: nothing now."""
        try:
            return self.control.recv(_LONGEST, socket.MSG_DONTWAIT)
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        """Close our ends; with its lanes closed too, the process then leaves by itself."""
        self.control.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None


class ThreadCrew(Crew):
    """New jobs go to one process; others that may still be there run their last ones."""

    pool_name = "thread"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._processes: dict[int, Shared] = {}
        self._newest: Shared | None = None
        self._forked = 0
        self._home: dict[int, Shared] = {}
        self._told: dict[int, float] = {}
        """Slots whose runs were told to end, and until when they may take for it."""

    def kill(self, child: Child, reason: str) -> None:
        """Kill the child's process; all runs that die with it are told with this reason."""
        self._kill_all(self._home[child.slot], reason)

    def _kill_all(self, process: Shared, reason: str) -> None:
        for member in self._members(process):
            member.stopped_for = member.stopped_for or reason
            self._told.pop(member.slot, None)
        if self._newest is process:
            self._newest = None
        if process.pid is not None and not process.killed:
            process.killed = True
            self._forker.kill(process.pid)

    def stop(self, child: Child, reason: str) -> None:
        """Tell a run to end; at the second time, which :meth:`overdue` asks for, end its process.

        The other runs there are then told as swept.
        """
        if child.stopped_for is not None:
            self.kill(child, SWEPT)
            return
        child.stopped_for = reason
        self._told[child.slot] = time.monotonic() + _PATIENCE
        self._home[child.slot].stop(child.held[0])

    def overdue(self, now: float) -> tuple[list[Child], float | None]:
        """As for processes; and those that were told to end and have not."""
        late, due = super().overdue(now)
        late += [self.pool.children[slot] for slot, at in self._told.items() if at <= now]
        later = [at for at in self._told.values() if at > now]
        return late, min([*later, *([] if due is None else [due])], default=None)

    def close(self) -> None:
        """Let idle threads end, then their process, then the zygote and with it who did not."""
        for process in self._processes.values():
            self._hang_up(process)
        super().close()

    def _members(self, process: Shared) -> list[Child]:
        return [self.pool.children[slot] for slot in sorted(process.slots)]

    def _spawn(self, slot: int) -> None:
        if self._newest is None:
            self._newest = self._fork()
        process = self._newest
        fds = self._add_child(slot)
        self._home[slot] = process
        process.slots.add(slot)
        _move_in(self.pool.children[slot], process)
        try:
            process.open(slot, *fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _fork(self) -> Shared:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = Shared(self._forked, ours)
        self._forked += 1
        self._processes[process.key] = process
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._on_words(process))
        self._forker.fork(process.key, theirs.detach())
        return process

    def _on_forked(self, news: Forked) -> None:
        process = self._processes[news.slot]
        process.pid = news.pid
        with contextlib.suppress(ProcessLookupError):  # dead already: the next news will tell
            process.pidfd = os.pidfd_open(news.pid)
        for child in self._members(process):
            _move_in(child, process)

    def _on_exited(self, news: Exited) -> None:
        process = self._processes[news.slot]
        self._on_words(process)
        self._give_up(process)
        self._bury(self._members(process), news.pid, news.status)

    def _on_zygote_lost(self) -> None:
        for process in list(self._processes.values()):
            self._give_up(process)
        super()._on_zygote_lost()

    def _give_up(self, process: Shared) -> None:
        self._hang_up(process)
        del self._processes[process.key]
        if self._newest is process:
            self._newest = None

    def _hang_up(self, process: Shared) -> None:
        with contextlib.suppress(KeyError, ValueError):  # done when it hung up, or before
            self._selector.unregister(process.control)
        process.close()

    def _on_words(self, process: Shared) -> None:
        """Hear which threads have left, because the time of their process is over."""
        if process.control.fileno() < 0:
            return
        with contextlib.suppress(BlockingIOError):
            while message := process.hear():
                word, _, slot = message.partition(b" ")
                if word == b"left" and slot.isdigit() and int(slot) in process.slots:
                    self._replace(process, int(slot))
                else:  # a task wrote this: into which descriptors else, nobody knows
                    self._kill_all(process, GARBLED)
            with contextlib.suppress(KeyError):
                self._selector.unregister(process.control)  # why, the zygote will tell

    def _replace(self, process: Shared, slot: int) -> None:
        if self._newest is process:
            self._newest = None
        child = self.pool.children[slot]
        self._receive(child)
        self.pool.recall(child)
        if not child.held:  # else it cannot be told from one that died, and its process will
            self._forget(child)
            if not self._closing:
                self._spawn(slot)

    def _forget(self, child: Child) -> None:
        super()._forget(child)
        self._home.pop(child.slot).slots.discard(child.slot)
        self._told.pop(child.slot, None)

    def _ending(self, child: Child, claim: Claim, report: Report) -> Outcome:
        """A run that was told to end and did has ended for that reason, unless it was ready."""
        reason, until = child.stopped_for, self._told.pop(child.slot, None)
        if until is None or reason is None:
            return Finished(claim, report)
        child.stopped_for = None
        if report.kind == "ok":
            return Finished(claim, report)
        return Died(claim, 0, reason, report.started_at)


def _move_in(child: Child, process: Shared) -> None:
    """The process may not be forked yet; that is made up for when it is."""
    child.pid = process.pid
    if process.pidfd is not None:
        child.pidfd = os.dup(process.pidfd)
