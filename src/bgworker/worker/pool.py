"""The children of a worker as the supervisor sees them: who holds what, and who may get more."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import time
from collections import deque

from bgworker.model import Claim, JobId
from bgworker.values import dataclass, field
from bgworker.worker.frames import (
    Garbled,
    Report,
    attachment,
    begins,
    pack_order,
    receive_order,
    take_reports,
    unpack_order,
)
from bgworker.worker.pace import DEPTH, HORIZON, Pace

RECALL_AFTER = 0.005
"""Seconds a run may take before the jobs waiting behind it are taken back."""
_AHEAD_FROM = 8
"""Jobs a child holds in advance from which on as many again are claimed ahead."""
_READ = 64 * 1024
"""What a pipe holds at most."""


@dataclass(slots=True)
class Child:
    """One child process. ``held`` is what it was sent and has not reported, the running one first.

    ``jobs_end`` is the child's own end of its socket: reading from it takes messages back.
    """

    slot: int
    jobs: socket.socket
    jobs_end: socket.socket
    reports: int
    pid: int | None = None
    held: deque[Claim] = field(default_factory=deque)
    costs: deque[float] = field(default_factory=deque)
    load: float = 0.0
    """Seconds of work held, by the expectations (``costs``) of the time each was sent."""
    head_since: float = 0.0
    buffer: bytearray = field(default_factory=bytearray)
    stopped_for: str | None = None
    """Why we killed it, if we did."""
    pidfd: int | None = None
    deaf: bool = False
    """Its end of the report pipe is closed: there is nothing to wait for any more."""
    garbled: bool = False
    """Its pipe brought what it cannot have reported: nothing it says counts any more."""

    def drop_head(self) -> Claim:
        """Take what was running out of the books."""
        self.load -= self.costs.popleft()
        if not self.costs:
            self.load = 0.0  # no rounding error outlives an idle moment
        return self.held.popleft()

    def give_up(self, taken: set[tuple[str, int]]) -> list[Claim]:
        """Take these out of the books, in their order."""
        pairs = list(zip(self.held, self.costs, strict=True))
        gone = [claim for claim, _ in pairs if (claim.id, claim.number) in taken]
        kept = [(c, cost) for c, cost in pairs if (c.id, c.number) not in taken]
        self.held = deque(claim for claim, _ in kept)
        self.costs = deque(cost for _, cost in kept)
        self.load = sum(self.costs)
        return gone

    def close(self) -> None:
        """Close our ends; an idle child then leaves by itself."""
        self.jobs.close()
        self.jobs_end.close()
        os.close(self.reports)
        if self.pidfd is not None:
            os.close(self.pidfd)


def new_child(slot: int) -> tuple[Child, int, int]:
    """A child that is still to be forked, and the two descriptors it needs (to be closed here)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    reports, report_end = os.pipe()
    os.set_blocking(reports, False)
    return Child(slot, ours, theirs, reports), os.dup(theirs.fileno()), report_end


class Pool:
    """Decides which child gets which job. One thread."""

    def __init__(self, numbers: dict[str, int], depth: int = DEPTH) -> None:
        self.numbers = numbers
        """Task name → its number in the zygote's list."""
        self._depth = min(DEPTH, depth)
        self.pace = Pace()
        self.children: dict[int, Child] = {}
        self.backlog: deque[Claim] = deque()
        self._sated = False
        self._looked_at = 0.0
        self._started: list[Claim] = []
        self._told: set[tuple[JobId, int]] = set()
        """Claims whose start was told too early: the child had not read them when it was asked."""

    def appetite(self) -> int:
        """How many jobs to claim now: for every idle child, and ahead when jobs are short."""
        depth = 1 if self._sated else min(self._depth, self.pace.depth())
        ready = self._ready()
        room = sum(max(0, depth - len(child.held)) for child in ready)
        ahead = depth * len(ready) if depth >= _AHEAD_FROM else 0
        return max(0, room + ahead - len(self.backlog))

    def dispatch(self) -> list[Claim]:
        """Hand the backlog out; returns the claims no child may hold now, to be given back.

        When jobs are short, what the children have no room for waits here: they are given more
        while the next transaction is under way.
        """
        refused = []
        ready = self._ready()
        while self.backlog:
            claim = self.backlog[0]
            cost = self.pace.of(claim.task)
            child = _taker(ready, cost, self._depth)
            if child is None and ready and cost * _AHEAD_FROM <= HORIZON and not self._sated:
                break
            self.backlog.popleft()
            if child is None or not self._send(child, claim, cost):
                refused.append(claim)
        # What was claimed ahead and may not wait here would be claimed and refused for ever:
        # claim for idle children only, until a run has ended and the pace is known better.
        self._sated = self._sated or bool(refused)
        self._forget(refused)
        return refused

    def receive(self, child: Child) -> tuple[list[tuple[Claim, Report, Claim | None]], bool]:
        """What a child has reported so far, and whether that was all it ever will.

        In the order it ran: the claim, what it said or how it ended, and in the latter case the
        claim the child went on with. When a task has used the pipe, nothing after that is believed.
        """
        if child.garbled:
            return [], True
        closed = False
        with contextlib.suppress(BlockingIOError):
            while True:
                data = os.read(child.reports, _READ)
                child.buffer += data
                if len(data) < _READ:
                    closed = not data
                    break
        done: list[tuple[Claim, Report, Claim | None]] = []
        now = time.monotonic()
        try:
            while reports := take_reports(child.buffer):
                done.extend(self._hear(child, report, now) for report in reports)
            child.garbled = bool(child.buffer) and not _begins_well(child)
        except Garbled:
            child.garbled = True
        return done, closed or child.garbled

    def _hear(self, child: Child, report: Report, now: float) -> tuple[Claim, Report, Claim | None]:
        claim = child.held[0] if child.held else None
        if claim is None or (claim.id, claim.number) != (report.id, report.number):
            raise Garbled(f"a child reported job {report.id}, which it was not to run")
        if report.kind == "said":
            return claim, report, None
        child.drop_head()
        child.head_since = now
        self.pace.note(claim.task, report.micros / 1e6)
        self._sated = False
        following = child.held[0] if child.held else None
        return claim, report, following if following and self._is_news(following) else None

    def recall(self, child: Child) -> None:
        """Take back what the child has not begun to read; it goes to the front of the backlog.

        The child reads on meanwhile, so what was taken is known by its names, not by its number.
        """
        taken: set[tuple[str, int]] = set()
        head = child.held[0] if child.held else None
        with contextlib.suppress(BlockingIOError):
            while True:
                # Not waiting is asked of this call: the end's mode is shared with the child.
                message, attached = receive_order(child.jobs_end, socket.MSG_DONTWAIT)
                if not message:
                    break
                order = unpack_order(message, attached)
                taken.add((order.id, order.number))
        given_up = child.give_up(taken)
        if head is not None and given_up[:1] == [head]:
            self._told.add((head.id, head.number))
        self.backlog.extendleft(reversed(given_up))

    def withdraw(self, unwanted: frozenset[tuple[JobId, int]]) -> list[Claim]:
        """Take these claims, by id and number, out of the backlog."""
        gone: list[Claim] = []
        kept: deque[Claim] = deque()
        for claim in self.backlog:
            where = gone if (claim.id, claim.number) in unwanted else kept
            where.append(claim)
        self.backlog = kept
        self._forget(gone)
        return gone

    def recall_stuck(self, now: float) -> None:
        """Recall behind every run that takes long: no job waits there while others are free.

        To be called when all reports that had come by ``now`` were received.
        """
        self._looked_at = now
        for child in self.children.values():
            if len(child.held) > 1 and child.head_since + RECALL_AFTER <= now:
                self.recall(child)

    def next_recall(self) -> float | None:
        """When :meth:`recall_stuck` has to be called next."""
        waiting = [c.head_since for c in self.children.values() if len(c.held) > 1]
        return min(waiting) + RECALL_AFTER if waiting else None

    def take_started(self) -> list[Claim]:
        """The claims that were handed to an idle child since the last call, each of them once."""
        started, self._started = self._started, []
        return started

    def idle(self) -> bool:
        """Whether no child holds anything."""
        return not self.backlog and not any(child.held for child in self.children.values())

    def _ready(self) -> list[Child]:
        """The children that may be given something: none that is dying, or stuck in a long run.

        Judged by the last look: what a child reported while we were writing is not read yet.
        """
        stuck_since = self._looked_at - RECALL_AFTER
        return [
            c
            for c in self.children.values()
            if c.pid is not None
            and c.stopped_for is None
            and not c.deaf
            and (not c.held or c.head_since > stuck_since)
        ]

    def _send(self, child: Child, claim: Claim, cost: float) -> bool:
        number = self.numbers.get(claim.task)
        if number is None:  # the zygote was replaced, and no longer knows the task
            return False
        message, attached = pack_order(claim, number)
        try:
            if attached is None:
                child.jobs.send(message)
            else:
                _send_with_file(child.jobs, message, attached)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return False  # full, or dying: its end is reported by the zygote
        if not child.held:
            child.head_since = time.monotonic()
            if self._is_news(claim):
                self._started.append(claim)
        child.held.append(claim)
        child.costs.append(cost)
        child.load += cost
        return True

    def _is_news(self, claim: Claim) -> bool:
        """Whether the start of this claim is to be told; to be asked once per start."""
        if not self._told or (claim.id, claim.number) not in self._told:
            return True
        self._forget([claim])
        return False

    def _forget(self, claims: list[Claim]) -> None:
        if self._told:
            self._told.difference_update((claim.id, claim.number) for claim in claims)


def _begins_well(child: Child) -> bool:
    """Whether the incomplete frame is the running job's: nobody may wait for an end of garbage."""
    return bool(child.held) and begins(child.buffer, child.held[0])


def _taker(ready: list[Child], cost: float, depth: int) -> Child | None:
    """An idle child, else the one whose waiting work leaves room for this job."""
    best, best_load = None, HORIZON
    for child in ready:
        if not child.held:
            return child
        if child.load + cost < best_load and len(child.held) < depth:
            best, best_load = child, child.load + cost
    return best


def _send_with_file(jobs: socket.socket, message: bytes, content: bytes) -> None:
    fd = attachment(content)
    try:
        rights = array.array("i", [fd])
        jobs.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    finally:
        os.close(fd)
