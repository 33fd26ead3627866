"""Whether a claim costs more beside millions of ended and delayed jobs than in an empty file."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import queue_old_jobs
from bars import Bar, Measured, Plan
from command_line import progress
from queue_report import percentile

from bgworker.contracts import Membership
from bgworker.engines.sqlite.engine import SqliteEngine
from bgworker.model import Ended, JobSpec, Succeeded, WorkerProfile

_DELAYED_SHARE = 5  # one delayed job for so many ended ones
_WARM_UP = 200
_TURN = 100  # exchanges on one file before the other has its turn: what disturbs hits both
_PERCENTS = {"p50": 50, "p99": 99}
_LIMIT = 1.2


class Line:
    """A worker of one on one file: each exchange ends the last job and claims the next."""

    def __init__(self, path: str, jobs: int, *, durable: bool) -> None:
        self.engine = SqliteEngine(path, durable=durable)
        self.engine.enqueue_each(JobSpec(task="noop"), ["[[1],{}]"] * (jobs + 1))
        self._seat: Membership = self.engine.join(
            _profile("flushes" if durable else "does-not-flush"), ()
        )
        self._ended: list[Ended] = []
        self.ms: list[float] = []

    def work(self, times: int) -> None:
        """So many exchanges; what they took goes to ``ms``."""
        for _ in range(times):
            began = time.perf_counter()
            found = self.engine.exchange(self._seat, self._ended, 1)
            self.ms.append((time.perf_counter() - began) * 1000)
            at = queue_old_jobs.now()
            self._ended = [Ended(one, Succeeded("1"), at, at) for one in found.claims]
            if not found.claims:
                raise RuntimeError("there was nothing to claim")
            self.engine.tidy()

    def close(self) -> None:
        """Give back what is claimed, and close."""
        self.engine.exchange(self._seat, self._ended, 0)
        self.engine.leave(self._seat)
        self.engine.close()


def measure(plan: Plan) -> Measured:
    """Median and p99 of one exchange on both files, with and without a flush."""
    samples = 400 if plan.quick else 4_000
    delayed = plan.rows // _DELAYED_SHARE
    with tempfile.TemporaryDirectory(dir=plan.folder, prefix="queue-claim-") as folder:
        paths = {name: os.path.join(folder, f"{name}.db") for name in ("empty", "full")}
        progress(f"claim: making {plan.rows:,} ended and {delayed:,} delayed jobs")
        queue_old_jobs.make(paths["empty"])
        queue_old_jobs.make(paths["full"], ended=plan.rows, delayed=delayed)
        size = os.stat(paths["full"]).st_size
        progress("claim: exchanges")
        found = {
            durability: _compare(paths, samples, durable=durability == "full")
            for durability in ("full", "process")
        }
    return _measured(plan, delayed, size, found)


def _compare(paths: dict[str, str], samples: int, *, durable: bool) -> dict[str, dict[str, float]]:
    with contextlib.ExitStack() as stack:
        lines = {}
        for name, path in paths.items():
            lines[name] = Line(path, _WARM_UP + samples, durable=durable)
            stack.callback(lines[name].close)
            lines[name].work(_WARM_UP)
            lines[name].ms.clear()
        for _ in range(samples // _TURN):
            for line in lines.values():
                line.work(_TURN)
        return {
            name: {p: percentile(line.ms, percent) or 0.0 for p, percent in _PERCENTS.items()}
            for name, line in lines.items()
        }


def _measured(
    plan: Plan, delayed: int, size: int, found: dict[str, dict[str, dict[str, float]]]
) -> Measured:
    rows = [("one exchange, ms", "empty file", "full file", "ratio")]
    verdicts: list[dict[str, Any]] = []
    for durability, percent, empty, full in _cells(found):
        name = f"durability={durability} {percent}"
        rows.append((name, f"{empty:.3f}", f"{full:.3f}", f"{full / empty:.2f}"))
        bar = Bar(f"claim {name}", _LIMIT, "x", ceiling=True)
        verdicts.append(bar.judge(full / empty))
    title = (
        f"claim: a worker ends one job and claims the next; {plan.rows:,} ended and "
        f"{delayed:,} delayed jobs are in the full file ({size / 1e6:,.0f} MB)"
    )
    numbers = {"ended": plan.rows, "delayed": delayed, "bytes": size, "exchange_ms": found}
    return Measured(title, rows, verdicts, numbers)


def _cells(
    found: dict[str, dict[str, dict[str, float]]],
) -> Iterator[tuple[str, str, float, float]]:
    for durability, files in found.items():
        for percent in _PERCENTS:
            yield durability, percent, files["empty"][percent], files["full"][percent]


def _profile(name: str) -> WorkerProfile:
    return WorkerProfile(name=name, host=socket.gethostname(), pid=os.getpid(), concurrency=1)
