"""The commands that only read: ``bgworker inspect``, ``stats``."""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

from bgworker.cli.arguments import add_target, new_command, url_of
from bgworker.cli.output import say


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    inspect = new_command(
        commands, "inspect", _inspect, "show one job whole, or the queues and workers"
    )
    inspect.add_argument("id", nargs="?", metavar="ID", help="a job's id")
    add_target(inspect)

    stats = new_command(commands, "stats", _stats, "count jobs by state, queue and worker")
    add_target(stats)


def _inspect(args: argparse.Namespace) -> int:
    from bgworker import report

    if args.id is None:
        return _stats(args)
    with closing(report.inspector(url_of(args))) as inspector:
        record = inspector.job(args.id)
    say(report.job_json(record) if args.json else report.job_text(record))
    return 0


def _stats(args: argparse.Namespace) -> int:
    from bgworker import report

    stats = report.look(url_of(args))
    say(report.stats_json(stats) if args.json else report.stats_text(stats))
    return 0
