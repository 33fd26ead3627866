"""What the parsers know of themselves: for completion in a shell, and for the man page."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

from bgtop.cli.commands import COMMANDS, LIVE, Command, family_of


class Option(NamedTuple):
    """An option: its name, what stands for its value (empty for a switch), its words, choices."""

    name: str
    value: str
    words: str
    choices: tuple[str, ...]


class Described(NamedTuple):
    """A command with all its options."""

    command: Command
    usage: str
    words: str
    epilog: str
    options: tuple[Option, ...]
    first_words: tuple[str, ...] = ()
    """What may follow the command, where that is one of a few words."""


def everything() -> list[Described]:
    """The live view, then all commands."""
    return [described(command) for command in (LIVE, *COMMANDS)]


def described(command: Command) -> Described:
    """One command, by its parser."""
    parser = family_of(command).parser(command.name)
    return Described(
        command,
        " ".join((parser.usage or "").split()),
        " ".join((parser.description or "").split()),
        parser.epilog or "",
        tuple(_options(parser)),
        tuple(_first_words(parser)),
    )


def _first_words(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if not action.option_strings:
            yield from map(str, action.choices or ())


def _options(parser: argparse.ArgumentParser) -> Iterator[Option]:
    for action in parser._actions:
        names = [name for name in action.option_strings if name.startswith("--")]
        if not names or action.help == argparse.SUPPRESS:
            continue
        value = ""
        if action.nargs != 0:
            metavar = action.metavar if isinstance(action.metavar, str) else None
            value = metavar or action.dest.upper()
        choices = tuple(map(str, action.choices or ()))
        yield Option(names[0], "|".join(choices) or value, action.help or "", choices)
