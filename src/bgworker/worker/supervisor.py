"""The owner of a worker: claims, hands out, settles. The only writer of its worker to the queue."""

from __future__ import annotations

import random
import selectors
import time

from bgworker.clock import Clock
from bgworker.codec import load_progress
from bgworker.contracts import Engine, Membership
from bgworker.errors import DiskFull, QueueUnavailable
from bgworker.log import Log
from bgworker.model import Claim, Ended, Exchange, JobId, Released, Said
from bgworker.scoreboard import Scoreboard
from bgworker.states import JobState
from bgworker.values import dataclass
from bgworker.worker.account import Account
from bgworker.worker.crew import (
    GARBLED,
    SWEPT,
    TIMEOUT,
    ChildLost,
    Crew,
    Died,
    Finished,
    Outcome,
    Spoke,
    Started,
)
from bgworker.worker.pool import RECALL_AFTER
from bgworker.worker.scheduler import Scheduler
from bgworker.worker.signals import Signals
from bgworker.worker.upkeep import Upkeep
from bgworker.worker.vigil import Vigil

_TICK = 0.5
"""Seconds between two looks at the other workers' locks and at the safety net of the doorbell."""
_BETWEEN_WORDS = 0.2
"""Seconds between two times that the progress of running jobs is stored."""
_GIVE_UP_AFTER = 2.0
"""Seconds after the grace time in which a queue that cannot be written may come back."""
_REMIND_AFTER = 10.0
"""Seconds between two lines about a queue that cannot be written for long."""
_SHUTDOWN = "shutdown"
_CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Post:
    """Where a supervisor stands: its engine, its seat there, and the seat's scoreboard."""

    engine: Engine
    seat: Membership
    board: Scoreboard


class Supervisor:
    """One loop, one thread: sleep until something happens, then one transaction for all of it."""

    def __init__(
        self, post: Post, crew: Crew, upkeep: Upkeep, log: Log, clock: Clock, *, grace: float
    ) -> None:
        self._engine = post.engine
        self._seat = post.seat
        self._board = post.board
        self._crew = crew
        self._upkeep = upkeep
        self._log = log
        self._clock = clock
        self._grace = grace
        self._scheduler = Scheduler(post.engine, post.seat, log, clock)
        self._account = Account(crew.policies, log, clock, random.random)
        self._ended: list[Ended] = []
        self._said: dict[JobId, Said] = {}
        self._say_at = 0.0
        self._hungry = True
        self._look_for_cancelled = False
        self._next_due: int | None = None
        self._next_tick = 0.0
        self._retry_at = 0.0
        self._quiet_until = 0.0
        self._stop_by: float | None = None
        self._unknown: frozenset[str] = frozenset()

    def run(self, selector: selectors.BaseSelector, signals: Signals) -> None:
        """Work until a signal asks to stop and everything is settled."""
        selector.register(self._seat, selectors.EVENT_READ, self._on_bell)
        selector.register(signals, selectors.EVENT_READ, lambda: self._on_signals(signals))
        vigil = Vigil(selector, self._engine, self._seat)
        while not self._finished():
            self._log.flush()
            events = selector.select(self._patience())
            now = time.monotonic()
            for key, _ in events:
                key.data()
            if self._look_for_cancelled and now >= self._retry_at:
                self._stop_cancelled()
            self._take_outcomes()
            self._watch_the_clock(now, vigil)
            if now >= self._retry_at:
                self._fire()
                self._exchange()
                if self._stop_by is None:
                    self._upkeep.step()
        vigil.close()
        selector.unregister(signals)
        selector.unregister(self._seat)

    # --- what happens

    def _on_bell(self) -> None:
        self._look_for_cancelled = self._seat.silence() or self._look_for_cancelled
        self._hungry = True

    def _on_signals(self, signals: Signals) -> None:
        for _ in range(signals.take()):
            now = time.monotonic()
            if self._stop_by is None:
                self._stop_by = now + self._grace
                self._ended += [Ended(claim, Released()) for claim in self._crew.stop_taking()]
            else:
                self._stop_by = now

    def _stop_cancelled(self) -> None:
        """Stop what somebody cancelled; asked when a bell says so, until nothing is left of it."""
        try:
            unwanted = self._engine.to_cancel(self._seat)
        except QueueUnavailable as error:
            self._pause(error)
            return
        self._look_for_cancelled = bool(unwanted)
        if unwanted:
            not_begun = self._crew.cancel(unwanted, _CANCEL)
            self._ended += [Ended(claim, Released()) for claim in not_begun]

    def _take_outcomes(self) -> None:
        outcomes, self._crew.outcomes = self._crew.outcomes, []
        for outcome in outcomes:
            ended = self._judge(outcome)
            if ended is not None:
                self._ended.append(ended)

    def _judge(self, outcome: Outcome) -> Ended | None:
        if isinstance(outcome, Finished):
            return self._account.finished(outcome.claim, outcome.report)
        if isinstance(outcome, Spoke):
            self._said[outcome.claim.id] = Said(outcome.claim, load_progress(outcome.body))
            return None
        if isinstance(outcome, Started):
            self._tell_start(outcome.claim)
            return None
        if isinstance(outcome, ChildLost):
            self._log.emit("child_lost", pid=outcome.pid, status=outcome.status)
            return None
        return self._died(outcome)

    def _died(self, outcome: Died) -> Ended:
        if outcome.reason == _CANCEL:
            return self._account.stopped(outcome.claim, outcome.started_at)
        if outcome.reason == _SHUTDOWN:
            return self._account.interrupted(outcome.claim, "the worker stops")
        if outcome.reason == SWEPT:
            return self._account.interrupted(outcome.claim, "another job in its process was killed")
        if outcome.reason == TIMEOUT:
            return self._account.timed_out(outcome.claim, outcome.started_at)
        if outcome.reason == GARBLED:
            return self._account.garbled(outcome.claim, outcome.started_at)
        return self._account.crashed(outcome.claim, outcome.status, outcome.started_at)

    def _watch_the_clock(self, now: float, vigil: Vigil) -> None:
        if vigil.take() or now >= self._next_tick:
            self._next_tick = now + vigil.look_after(_TICK)
            self._tick(now, vigil)
        for child in self._crew.overdue(now)[0]:
            self._crew.stop(child, TIMEOUT)
        self._crew.pool.recall_stuck(now)
        if self._stop_by is not None and now >= self._stop_by:
            for child in self._crew.pool.children.values():
                if child.held:
                    self._crew.kill(child, _SHUTDOWN)

    def _tick(self, now: float, vigil: Vigil) -> None:
        self._board.beat(
            self._clock.now(),
            processed=self._account.processed,
            failed=self._account.failed,
            children=self._crew.alive(),
        )
        self._crew.tick(now)
        if any(self._crew.knows(task) for task in self._unknown):  # a new zygote brought them
            self._decline(frozenset(t for t in self._unknown if not self._crew.knows(t)))
            self._hungry = True
        try:
            if self._engine.changed():  # should a ring have been lost
                self._hungry = self._look_for_cancelled = True
                self._scheduler.look_again()
            for job in self._engine.rescue(self._seat):
                self._log.emit(
                    "rescued", job.task, job.id, **{"from": job.worker, "state": job.state.value}
                )
                if job.state is JobState.CANCELLED:
                    self._log.emit("task_cancelled", job.task, job.id)
                self._hungry = True
            vigil.renew()
        except QueueUnavailable as error:
            self._pause(error)

    # --- what we do about it

    def _fire(self) -> None:
        """Enqueue what the schedules are due for; a worker that stops leaves that to others."""
        if self._stop_by is None and self._scheduler.is_due():
            try:
                self._hungry = self._scheduler.run() or self._hungry
            except QueueUnavailable as error:
                self._pause(error)

    def _exchange(self) -> None:
        """One transaction: settle what ended, make due jobs available, claim what we can take."""
        due = self._next_due is not None and self._next_due <= self._clock.now()
        want = 0 if self._stop_by is not None else self._crew.pool.appetite()
        telling = self._said and self._say_at <= time.monotonic()
        if not (self._ended or due or telling or (self._hungry and want)):
            self._dispatch()
            return
        if self._stop_by is None:
            self._dispatch()  # what was claimed ahead keeps the children busy meanwhile
        done = self._settle(want)
        if done is None:
            return
        self._next_due = done.next_due_at
        self._tell_settled(done)
        self._accept(done.claims)
        self._dispatch()
        self._engine.tidy()

    def _settle(self, want: int) -> Exchange | None:
        ended, self._ended = self._ended, []
        said = self._take_words(ended) if self._said else {}
        try:
            done = self._engine.exchange(self._seat, ended, want, tuple(said.values()))
        except QueueUnavailable as error:
            self._said = said | self._said
            self._pause(error)
            if not (isinstance(error, DiskFull) and want and self._record(ended)):
                self._ended = ended + self._ended
            return None
        # Of nothing wanted all was got: what follows an ending, goes back, has become due or has a
        # place now is still to be claimed, and nobody rings for it.
        self._hungry = len(done.claims) == want
        return done

    def _take_words(self, ended: list[Ended]) -> dict[JobId, Said]:
        """The progress that is to be stored now: of what ends always, else only now and then."""
        now = time.monotonic()
        if now < self._say_at:
            last = [end.claim.id for end in ended if end.claim.id in self._said]
            return {job: self._said.pop(job) for job in last}
        self._say_at = now + _BETWEEN_WORDS
        said, self._said = self._said, {}
        return said

    def _tell_settled(self, done: Exchange) -> None:
        for late in done.stale:
            self._log.emit("stale_write", late.claim.task, late.claim.id)
        for claim in done.expired:
            self._log.emit("task_cancelled", claim.task, claim.id, detail="expired")
        for end in done.cancelled:
            self._account.cancelled(end)

    def _record(self, ended: list[Ended]) -> bool:
        """On a full disk: endings alone, for which there may be room; whether they are stored."""
        try:
            done = self._engine.exchange(self._seat, ended, 0)
        except QueueUnavailable:
            return False
        self._tell_settled(done)
        return True

    def _accept(self, claims: tuple[Claim, ...]) -> None:
        for claim in claims:
            if self._crew.knows(claim.task):
                self._crew.pool.backlog.append(claim)
                continue
            self._ended.append(Ended(claim, Released()))
            if claim.task not in self._unknown:
                self._decline(self._unknown | {claim.task})
                self._log.emit(
                    "task_unknown",
                    claim.task,
                    claim.id,
                    detail="the app does not declare this task; its jobs stay in the queue",
                )

    def _decline(self, tasks: frozenset[str]) -> None:
        """Leave the jobs of tasks that our application does not declare to other workers."""
        self._unknown = tasks
        self._seat.decline(tasks)

    def _dispatch(self) -> None:
        pool = self._crew.pool
        if pool.backlog:
            refused = pool.dispatch()
            self._ended += [Ended(claim, Released()) for claim in refused]
            self._hungry = self._hungry or bool(refused)  # no bell rings for what we give back
        for claim in pool.take_started():
            self._tell_start(claim)

    def _tell_start(self, claim: Claim) -> None:
        self._log.emit("task_start", claim.task, claim.id, attempt=claim.attempts)

    def _pause(self, error: QueueUnavailable) -> None:
        """The file cannot be written now: keep what is to be settled, and try again soon."""
        now = time.monotonic()
        self._retry_at = now + _TICK
        if now >= self._quiet_until:
            self._quiet_until = now + _REMIND_AFTER
            self._log.emit("heartbeat_error", detail=str(error))

    # --- when

    def _patience(self) -> float:
        """Seconds until there is something to do although nothing happens."""
        now = time.monotonic()
        if self._ended:
            return max(0.0, self._retry_at - now)
        due = [self._next_tick]
        if self._stop_by is None:
            due.append(max(self._upkeep.due, self._retry_at))
        if self._crew.pool.backlog:  # the children are busy; how long, they have not told yet
            due.append(now + RECALL_AFTER)
        if self._said:
            due.append(max(self._retry_at, self._say_at))
        if self._next_due is not None:
            due.append(max(self._retry_at, now + (self._next_due - self._clock.now()) / 1000))
        tick = None if self._stop_by is not None else self._scheduler.patience()
        if tick is not None:
            due.append(max(self._retry_at, now + tick))
        due += [at for at in (self._crew.overdue(now)[1], self._crew.pool.next_recall()) if at]
        if self._stop_by is not None and self._stop_by > now:  # else: wait for those we killed
            due.append(self._stop_by)
        return max(0.0, min(due) - now)

    def _finished(self) -> bool:
        if self._stop_by is None:
            return False
        if self._crew.pool.idle() and not self._ended:
            return True
        # Endings that cannot be written are not worth hanging for: those jobs run again.
        return self._retry_at > 0 and time.monotonic() > self._stop_by + _GIVE_UP_AFTER
