"""``bgworker``: run a worker, enqueue a job, look at the queue."""

from __future__ import annotations

import argparse
import importlib
import io
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

import bgworker
from bgworker.cli.arguments import Help
from bgworker.cli.output import OutputLost, explain, silence
from bgworker.errors import BgWorkerError
from bgworker.log import complain

_FAMILIES: Final = (
    "run",
    "enqueue",
    "look",
    "control",
    "queue",
    "check",
)
"""The modules of this package whose ``add(commands)`` declares commands, in the order of --help.

All of them are imported for most commands: what only one command needs, its function imports. A
worker is started with ``run`` alone.
"""
_EPILOG = "Documentation: docs/tutorial.md. Exit codes: 0 done, 1 failed, 2 wrong usage."


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 it failed, 2 wrong usage, 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may not know every letter we show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        arguments = sys.argv[1:] if argv is None else argv
        families = ("run",) if "run" in arguments[:1] else _FAMILIES
        args = _parser(families).parse_args(arguments)
        command: Callable[[argparse.Namespace], int] = args.command
        return command(args)
    except BrokenPipeError:  # argparse's, while it shows its help
        return silence()
    except OutputLost as lost:
        if not isinstance(lost.__cause__, BrokenPipeError):
            complain(str(lost))
        return silence()
    except BgWorkerError as error:
        explain(error)
        return 1
    except KeyboardInterrupt:
        if argv is None:  # the program: a second Ctrl-C, while it ends, must not change how
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return 130


def _parser(families: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bgworker",
        description="Background jobs from one SQLite file, without a server.",
        epilog=_EPILOG,
        formatter_class=Help,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"bgworker {bgworker.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for family in families:
        importlib.import_module(f"bgworker.cli.{family}").add(commands)
    return parser
