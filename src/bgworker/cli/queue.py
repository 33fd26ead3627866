"""The commands about whole queues: ``bgworker pause``, ``resume``, ``schedule``, ``doctor``."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from typing import Any

from bgworker.cli.arguments import add_target, existing_queue, name, new_command, url_of
from bgworker.cli.output import say
from bgworker.log import printable


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    for verb, paused, text in (
        ("pause", True, "let no worker start jobs of a queue; running ones go on"),
        ("resume", False, "let workers start jobs of a paused queue again"),
    ):
        command = new_command(commands, verb, _pause, text)
        command.add_argument("queue", type=name, metavar="QUEUE", help="the queue")
        command.set_defaults(paused=paused)
        add_target(command)

    schedule = new_command(
        commands, "schedule", _schedule, "show what runs by itself: when last, when next"
    )
    add_target(schedule)

    doctor = new_command(
        commands, "doctor", _doctor, "look for what is wrong, and say what mends it"
    )
    doctor.add_argument(
        "--salvage",
        metavar="FILE",
        help="write what can be read of the jobs in a damaged queue into this new file",
    )
    add_target(doctor)


def _pause(args: argparse.Namespace) -> int:
    with closing(existing_queue(args)) as engine:
        engine.pause(args.queue, paused=args.paused)
    done = "is paused" if args.paused else "is not paused any more"
    answer = {"queue": args.queue, "paused": args.paused}
    say(json.dumps(answer) if args.json else f"{printable(args.queue)} {done}")
    return 0


def _schedule(args: argparse.Namespace) -> int:
    from bgworker.schedule_report import look_at_schedules, schedules_json, schedules_text

    found = look_at_schedules(url_of(args))
    say(schedules_json(found) if args.json else schedules_text(found))
    return 0


def _doctor(args: argparse.Namespace) -> int:
    """Exit code: 1 if anything is wrong that costs jobs or time now."""
    if args.salvage is not None:
        return _salvage(args)
    from bgworker import doctor

    found = doctor.examine(url_of(args))
    say(doctor.findings_json(found) if args.json else doctor.findings_text(found))
    return int(any(finding.severity is doctor.Severity.ERROR for finding in found))


def _salvage(args: argparse.Namespace) -> int:
    """Exit code: 1 if something could not be read."""
    from bgworker.salvage import salvage
    from bgworker.values import asdict

    saved = salvage(url_of(args), args.salvage)
    if args.json:
        say(json.dumps(asdict(saved)))
    else:
        counted = "" if saved.counted is None else f" of {saved.counted}"
        say(printable(f"{saved.jobs}{counted} jobs that have not ended are in {args.salvage}"))
    if saved.why is not None and not args.json:
        say(printable(f"parts of the file could not be read: {saved.why}"))
    return int(saved.why is not None)
