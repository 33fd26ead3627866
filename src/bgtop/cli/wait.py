"""``bgtop wait``: for scripts and CI, until a queue is empty or short enough."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

from bgtop.cli.feeds import Faults, open_feeds
from bgtop.cli.options import Parser, add_display, add_sources, new_parser, positive, real
from bgtop.cli.settings import complain, config_of
from bgtop.following import Following
from bgtop.oneshot import Wanted
from bgtop.state.goals import Goal, Progress, progress_of
from bgworker.values import replace

if TYPE_CHECKING:
    from bgtop.config import Config

_INTERVAL: Final = 0.5

_EPILOG: Final = """\
A source that cannot be reached is tried again until the time is over. A queue that is not there is
empty, as brokers forget empty queues; a line on standard error says so.
exit status: 0 it is so, 1 the time is over, 2 wrong usage or configuration
"""


def parser(_: str) -> Parser:
    """What reads the arguments."""
    made = new_parser(
        "bgtop wait",
        "Wait until queues are empty, idle or short enough.",
        usage="bgtop wait [SOURCE ...] --queue Q --empty|--idle|--depth-below N [--timeout S]",
        epilog=_EPILOG,
    )
    goal = made.add_argument_group("what is waited for")
    goal.add_argument(
        "--queue", action="append", required=True, metavar="Q", help="this queue; may be repeated"
    )
    kind = goal.add_mutually_exclusive_group(required=True)
    kind.add_argument("--empty", action="store_true", help="no job waits in it")
    kind.add_argument("--idle", action="store_true", help="and none is running or delivered")
    kind.add_argument("--depth-below", type=positive, metavar="N", help="fewer than N jobs wait")
    goal.add_argument("--timeout", type=_seconds, metavar="S", help="at most so long (for ever)")
    add_sources(made, interval=_INTERVAL, cut=False)
    add_display(made)
    return made


def run(_: str, options: argparse.Namespace) -> int:
    """Poll until it is so; the exit status."""
    config = replace(config_of(options), show_internal=True)
    below = options.depth_below or 1
    goals = [Goal(queue=name, below=below, idle=options.idle) for name in options.queue]
    interval = config.refresh_interval if options.refresh_interval else _INTERVAL
    progress = _wait(config, goals, interval, options)
    if progress.reached:
        for name in progress.absent:
            complain(f"there is no queue {name}, so nothing waits in it")
        return 0
    complain(f"not within {options.timeout:g} s: {'; '.join(progress.lacks)}")
    return 1


def _wait(
    config: Config, goals: list[Goal], interval: float, options: argparse.Namespace
) -> Progress:
    """How far it came when it was so or the time was over."""
    faults = Faults()
    until = time.monotonic() + (options.timeout if options.timeout is not None else 1e9)
    wanted = Wanted(interval=interval)
    try:
        feeds = open_feeds(config)
        with closing(Following(feeds, config, wanted, report=faults.report)) as following:
            progress = progress_of(following.frame, goals)
            while not progress.reached and (left := until - time.monotonic()) > 0:
                if following.learn(min(left, 60.0)) is not None:
                    progress = progress_of(following.frame, goals)
            return progress
    finally:
        if options.verbose:
            sys.stderr.write(str(faults))


def _seconds(text: str) -> float:
    value = real(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is no time to wait")
    return value
