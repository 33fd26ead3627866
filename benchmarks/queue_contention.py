"""Whether a worker keeps up beside two producers at full speed, and how long anybody waits."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import queue_metered
from bars import Bar, Measured, Plan
from command_line import progress
from peers.meter import Field, Meter
from queue_old_jobs import LIVE
from queue_site import Void

from bgworker.report import look

_PRODUCERS = 2
_STARTED_WITHIN = 60.0
_WARM_UP = 1.0  # seconds of full speed before the window
_SHARE = 0.8
_LONGEST_MS = 100


def measure(plan: Plan) -> Measured:
    """Rates of both sides in one window, and the longest transaction of each party."""
    rows = [("durability", "producers/s", "worker/s", "share", "longest ms: worker", "producers")]
    verdicts: list[dict[str, Any]] = []
    found = {}
    for durability in ("full", "process"):
        progress(f"contention: durability={durability}, {plan.seconds:g} s")
        one = found[durability] = _window(durability, plan)
        share = one["worker_per_second"] / one["producers_per_second"]
        rows.append(
            (
                durability,
                f"{one['producers_per_second']:,.0f}",
                f"{one['worker_per_second']:,.0f}",
                f"{share:.2f}",
                f"{one['worker_longest_ms']:.1f}",
                f"{one['producers_longest_ms']:.1f}",
            )
        )
        longest = max(one["worker_longest_ms"], one["producers_longest_ms"])
        verdicts.append(Bar(f"{durability}: worker's share", _SHARE, "x", False).judge(share))
        verdicts.append(
            Bar(f"{durability}: longest transaction", _LONGEST_MS, "ms", True).judge(longest)
        )
    title = (
        f"contention: {_PRODUCERS} producers, a job per transaction, as fast as they can for "
        f"{plan.seconds:g} s; a worker drains. A transaction is from asking for the mutex to COMMIT"
    )
    return Measured(title, rows, verdicts, {"seconds": plan.seconds, "durability": found})


def _window(durability: str, plan: Plan) -> dict[str, float]:
    with queue_metered.queue(durability, plan.folder) as here, contextlib.ExitStack() as stack:
        _, worker = stack.enter_context(queue_metered.worker(here))
        producers = [
            stack.enter_context(queue_metered.producer(here, number))
            for number in range(_PRODUCERS)
        ]
        _wait_for(producers)
        time.sleep(_WARM_UP)
        for meter in (worker, *producers):
            meter.reset()
        began, (enqueued, ended) = time.monotonic(), _counts(queue_metered.url(here))
        time.sleep(plan.seconds)
        seconds = time.monotonic() - began
        enqueued_last, ended_last = _counts(queue_metered.url(here))
        return {
            "producers_per_second": (enqueued_last - enqueued) / seconds,
            "worker_per_second": (ended_last - ended) / seconds,
            "worker_longest_ms": worker.ms(Field.LONGEST_CALL),
            "producers_longest_ms": max(one.ms(Field.LONGEST_CALL) for one in producers),
        }


def _wait_for(producers: list[Meter]) -> None:
    deadline = time.monotonic() + _STARTED_WITHIN
    while not all(meter.count(Field.CALLS) for meter in producers):
        if time.monotonic() > deadline:
            raise Void("a producer does not start")
        time.sleep(0.02)


def _counts(url: str) -> tuple[int, int]:
    """Jobs ever enqueued, and ever ended."""
    queues = look(url).queues
    ended = sum(queue.ended_total for queue in queues)
    return ended + sum(queue.states[state] for queue in queues for state in LIVE), ended
