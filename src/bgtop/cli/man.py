"""``bgtop man``: the manual page, made of what the parsers say of themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bgtop import __version__
from bgtop.cli.described import Described, everything
from bgtop.cli.options import Parser, new_parser

if TYPE_CHECKING:
    import argparse


def parser(_: str) -> Parser:
    """What reads the arguments: there are none."""
    return new_parser(
        "bgtop man",
        "Print the manual page: bgtop man | man -l -",
        usage="bgtop man",
    )


def run(_: str, __: argparse.Namespace) -> int:
    """Print it."""
    sys.stdout.write(page())
    return 0


def page() -> str:
    """The page as troff."""
    live, *commands = everything()
    lines = [
        f'.TH BGTOP 1 "" "bgtop {__version__}" "User Commands"',
        ".SH NAME",
        r"bgtop \- htop for background jobs",
        ".SH SYNOPSIS",
        f".B {_quoted(live.usage)}",
        ".SH DESCRIPTION",
        _quoted(live.words),
        "A SOURCE is a URL such as redis://localhost:6379/0, amqp://user@host/vhost or",
        "sqlite:///jobs.db, or a profile of the configuration file. With the bare address of a",
        "broker bgtop finds out which job systems live there.",
        ".SH OPTIONS",
        *_options(live),
        ".SH COMMANDS",
    ]
    for one in commands:
        lines += [f".SS {one.command.name}", f".B {_quoted(one.usage)}", ".PP"]
        lines += [_quoted(one.words), *_options(one, without=live)]
    lines += [
        ".SH EXIT STATUS",
        "0 done, 1 a source or an action failed, 2 wrong usage or configuration, 130 interrupted;",
        "of bgtop check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.",
        ".SH FILES",
        ".I ~/.bgtoprc",
        "or $XDG_CONFIG_HOME/bgtop/config: settings and profiles. The audit log is",
        ".I ~/.local/state/bgtop/audit.log",
        ".SH SEE ALSO",
        ".BR bgworker (1)",
    ]
    return "\n".join(lines) + "\n"


def _options(one: Described, without: Described | None = None) -> Iterator[str]:
    """Those of the live view are not told again."""
    known = {option.name for option in without.options} if without else set()
    for option in one.options:
        if option.name in known or option.name == "--help":
            continue
        value = rf" \fI{_quoted(option.value)}\fR" if option.value else ""
        yield from (".TP", rf"\fB{_quoted(option.name)}\fR{value}", _quoted(option.words))


def _quoted(text: str) -> str:
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...")
    text = "".join(c if c.isascii() else rf"\[u{ord(c):04X}]" for c in text)
    return rf"\&{text}" if text.startswith((".", "'")) else text
