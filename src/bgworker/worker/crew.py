"""The zygote and its children as one thing: all slots filled, every death explained."""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import time
from typing import TypeAlias

from bgworker.errors import BgWorkerError
from bgworker.model import Claim, JobId, Millis, TaskPolicy
from bgworker.scoreboard import Scoreboard
from bgworker.values import dataclass
from bgworker.worker.forker import Exited, Forked, Forker, ImporterDied, Manifest
from bgworker.worker.frames import Report
from bgworker.worker.kin import adopt_orphans, children, end_strangers
from bgworker.worker.lifespan import RETIRED, Lifespan
from bgworker.worker.pace import DEPTH
from bgworker.worker.pool import Child, Pool, new_child

GARBLED = "garbled"
"""Why a child is killed whose pipe brings what it cannot have reported."""
TIMEOUT = "timeout"
"""Why a run is stopped that is past its hard timeout."""
SWEPT = "swept"
"""Why a run was killed that shared its process with one that had to be."""
_IMPORTS = 3
"""Zygotes in a row that may die before they have imported the application; then the worker ends."""
_RESPAWN_AFTER = 1.0
"""Seconds before a child is replaced that died without having been given a job."""
_KILLED = int(signal.SIGKILL)
_FAREWELL = 1.0
"""Seconds idle children have to leave before they are killed."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A child reported the end of a run."""

    claim: Claim
    report: Report


@dataclass(frozen=True, slots=True)
class Spoke:
    """A run said how far it is; ``body`` is its progress as JSON text."""

    claim: Claim
    body: str


@dataclass(frozen=True, slots=True)
class Started:
    """A child went on to what was waiting in it."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Died:
    """A child died during a run. ``reason`` is ours if we killed it, ``None`` if we did not."""

    claim: Claim
    status: int
    reason: str | None
    started_at: Millis | None


@dataclass(frozen=True, slots=True)
class ChildLost:
    """A child died while it ran nothing."""

    pid: int
    status: int


Outcome: TypeAlias = Finished | Spoke | Started | Died | ChildLost


class Crew:
    """Registers everything it waits for in ``selector``, as callables; collects ``outcomes``."""

    pool_name = "process"

    def __init__(
        self,
        forker: Forker,
        manifest: Manifest,
        selector: selectors.BaseSelector,
        lifespan: Lifespan | None = None,
    ) -> None:
        self._forker = forker
        self._selector = selector
        self._lifespan = lifespan
        self._not_ours = frozenset(children()) - {forker.pid}
        self.policies: dict[str, TaskPolicy] = {}
        self.pool = Pool({}, (lifespan and lifespan.max_jobs) or DEPTH)
        self._learn(manifest)
        self.outcomes: list[Outcome] = []
        self._respawn: dict[int, float] = {}
        self._closing = False
        self._board: Scoreboard

    def start(self, board_fd: int, board: Scoreboard) -> None:
        """Fork a child for every slot of the scoreboard."""
        self._board = board
        self._board_fd = board_fd
        adopt_orphans()  # what tasks started comes to us when the zygote is killed
        self._forker.share(board_fd, self._lifespan, self.pool_name)
        self._selector.register(self._forker, selectors.EVENT_READ, self._on_news)
        try:
            for slot in range(board.slots):
                self._spawn(slot)
        except OSError as error:  # each child takes four descriptors of ours
            raise BgWorkerError(f"cannot start {board.slots} children: {error.strerror}") from None

    def spare(self, pid: int, instead_of: int) -> None:
        """A process beside the crew was replaced: the new one is nothing that tasks left behind."""
        self._not_ours = self._not_ours - {instead_of} | {pid}

    def knows(self, task: str) -> bool:
        """Whether the application declares this task."""
        return task in self.policies

    def alive(self) -> int:
        """How many children live, even if the zygote does not come to tell of deaths."""
        known = [child.pidfd for child in self.pool.children.values() if child.pidfd is not None]
        deaths = select.poll()
        for pidfd in known:
            deaths.register(pidfd, select.POLLIN)
        return len(known) - len(deaths.poll(0))

    def kill(self, child: Child, reason: str) -> None:
        """Kill a child with its process group; its death is told with this reason."""
        if child.stopped_for is None and child.pid is not None:
            child.stopped_for = reason
            self._forker.kill(child.pid)

    def stop(self, child: Child, reason: str) -> None:
        """End the run that a child is in, and nothing else."""
        self.kill(child, reason)

    def cancel(self, unwanted: frozenset[tuple[JobId, int]], reason: str) -> list[Claim]:
        """Stop the children that run these claims, and return those that were not begun.

        Each such child is first left with nothing else to read, and what it has reported is read:
        after that it runs the last job it holds or none, and no other run can die with it.
        """
        for child in self.pool.children.values():
            if any((claim.id, claim.number) in unwanted for claim in child.held):
                self.pool.recall(child)
                self._receive(child)
                if child.stopped_for is None and any(
                    (claim.id, claim.number) in unwanted for claim in child.held
                ):
                    self.stop(child, reason)
        return self.pool.withdraw(unwanted)

    def overdue(self, now: float) -> tuple[list[Child], float | None]:
        """Children past the hard timeout of what they run, and when the next one will be."""
        late, due = [], None
        for child in self.pool.children.values():
            if child.held and child.stopped_for is None:
                hard = self.policies[child.held[0].task].hard_timeout
                if hard is not None:
                    deadline = child.head_since + hard
                    if deadline <= now:
                        late.append(child)
                    else:
                        due = deadline if due is None else min(due, deadline)
        return late, due

    def tick(self, now: float) -> None:
        """Replace children whose wait is over."""
        for slot in [slot for slot, at in self._respawn.items() if at <= now]:
            del self._respawn[slot]
            self._spawn(slot)

    def stop_taking(self) -> list[Claim]:
        """Take back everything that is not running; no child is replaced from now on."""
        self._closing = True
        for child in self.pool.children.values():
            self.pool.recall(child)
        waiting = list(self.pool.backlog)
        self.pool.backlog.clear()
        return waiting

    def close(self) -> None:
        """Let idle children leave, then end the zygote and with it who did not."""
        self._closing = True
        for child in self.pool.children.values():
            child.jobs.close()  # the child reads the end of its orders
        deadline = time.monotonic() + _FAREWELL
        while self.pool.children and (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                key.data()
        with contextlib.suppress(KeyError, ValueError):  # a zygote that never came to serve
            self._selector.unregister(self._forker)
        self._forker.close(_FAREWELL)
        for child in list(self.pool.children.values()):
            _await_death(child)  # only then may its job be given back
            self._forget(child)
        end_strangers(self._not_ours)

    def _learn(self, manifest: Manifest) -> None:
        self.policies.clear()
        self.policies.update({policy.name: policy for policy in manifest.tasks})
        self.pool.numbers = {policy.name: n for n, policy in enumerate(manifest.tasks)}

    def _spawn(self, slot: int) -> None:
        self._forker.fork(slot, *self._add_child(slot))

    def _add_child(self, slot: int) -> tuple[int, int]:
        child, jobs, reports = new_child(slot)
        self.pool.children[slot] = child
        self._selector.register(
            child.reports, selectors.EVENT_READ, lambda: self._on_reports(child)
        )
        return jobs, reports

    def _on_reports(self, child: Child) -> None:
        if self.pool.children.get(child.slot) is not child:
            return  # buried since the selector saw it: the descriptor may be another child's now
        if self._receive(child):  # it is dead or dying: why, the zygote will tell
            self._selector.unregister(child.reports)
            child.deaf = True

    def _receive(self, child: Child) -> bool:
        heard, ended = self.pool.receive(child)
        if child.garbled:
            self.kill(child, GARBLED)
        for claim, report, following in heard:
            if report.kind == "said":
                self.outcomes.append(Spoke(claim, report.body))
                continue
            self.outcomes.append(self._ending(child, claim, report))
            if following is not None:
                self.outcomes.append(Started(following))
        return ended

    def _ending(self, _: Child, claim: Claim, report: Report) -> Outcome:
        return Finished(claim, report)

    def _on_news(self) -> None:
        try:
            news = self._forker.news()
        except EOFError:
            self._on_zygote_lost()
            return
        if isinstance(news, Forked):
            self._on_forked(news)
        elif isinstance(news, Exited):
            self._on_exited(news)

    def _on_forked(self, news: Forked) -> None:
        child = self.pool.children[news.slot]
        child.pid = news.pid
        with contextlib.suppress(ProcessLookupError):  # dead already: the next news will tell
            child.pidfd = os.pidfd_open(news.pid)

    def _on_exited(self, news: Exited) -> None:
        self._bury([self.pool.children[news.slot]], news.pid, news.status)

    def _bury(self, members: list[Child], pid: int, status: int) -> None:
        """Say what a dead process leaves behind, and replace those that lived in it."""
        had_work = [self._lay_out(child, status) for child in members]
        if self._closing or not members:
            return
        retired = os.waitstatus_to_exitcode(status) == RETIRED
        if any(had_work) or retired:
            for child in members:
                self._spawn(child.slot)
            return
        self.outcomes.append(ChildLost(pid, status))
        for child in members:
            self._respawn[child.slot] = time.monotonic() + _RESPAWN_AFTER

    def _lay_out(self, child: Child, status: int) -> bool:
        """Say what it was running, and forget it; whether it had any work, or was killed by us."""
        self._receive(child)
        self.pool.recall(child)
        running = self._board.slot(child.slot)
        # Noise is blamed on the run that was believed last: it may have ended since, unheard.
        blamed = child.held[0] if child.garbled and child.held else None
        waited = None
        while child.held:
            claim = child.drop_head()
            ran = running and (running.job, running.claim) == (int(claim.id), claim.number)
            if claim is blamed or (ran and blamed is None):
                started_at = running.started_at if running and ran else None
                self.outcomes.append(Died(claim, status, child.stopped_for, started_at))
            else:  # read, and not begun
                waited = claim
                self.pool.backlog.appendleft(claim)
        self._board.finish(child.slot)
        self._forget(child)
        return running is not None or waited is not None or child.stopped_for is not None

    def _forget(self, child: Child) -> None:
        if not child.deaf:
            self._selector.unregister(child.reports)
        child.close()
        del self.pool.children[child.slot]

    def _on_zygote_lost(self) -> None:
        """Its children die with it (the kernel sees to that): bury them, then start another."""
        self._selector.unregister(self._forker)
        self._forker.close()
        closing, self._closing = self._closing, True
        slots = list(self.pool.children)
        for child in list(self.pool.children.values()):
            _await_death(child)
            self._bury([child], child.pid or 0, _KILLED)
        end_strangers(self._not_ours)
        self._closing = closing
        self._learn(self._import_again())
        self._forker.share(self._board_fd, self._lifespan, self.pool_name)
        self._selector.register(self._forker, selectors.EVENT_READ, self._on_news)
        for slot in slots if not closing else ():
            self._spawn(slot)

    def _import_again(self) -> Manifest:
        """In a new zygote. What killed the old one may kill some more before they can serve."""
        for _ in range(_IMPORTS - 1):
            with contextlib.suppress(ImporterDied):
                return self._import_once()
        return self._import_once()

    def _import_once(self) -> Manifest:
        self._forker = self._forker.again()
        try:
            return self._forker.manifest()
        except BgWorkerError:
            self._forker.close()
            raise


def _await_death(child: Child) -> None:
    """Make sure that an orphaned child is gone: only then may its job run elsewhere."""
    if child.pidfd is None:
        return
    try:
        signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return
    with selectors.DefaultSelector() as selector:
        selector.register(child.pidfd, selectors.EVENT_READ)
        while not selector.select(1.0):
            continue
