"""Reads the words of a command line that are plain, without argparse.

Argparse, with the tables of languages it loads to have its words translated, is more than half a
megabyte, for as long as the live view runs. Help, faults and unusual forms are left to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace

from bgtop.cli.option_table import SOURCES, Option


def read(words: Sequence[str], options: Iterable[Option]) -> SimpleNamespace | None:
    """What argparse would make of sources and these options; ``None`` where only it can say."""
    known = {option.word: option for option in options}
    found: dict[str, object] = {option.key: option.not_given for option in known.values()}
    sources: list[str] = []
    left = list(reversed(words))
    while left:
        word = left.pop()
        if not word.startswith("-"):
            if sources:
                return None  # of sources there is one group, which is read below
            sources = [word]
            while left and not left[-1].startswith("-"):
                sources.append(left.pop())
            continue
        name, sign, text = word.partition("=")
        option = known.get(name)
        if option is None or (sign and option.value is None):
            return None
        if option.value is None:
            found[option.key] = option.given
            continue
        if not sign:
            if not left or left[-1].startswith("-"):
                return None
            text = left.pop()
        found[option.key] = text
    return SimpleNamespace(**{SOURCES: sources}, **found)
