"""What others notice while a worker deletes a million old jobs."""

from __future__ import annotations

import time
from collections.abc import Callable

import queue_metered
import queue_old_jobs
from bars import Bar, Measured, Plan
from command_line import progress
from peers.meter import Field
from queue_report import percentile
from queue_site import Site

from bgworker.engines.sqlite.engine import SqliteEngine
from bgworker.model import JobSpec
from bgworker.report import look
from bgworker.states import JobState

_ENDED_DAYS_AGO = 40
_EVERY = 0.005  # seconds between two jobs of the load
_LOOK_EVERY = 1.0
_GIVEN_UP_AFTER = 600.0
_RISE_MS = 10
_SWEEP_MS = 5
_ENDED = (JobState.SUCCEEDED, JobState.FAILED)


class Load:
    """A producer of 200 jobs a second; ``ms`` is what each enqueue took its caller."""

    def __init__(self, path: str) -> None:
        self._engine = SqliteEngine(path)
        self._jobs = [JobSpec(task="noop", args="[[0],{}]")]
        self.sent = 0

    def run(self, is_over: Callable[[float], bool]) -> list[float]:
        """Until ``is_over``, which is asked once a second with the seconds so far."""
        began = due = time.monotonic()
        ask = began + _LOOK_EVERY
        found = []
        while True:
            called = time.perf_counter()
            self._engine.enqueue(self._jobs)
            found.append((time.perf_counter() - called) * 1000)
            self.sent += 1
            due = max(due + _EVERY, time.monotonic())
            if due >= ask:
                ask = due + _LOOK_EVERY
                if is_over(due - began):
                    return found
            time.sleep(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        """Close the file."""
        self._engine.close()


def measure(plan: Plan) -> Measured:
    """Enqueue before and during the deleting, and how long its transactions hold the lock."""
    ended = max(1_000, plan.rows // 5)
    with queue_metered.queue("full", plan.folder) as here:
        progress(f"retention: making {ended:,} ended jobs")
        queue_old_jobs.make(here.address, ended=ended, days_ago=_ENDED_DAYS_AGO)
        load = Load(here.address)
        try:
            return _measured(ended, *_before_and_during(plan, here, load, ended))
        finally:
            load.close()


def _before_and_during(
    plan: Plan, here: Site, load: Load, ended: int
) -> tuple[list[float], list[float], dict[str, float]]:
    progress("retention: before")
    with queue_metered.worker(here, "--retention-days", "forever"):
        before = load.run(lambda seconds: seconds >= plan.seconds)
    progress("retention: during")
    began = time.monotonic()
    with queue_metered.worker(here, "--retention-days", "1") as (_, meter):
        during = load.run(lambda seconds: not _old(here, load) or seconds >= _GIVEN_UP_AFTER)
        seconds = time.monotonic() - began
        return (
            before,
            during,
            {
                "deleted": ended - _old(here, load),
                "seconds": seconds,
                "sweeps": meter.count(Field.SWEEPS),
                "sweeps_over_5_ms": meter.count(Field.SLOW_SWEEPS),
                "longest_sweep_ms": meter.ms(Field.LONGEST_SWEEP),
            },
        )


def _old(here: Site, load: Load) -> int:
    """Ended jobs in the file that neither the load sent nor those who started the two workers."""
    queues = look(queue_metered.url(here)).queues
    stored = sum(queue.states[state] for queue in queues for state in _ENDED)
    return max(0, stored - load.sent - 2)


def _measured(
    ended: int, before: list[float], during: list[float], swept: dict[str, float]
) -> Measured:
    rows = [("enqueue, ms", "p50", "p99", "max", "n")]
    numbers = {}
    for name, ms in (("before", before), ("during", during)):
        p50, p99, longest = (percentile(ms, percent) or 0.0 for percent in (50, 99, 100))
        rows.append((name, f"{p50:.2f}", f"{p99:.2f}", f"{longest:.2f}", f"{len(ms):,}"))
        numbers[name] = {"p50": p50, "p99": p99, "max": longest, "samples": len(ms)}
    verdicts = [
        Bar("rise of p99 of enqueue", _RISE_MS, "ms", True).judge(
            numbers["during"]["p99"] - numbers["before"]["p99"]
        ),
        Bar("longest deleting transaction", _SWEEP_MS, "ms", True).judge(
            swept["longest_sweep_ms"] if swept["sweeps"] else None
        ),
    ]
    title = (
        f"retention: {swept['deleted']:,} of {ended:,} old jobs deleted in "
        f"{swept['seconds']:.0f} s beside 200 jobs/s; {swept['sweeps']:,} transactions, "
        f"{swept['sweeps_over_5_ms']:,} of "
        "them held the lock for more than 5 ms"
    )
    return Measured(title, rows, verdicts, {"ended": ended, "enqueue_ms": numbers, **swept})
