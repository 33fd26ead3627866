"""Filters from strangers: the same language, less the patterns that can take for ever.

Python's regular expressions go back and forth, and hold everything else up meanwhile. A pattern
that repeats what itself repeats or chooses takes exponential time on the right name, so it is
refused.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any, Final

from bgtop.state.filters import filter_of
from bgtop.state.intake import BadPattern

if TYPE_CHECKING:
    from bgtop.state.filters import Facts

_MOST_REPEATS: Final = 2
"""Of ``*``, ``+`` and the like in one word: each multiplies the time by the length of the text."""

_MOST_CHOICES: Final = 6
"""Of ``|`` groups and ``?``: each may double the time."""

_REPEATS: Final = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})
_REFUSED: Final = frozenset({"GROUPREF", "GROUPREF_EXISTS", "ASSERT", "ASSERT_NOT", "ATOMIC_GROUP"})
_SINGLE: Final = frozenset({"LITERAL", "NOT_LITERAL", "IN", "ANY", "CATEGORY", "RANGE"})


def checked(text: str, facts: Facts[Any]) -> str:
    """The filter as it was given; raises :class:`BadPattern` for one that is none, or too slow."""
    if not text.strip():
        return ""
    for word in _words(text):
        _check(word)
    filter_of(text, facts)
    return text


def _words(text: str) -> list[str]:
    """Everything that may become a pattern: the words, with and without what precedes a colon."""
    words = text.split()
    parts = [part for word in words for part in re.split(r"[:=]", word)[1:]]
    # A pattern may hold blanks between brackets, so the whole text is looked at as well.
    return [*words, *parts, text] if "(" in text or "[" in text else [*words, *parts]


def _check(word: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = _parser().parse(word)
    except (re.error, RecursionError, OverflowError):
        return  # not a pattern by itself; the filter will say so if it should be one
    repeats, choices = _count(parsed, inside=False)
    if repeats > _MOST_REPEATS or choices > _MOST_CHOICES:
        raise BadPattern("this pattern has too many repeats or choices for a server")


def _parser() -> Any:
    try:
        from re import _parser  # type: ignore[attr-defined]
    except ImportError:  # before Python 3.11
        import sre_parse as _parser  # type: ignore[no-redef,import-not-found,unused-ignore]
    return _parser


def _count(parsed: Any, *, inside: bool) -> tuple[int, int]:
    """How many repeats and choices there are; raises for those inside a repeat."""
    repeats = choices = 0
    for code, value in parsed:
        name = str(code)
        if name in _REFUSED:
            raise BadPattern("patterns that look around or back are not for a server")
        if name in _REPEATS:
            _, most, body = value
            single = len(body) == 1 and str(body[0][0]) in _SINGLE
            if inside or (not single and most > 1):
                raise BadPattern("a repeat of more than one letter is not for a server")
            found = _count(body, inside=True)
            repeats += found[0] + (most > 1)
            choices += found[1] + (most <= 1)
        elif name == "BRANCH":
            if inside:
                raise BadPattern("a repeat of more than one letter is not for a server")
            choices += 1
            for branch in value[1]:
                found = _count(branch, inside=inside)
                repeats, choices = repeats + found[0], choices + found[1]
        elif name == "SUBPATTERN":
            found = _count(value[-1], inside=inside)
            repeats, choices = repeats + found[0], choices + found[1]
    return repeats, choices
