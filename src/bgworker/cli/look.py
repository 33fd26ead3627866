"""The commands that only read: ``bgworker inspect``, ``stats``, ``failed``, ``dead``."""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

from bgworker.cli.arguments import add_target, limit, name, new_command, url_of
from bgworker.cli.output import say
from bgworker.states import JobState


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    inspect = new_command(
        commands, "inspect", _inspect, "show one job whole, or the queues and workers"
    )
    inspect.add_argument("id", nargs="?", metavar="ID", help="a job's id")
    add_target(inspect)

    stats = new_command(commands, "stats", _stats, "count jobs by state, queue and worker")
    add_target(stats)

    for state, text in (
        (JobState.FAILED, "list jobs that failed and were not worth another try"),
        (JobState.DEAD, "list jobs that used up their tries"),
    ):
        listing = new_command(commands, state.value, _list, text)
        listing.add_argument("--limit", type=limit, default=20, metavar="N", help="newest N (20)")
        listing.add_argument("--queue", type=name, help="only of this queue")
        listing.add_argument("--task", type=name, help="only of this task")
        listing.set_defaults(state=state)
        add_target(listing)


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


def _list(args: argparse.Namespace) -> int:
    from bgworker import report

    with closing(report.inspector(url_of(args))) as inspector:
        records = inspector.ended(args.state, args.queue, args.task, limit=args.limit)
    say(report.jobs_json(records) if args.json else report.jobs_text(records))
    return 0
