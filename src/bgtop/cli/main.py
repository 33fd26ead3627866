"""The command ``bgtop``: reads the command line and calls what it names."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

from bgtop import __version__
from bgtop.cli.options import (
    add_display,
    add_sources,
    complain,
    config_of,
    new_parser,
)
from bgtop.config import Config, ConfigError
from bgtop.contracts import BackendError, Interrupted
from bgtop.registry import PluginError

_COMMANDS: Final = """\
commands, given first (bgtop COMMAND --help says more):
    snapshot   one reading as text, JSON or CSV
    plugins    the job systems and renderers that can be used here
    demo       a queue made for looking around, with bgtop watching it

keys of the live view: press ? there
exit status: 0 done, 1 a source failed, 2 wrong usage or configuration, 130 interrupted
"""


def _live(arguments: Sequence[str]) -> int:
    parser = new_parser(
        "bgtop",
        "See and steer background jobs from one screen. Without a terminal on its output,\n"
        "bgtop prints one plain-text snapshot.",
        usage="bgtop [SOURCE ...] [OPTIONS]\n       bgtop COMMAND ...",
        epilog=_COMMANDS,
    )
    add_sources(parser, interval=Config().refresh_interval)
    add_display(parser)
    parser.add_argument("--version", action="version", version=f"bgtop {__version__}")
    options = parser.parse_args(arguments)
    config = config_of(options)
    from bgtop.cli.live import watch

    return watch(config, verbose=options.verbose)


def _snapshot(arguments: Sequence[str]) -> int:
    from bgtop.cli.snapshot import FORMATS, print_snapshot
    from bgtop.oneshot import Wanted

    parser = new_parser(
        "bgtop snapshot",
        "Print one reading: the same data the live view shows.",
        usage="bgtop snapshot [SOURCE ...] [--format text|json|csv] [--samples N] [OPTIONS]",
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="text unless given")
    parser.add_argument(
        "--samples",
        type=_positive,
        default=1,
        metavar="N",
        help="readings to take; from two on there are rates (1)",
    )
    add_sources(parser, interval=Wanted().interval)
    add_display(parser)
    options = parser.parse_args(arguments)
    config = config_of(options)
    # A live view may be slow, somebody who waits for two samples should not.
    interval = config.refresh_interval if options.refresh_interval else Wanted().interval
    wanted = Wanted(samples=options.samples, interval=interval)
    return print_snapshot(config, wanted, options.format, verbose=options.verbose)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _plugins(arguments: Sequence[str]) -> int:
    parser = new_parser(
        "bgtop plugins",
        "List the job systems and renderers that can be used here.",
        usage="bgtop plugins",
    )
    parser.parse_args(arguments)
    from bgtop.cli.plugins import print_plugins

    return print_plugins()


def _demo(arguments: Sequence[str]) -> int:
    parser = new_parser(
        "bgtop demo",
        "Start a queue with workers in a temporary folder and watch it; nothing is left behind.",
        usage="bgtop demo [OPTIONS]",
    )
    add_display(parser)
    options = parser.parse_args(arguments)
    config = config_of(options, need_source=False)
    from bgtop.cli.demo import run_demo

    return run_demo(config, verbose=options.verbose)


_FAMILIES: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "snapshot": _snapshot,
    "plugins": _plugins,
    "demo": _demo,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    family = _FAMILIES.get(given[0]) if given else None
    try:
        try:
            return family(given[1:]) if family else _live(given)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has seen enough; the interpreter must not try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Interrupted as interrupted:
        return _end_by(interrupted.signal)
    except Exception as fault:
        status = _explain(fault)
        if status is None and "--verbose" in given:
            raise
        return status or 1


def _explain(fault: Exception) -> int | None:
    """Say in a line what is wrong; the exit status, or ``None`` if it is a fault of ours."""
    match fault:
        case ConfigError():
            complain(*fault.faults)
            return 2
        case PluginError():
            complain(str(fault))
            return 2
        case BackendError():
            complain(str(fault))
            return 1
        case _:
            complain(f"unexpected {type(fault).__name__}: {fault} (--verbose shows where)")
            return None


def _end_by(number: int) -> int:
    """End as the signal would have ended us, so that the parent process sees it."""
    if number != signal.SIGINT:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return 130
