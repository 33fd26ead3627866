"""``bgworker run``."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from bgworker.app import DEFAULT_URL
from bgworker.cli.arguments import (
    address,
    count,
    interval_hours,
    limit,
    new_command,
    of,
    queue_names,
    rate,
    retention_days,
    seconds,
    setting,
)
from bgworker.log import STYLES

if TYPE_CHECKING:
    from bgworker.worker.run import WorkerOptions


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    run = new_command(commands, "run", _run, "run a worker until it is told to stop")
    run.add_argument("--app", required=True, metavar="MODULE[:NAME]", help="where the tasks are")
    run.add_argument("--url", help=f"the queue (default: the app's own; else {DEFAULT_URL})")
    add_options(run)


def add_options(run: argparse.ArgumentParser) -> None:
    """Declare what can be chosen of any worker, whatever starts it."""
    run.add_argument(
        "--concurrency",
        type=of(count),
        default=setting("BGWORKER_CONCURRENCY") or str(os.cpu_count() or 1),
        metavar="N",
        help="jobs at one time (default: $BGWORKER_CONCURRENCY, else the number of CPUs)",
    )
    run.add_argument(
        "--pool",
        choices=("process", "thread"),
        default="process",
        help="what a job runs in (default: process). thread: all in threads of one process, for "
        "jobs that mostly wait. They are not isolated: a crash ends all of them, time limits and "
        "cancel cannot break off a call into C without ending the others, which then run again",
    )
    run.add_argument("--queues", type=queue_names, metavar="A,B", help="only these (default: all)")
    run.add_argument(
        "--grace",
        type=seconds,
        default=8.0,
        metavar="S",
        help="seconds running jobs have to finish after SIGTERM; then they go back (default: 8)",
    )
    run.add_argument(
        "--health",
        type=address,
        metavar="HOST:PORT",
        help="answer /healthz and /metrics over HTTP there (default: not)",
    )
    _add_limits(run)
    run.set_defaults(refuse=run.error)


def _add_limits(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--rate-limit",
        type=of(rate),
        default=setting("BGWORKER_RATE_LIMIT"),
        metavar="N/s",
        help="starts per time of all workers with a rate together (default: $BGWORKER_RATE_LIMIT)",
    )
    run.add_argument(
        "--retention-days",
        type=of(retention_days),
        default=setting("BGWORKER_RETENTION_DAYS") or argparse.SUPPRESS,
        metavar="D",
        help="keep ended jobs this long, or forever (default: $BGWORKER_RETENTION_DAYS, else 30)",
    )
    run.add_argument(
        "--cleanup-interval-hours",
        type=interval_hours,
        default=argparse.SUPPRESS,
        metavar="H",
        help="hours between two clean-ups (default: 1)",
    )
    run.add_argument(
        "--max-jobs-per-child", type=limit, metavar="N", help="replace a child after N jobs"
    )
    run.add_argument(
        "--max-rss",
        type=of(limit),
        default=setting("BGWORKER_MAX_RSS"),
        metavar="MIB",
        help="replace a child that holds more memory after a job (default: $BGWORKER_MAX_RSS)",
    )


def _run(args: argparse.Namespace) -> int:
    from bgworker.worker.run import run_worker

    run_worker(worker_options(args, app=args.app, url=args.url))
    return 0


def worker_options(args: argparse.Namespace, *, app: str, url: str | None) -> WorkerOptions:
    """What was chosen with the options of :func:`add_options`, and by the environment."""
    from bgworker.worker.run import WorkerOptions

    style = os.environ.get("BGWORKER_LOG") or None
    if style not in {None, *STYLES}:
        args.refuse(f"$BGWORKER_LOG: {style!r:.80} must be {' or '.join(STYLES)}")
    return WorkerOptions(
        app=app,
        concurrency=args.concurrency,
        url=url,
        pool=args.pool,
        queues=args.queues,
        grace=args.grace,
        rate_limit=args.rate_limit,
        max_jobs_per_child=args.max_jobs_per_child,
        max_rss=args.max_rss,
        health=args.health,
        **_given(args, "retention_days", "cleanup_interval_hours"),
    )


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """What was said of these; of the others a worker has its own defaults."""
    return {name: getattr(args, name) for name in names if hasattr(args, name)}
