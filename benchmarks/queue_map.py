"""How fast ``.map`` stores a hundred thousand jobs."""

from __future__ import annotations

import statistics
from typing import Any

import queue_metered
from bars import Bar, Measured, Plan
from command_line import progress

_JOBS = 100_000
_ROUNDS = 3
_PER_SECOND = 150_000


def measure(plan: Plan) -> Measured:
    """One call, in a new file, in its own process, after one job to warm up."""
    rows = [("durability", "jobs/s", "seconds")]
    verdicts: list[dict[str, Any]] = []
    found = {}
    for durability in ("full", "process"):
        progress(f"map: durability={durability}")
        seconds = [_once(durability, plan) for _ in range(1 if plan.quick else _ROUNDS)]
        median = statistics.median(seconds)
        found[durability] = {"jobs_per_second": _JOBS / median, "seconds": seconds}
        rows.append((durability, f"{_JOBS / median:,.0f}", f"{median:.2f}"))
        bar = Bar(f"map, durability={durability}", _PER_SECOND, "jobs/s", ceiling=False)
        verdicts.append(bar.judge(_JOBS / median))
    return Measured(f"map: {_JOBS:,} jobs in one call", rows, verdicts, {"durability": found})


def _once(durability: str, plan: Plan) -> float:
    with queue_metered.queue(durability, plan.folder) as here:
        seconds: float = here.drive("many", _JOBS)
        return seconds
