"""bgworker alone, under what is hard for a queue in one file: depth, contention, deleting, idling.

``benchmarks/README.md`` says what is measured and how to read it. Nothing here passes or fails:
the exit code is 0 when the run came to its end.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

import command_line
import machine
import queue_claim
import queue_contention
import queue_idle
import queue_map
import queue_retention
from bars import Measured, Plan
from command_line import progress

MEASURES: dict[str, Callable[[Plan], Measured]] = {
    "claim": queue_claim.measure,
    "contention": queue_contention.measure,
    "retention": queue_retention.measure,
    "idle": queue_idle.measure,
    "map": queue_map.measure,
}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All that are wanted; prints each when it is done, and returns what ``--json`` writes."""
    plan = Plan(
        folder=os.path.abspath(args.dir),
        rows=args.rows or (100_000 if args.quick else 5_000_000),
        seconds=args.seconds or (2.0 if args.quick else 20.0),
        quick=args.quick,
    )
    found: dict[str, Any] = {}
    for name in args.measure or MEASURES:
        try:
            measured = MEASURES[name](plan)
        except Exception as error:  # the others go on
            found[name] = {"void": f"{type(error).__name__}: {error}"}
            report = f"{name}: VOID {found[name]['void']}"
        else:
            found[name] = measured.document()
            report = measured.text()
        progress("")
        command_line.tell(args.json, report + "\n")
    return {
        "schema": 1,
        "taken_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {**machine.describe(plan.folder), "load": os.getloadavg()[0]},
        "measures": found,
    }


def options() -> argparse.ArgumentParser:
    """Of these measurements alone, to be a parent of a program's parser."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--measure",
        action="append",
        choices=MEASURES,
        help="only this one; may be given several times",
    )
    parser.add_argument(
        "--rows",
        type=int,
        metavar="N",
        help="ended jobs in the file of `claim`, a fifth as many in that of `retention` "
        "(default: 5000000)",
    )
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="of each load, and of idling (default: 20)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 the run is over, 130 interrupted."""
    return command_line.run(__doc__, [options()], measure, argv)


if __name__ == "__main__":
    sys.exit(main())
