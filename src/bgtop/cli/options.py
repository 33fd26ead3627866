"""Parsers of command lines, and the options that several of them share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from contextlib import suppress
from math import isfinite
from typing import Any, NoReturn

from bgtop.cli.option_table import (
    BACKEND,
    DISPLAY,
    FILTERS,
    LIMITS,
    READ_ONLY,
    READING,
    SCREEN,
    SOURCES,
    SOURCES_HELP,
    Option,
)


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class Mixed(Parser):
    """One whose words and options may stand in any order."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The same as argparse's own, which stops collecting words at the first option."""
        return self.parse_intermixed_args(args, namespace)


class Help(argparse.RawDescriptionHelpFormatter):
    """Argparse's own, told how wide the terminal is: it would load compressors to find out."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    chosen = os.environ.get("COLUMNS", "")
    if chosen.isdecimal() and int(chosen) > 0:
        return int(chosen)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def new_parser(
    prog: str,
    description: str,
    *,
    usage: str,
    epilog: str | None = None,
    kind: type[Parser] = Parser,
) -> Parser:
    """A parser with our habits: whole option names only, texts laid out as written."""
    return kind(
        prog=prog,
        usage=usage,
        description=description,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=Help,
    )


def positive(text: str) -> int:
    """A whole number from 1 on."""
    try:
        value = int(text)
    except ValueError:  # argparse would name this function
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def real(text: str) -> float:
    """A finite number."""
    with suppress(ValueError):
        if isfinite(value := float(text)):
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number")


def add_sources(
    parser: argparse.ArgumentParser, *, interval: float = 5.0, cut: bool = True
) -> None:
    """``SOURCE…`` and everything that says which sources, queues and workers are read.

    ``cut``: also the options that leave rows out at the end of a list.
    """
    parser.add_argument(SOURCES, nargs="*", metavar="SOURCE", help=SOURCES_HELP)
    add_reading(parser, interval=interval, cut=cut)


def add_acting(parser: argparse.ArgumentParser) -> None:
    """What commands that change something have in common."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_read_only(parser)
    add_display(parser)


def add_read_only(parser: argparse.ArgumentParser) -> None:
    """The option that refuses every change."""
    _add(parser, (READ_ONLY,))


def add_reading(
    parser: argparse.ArgumentParser,
    *,
    interval: float = 5.0,
    cut: bool = True,
    rows: bool = True,
) -> None:
    """The same without ``SOURCE…``; without ``rows`` no option leaves any of them out."""
    reading = parser.add_argument_group("what is read")
    _add(reading, (BACKEND,))
    if rows:
        said = (option._replace(help=option.help.format(interval=interval)) for option in READING)
        _add(reading, said)
        shown = parser.add_argument_group("what is shown")
        _add(shown, (*FILTERS, *(LIMITS if cut else ())))


def add_display(parser: argparse.ArgumentParser) -> None:
    """Options about letters, colours, the configuration and faults."""
    _add(parser.add_argument_group("general"), DISPLAY)


def add_screen(parser: argparse.ArgumentParser) -> None:
    """Options about the live screen."""
    _add(parser.add_argument_group("the screen"), SCREEN)


def _add(
    group: argparse.ArgumentParser | argparse._ArgumentGroup, options: Iterable[Option]
) -> None:
    for option in options:
        if option.value is None:
            group.add_argument(
                option.word,
                dest=option.key,
                action="store_const",
                const=option.given,
                default=option.not_given,
                help=option.help,
            )
        else:
            group.add_argument(option.word, dest=option.key, metavar=option.value, help=option.help)
