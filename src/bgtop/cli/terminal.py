"""What the terminal and the user's environment allow."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from bgtop.contracts import Look
from bgworker.values import replace


def is_interactive() -> bool:
    """Whether there is a screen to draw on and a keyboard to read."""
    return sys.stdout.isatty() and sys.stdin.isatty()


def look_of(wish: Look, environ: Mapping[str, str]) -> Look:
    """The user's wishes, lowered to what the environment asks for."""
    return replace(
        wish,
        color=wish.color and not environ.get("NO_COLOR"),
        ascii=wish.ascii or not _speaks_utf8(environ),
    )


def _speaks_utf8(environ: Mapping[str, str]) -> bool:
    # Python replaces a plain C locale by one in UTF-8 and says so in LC_CTYPE; a user who asked
    # for C in LANG has a terminal that may not know anything else.
    coerced = environ.get("LC_CTYPE") == "C.UTF-8" and environ.get("LANG") in {"C", "POSIX"}
    if coerced and not environ.get("LC_ALL"):
        return False
    from _locale import CODESET, nl_langinfo

    names = (nl_langinfo(CODESET), sys.stdout.encoding)
    return all(name.lower().replace("-", "") == "utf8" for name in names)
