"""What commands write: results on standard output, complaints on standard error."""

from __future__ import annotations

import os
import sys

from bgworker.errors import BgWorkerError
from bgworker.log import complain


class OutputLost(Exception):
    """Standard output does not take what we say; the cause says why."""


def say(text: str) -> None:
    """Print a result; raises :class:`OutputLost`."""
    try:
        print(text, flush=True)
    except OSError as error:
        raise OutputLost(f"cannot write the output: {error.strerror}") from error


def explain(error: BgWorkerError) -> None:
    """Say in a line what is wrong, after the traceback of the application if it is its fault."""
    why = getattr(error, "why", "")
    if why:  # the application's own traceback is what its author needs to see
        sys.stderr.write(why)
    complain(str(error))


def silence() -> int:
    """The interpreter flushes once more at its end, and must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
