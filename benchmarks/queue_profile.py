#!/usr/bin/env python3
"""Where the processor time of a job goes while bgworker drains a full queue.

Both durabilities, two isolated children, no-op jobs, as in ``queue_speed.py``. Beside its rate each
run prints how much processor time a job takes in the processes of the worker, and which functions
of the supervisor, the only one that writes, take it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import machine
from command_line import run, tell
from queue_site import Site, site
from queue_subjects import PEERS, Subject, ours

_PATIENCE = 300.0
_SHOWN = 16
_DURABILITIES = ("full", "process")


def sampled(durability: str) -> Subject:
    """The subject of ``queue_speed.py``, with a worker that samples itself."""
    (usual,) = (one for one in ours() if one.name.endswith(f" {durability}"))
    program = (sys.executable, os.path.join(PEERS, "sampled.py"))
    return replace(usual, worker=(*program, *usual.worker[3:]))


def drained(here: Site, jobs: int) -> dict[str, Any]:
    """Drain a queue of so many jobs once; times in microseconds a job."""
    samples = os.path.join(here.memory, "stamps.samples")
    here.drive("fill", jobs)
    with here.worker() as pid:
        here.stamps.wait(_PATIENCE)
        here.wait_stored(jobs, _PATIENCE)
        used = machine.cpu_ns(machine.process_tree(pid))
        supervisor, others = used.pop(pid), used
        os.kill(pid, signal.SIGTERM)
        _await(samples)
    with open(samples, encoding="utf-8") as file:
        counts: dict[str, int] = json.load(file)
    parts = {name: supervisor / jobs / 1e3 * n / sum(counts.values()) for name, n in counts.items()}
    return {
        "jobs_a_second": jobs / here.stamps.seconds(),
        "supervisor_us": supervisor / jobs / 1e3,
        "children_us": sum(others.values()) / jobs / 1e3,
        "parts_us": dict(sorted(parts.items(), key=lambda part: -part[1])),
    }


def _await(path: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not os.path.exists(path) or not os.path.getsize(path):
        if time.monotonic() > deadline:
            raise TimeoutError("the worker does not end")
        time.sleep(0.05)


def told(durability: str, found: dict[str, Any]) -> str:
    """What one run found, for a terminal."""
    ours, others = found["supervisor_us"], found["children_us"]
    lines = [
        f"\ndurability={durability}: {found['jobs_a_second']:,.0f} jobs/s",
        f"{ours:8.1f} us a job in the supervisor, {others:.1f} in all others; of the former",
    ]
    lines += [f"{us:8.1f} us  {name}" for name, us in [*found["parts_us"].items()][:_SHOWN]]
    return "\n".join(lines)


def measure(args: Namespace) -> dict[str, Any]:
    """Each durability in turn, printed as it comes."""
    jobs = 20_000 if args.quick else args.jobs
    found = {}
    for durability in _DURABILITIES:
        with site(sampled(durability), args.dir, jobs) as here:
            found[durability] = drained(here, jobs)
        tell(args.json, told(durability, found[durability]))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 the run is over, 130 interrupted."""
    own = ArgumentParser(add_help=False)
    own.add_argument("--jobs", type=int, default=60_000, metavar="N", help="(default: 60,000)")
    return run(__doc__, [own], measure, argv)


if __name__ == "__main__":
    sys.exit(main())
