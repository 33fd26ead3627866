"""``bgworker check``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from bgworker.cli.arguments import new_command
from bgworker.cli.output import say

if TYPE_CHECKING:
    from bgworker.capabilities import Target


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    check = new_command(
        commands, "check", _check, "import an app as a worker would, and say what is not well"
    )
    check.add_argument("--app", required=True, metavar="MODULE[:NAME]", help="where the tasks are")
    check.add_argument("--url", help="the queue (default: the app's own)")
    check.add_argument(
        "--target",
        type=_target,
        metavar="URL",
        help="also: what the tasks use and this engine lacks, such as celery+redis://host",
    )
    check.add_argument("--json", action="store_true", help="one JSON document on stdout")


def _target(url: str) -> Target:
    from bgworker.capabilities import TARGETS

    scheme, found, _ = url.partition("://")
    if not found or scheme not in TARGETS:
        known = ", ".join(f"{name}://" for name in TARGETS)
        message = f"{url[:80]!r} names no engine that is known; known: {known}"
        raise argparse.ArgumentTypeError(message)
    return TARGETS[scheme]


def _check(args: argparse.Namespace) -> int:
    """Exit code: 1 if anything was found."""
    import time

    from bgworker.checkup import check, checkup_json, checkup_text

    found = check(args.app, args.url, args.target, time.time_ns() // 1_000_000)
    sys.stderr.write(found.traceback)
    say(checkup_json(found) if args.json else checkup_text(found))
    return int(bool(found.faults))
