"""``bgworker run``."""

from __future__ import annotations

import argparse
import os
from typing import Any

from bgworker.app import DEFAULT_URL
from bgworker.cli.arguments import count, new_command, queue_names, seconds


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    run = new_command(commands, "run", _run, "run a worker until it is told to stop")
    run.add_argument("--app", required=True, metavar="MODULE[:NAME]", help="where the tasks are")
    run.add_argument("--url", help=f"the queue (default: the app's own; else {DEFAULT_URL})")
    run.add_argument(
        "--concurrency",
        type=count,
        default=_default_concurrency(),
        metavar="N",
        help="jobs at one time (default: $BGWORKER_CONCURRENCY, else the number of CPUs)",
    )
    run.add_argument("--queues", type=queue_names, metavar="A,B", help="only these (default: all)")
    run.add_argument(
        "--grace",
        type=seconds,
        default=8.0,
        metavar="S",
        help="seconds running jobs have to finish after SIGTERM; then they go back (default: 8)",
    )


def _run(args: argparse.Namespace) -> int:
    from bgworker.worker.run import WorkerOptions, run_worker

    run_worker(
        WorkerOptions(
            app=args.app,
            concurrency=args.concurrency,
            url=args.url,
            queues=args.queues,
            grace=args.grace,
        )
    )
    return 0


def _default_concurrency() -> str:
    return os.environ.get("BGWORKER_CONCURRENCY") or str(os.cpu_count() or 1)
