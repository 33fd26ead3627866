"""The command ``bgtop``: finds the command that is meant, and says what went wrong in a line."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from bgtop.cli import option_table
from bgtop.cli.commands import LIVE, command_named, family_of
from bgtop.cli.quick import read
from bgtop.cli.settings import complain
from bgtop.config import ConfigError
from bgtop.contracts import BackendError, Interrupted
from bgtop.registry import PluginError

if TYPE_CHECKING:
    import argparse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us: nobody reads it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - until the end
    try:
        try:
            return _run(given)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has seen enough; the interpreter must not try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        if arguments is None:  # the program: a second Ctrl-C, while it ends, must not change how
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return 130
    except Interrupted as interrupted:
        return _end_by(interrupted.signal)
    except Exception as fault:
        status = _explain(fault)
        if status is None and "--verbose" in given:
            raise
        return status or 1


def _run(given: Sequence[str]) -> int:
    command = command_named(given[0]) if given else None
    family = family_of(command or LIVE)
    if command is None:
        plain = read(given, option_table.LIVE)
        if plain is not None:
            return family.run("", cast("argparse.Namespace", plain))
    name, rest = (command.name, given[1:]) if command else ("", given)
    return family.run(name, family.parser(name).parse_args(rest))


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
