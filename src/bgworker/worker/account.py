"""Turning what happened to a run into how its job ended, counted and logged."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bgworker.callbacks import follow_up
from bgworker.clock import Clock
from bgworker.codec import dump_error, load_error
from bgworker.log import Log
from bgworker.model import (
    Cancelled,
    Claim,
    Dead,
    Ended,
    Ending,
    Failed,
    Millis,
    Released,
    Retrying,
    Succeeded,
    TaskPolicy,
)
from bgworker.retry import Mishap, crash_words, verdict
from bgworker.worker.frames import Report
from bgworker.worker.memory_kills import MemoryKills

_MISHAPS = {"raised": Mishap.RAISED, "refused": Mishap.REFUSED}
_SOFT_TIMEOUT = "bgworker.errors.SoftTimeout"


class Account:
    """Judges runs by the policies of their tasks. ``processed`` and ``failed`` count runs."""

    def __init__(
        self,
        policies: Mapping[str, TaskPolicy],
        log: Log,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        self.policies = policies
        self.processed = 0
        self.failed = 0
        self._log = log
        self._clock = clock
        self._chance = chance
        self._memory = MemoryKills()

    def finished(self, claim: Claim, report: Report) -> Ended:
        """A run that reported its end."""
        self.processed += 1
        duration = report.micros / 1_000_000
        finished_at = report.started_at + report.micros // 1000
        if report.kind == "ok":
            self._log.emit("task_success", claim.task, claim.id, duration=duration)
            return self._ended(claim, Succeeded(report.body), report.started_at, finished_at)
        kind, message, _ = load_error(report.body)
        if kind == _SOFT_TIMEOUT:
            self._log.emit("task_timeout", claim.task, claim.id, duration=duration, kind="soft")
        ending = self._judge(_MISHAPS[report.kind], claim, report.body)
        self._tell(claim, ending, duration=duration, error=f"{kind}: {message}"[:500])
        return self._ended(claim, ending, report.started_at, finished_at)

    def crashed(self, claim: Claim, status: int, started_at: Millis | None) -> Ended:
        """A run whose process died by itself."""
        words, signal_name = crash_words(status)
        if signal_name == "SIGKILL" and self._memory.ran_out():
            words += ": out of memory"
        return self._crash(claim, words, signal_name, started_at)

    def garbled(self, claim: Claim, started_at: Millis | None) -> Ended:
        """A run that we killed because it wrote to the pipe on which its process reports."""
        words = "the process wrote to a descriptor that is not the task's, and was killed"
        return self._crash(claim, words, None, started_at)

    def _crash(
        self, claim: Claim, words: str, signal_name: str | None, started_at: Millis | None
    ) -> Ended:
        self.processed += 1
        self._log.emit("task_crash", claim.task, claim.id, signal=signal_name, detail=words)
        ending = self._judge(Mishap.CRASHED, claim, dump_error("Crashed", words))
        self._tell(claim, ending, error=words)
        return self._ended(claim, ending, started_at, self._clock.now())

    def timed_out(self, claim: Claim, started_at: Millis | None) -> Ended:
        """A run that we killed at its hard timeout."""
        self.processed += 1
        limit = self._policy(claim).hard_timeout
        self._log.emit("task_timeout", claim.task, claim.id, kind="hard", limit=limit)
        error = dump_error("HardTimeout", f"the task ran longer than {limit or 0:g} s: killed")
        ending = self._judge(Mishap.TIMED_OUT, claim, error)
        self._tell(claim, ending, error="HardTimeout")
        return self._ended(claim, ending, started_at, self._clock.now())

    def stopped(self, claim: Claim, started_at: Millis | None) -> Ended:
        """A run that we killed because somebody cancelled it."""
        self.processed += 1
        # What it says there is for nobody: the error is that of the request.
        return Ended(claim, Cancelled(dump_error("Cancelled", "")), started_at, self._clock.now())

    def cancelled(self, end: Ended) -> None:
        """The queue holds this job as cancelled now, however its run ended."""
        by_itself = not isinstance(end.ending, Cancelled | Released)
        detail = "it had ended by itself: that is discarded" if by_itself else None
        duration = None
        if end.started_at is not None and end.finished_at is not None:
            duration = (end.finished_at - end.started_at) / 1000
        claim = end.claim
        self._log.emit("task_cancelled", claim.task, claim.id, duration=duration, detail=detail)

    def interrupted(self, claim: Claim, why: str) -> Ended:
        """A run that we killed for no fault of its own: it goes back, nothing is charged."""
        self._log.emit("task_released", claim.task, claim.id, detail=why)
        return Ended(claim, Released())

    def _ended(
        self, claim: Claim, ending: Ending, started_at: Millis | None, finished_at: Millis
    ) -> Ended:
        then = follow_up(self._policy(claim), claim, ending)
        return Ended(claim, ending, started_at, finished_at, then)

    def _judge(self, mishap: Mishap, claim: Claim, error: str) -> Ending:
        now, chance = self._clock.now(), self._chance()
        return verdict(mishap, self._policy(claim), claim, error, now=now, chance=chance)

    def _policy(self, claim: Claim) -> TaskPolicy:
        """The task's; a plain one if the zygote was replaced and no longer knows the task."""
        found = self.policies.get(claim.task)
        return found or TaskPolicy(name=claim.task, queue=claim.queue, priority=claim.priority)

    def _tell(self, claim: Claim, ending: Ending, **fields: object) -> None:
        self.failed += 1
        if isinstance(ending, Retrying):
            delay = max(0, ending.run_at - self._clock.now()) / 1000
            self._log.emit("task_retry", claim.task, claim.id, delay=delay, **fields)
        elif isinstance(ending, Dead):
            self._log.emit("task_dead", claim.task, claim.id, **fields)
        elif isinstance(ending, Failed):
            self._log.emit("task_failed", claim.task, claim.id, **fields)
