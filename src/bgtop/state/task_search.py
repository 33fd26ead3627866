"""The search language of Flower's list of tasks: a text becomes a condition. Pure.

Terms beside each other, or with ``AND`` between them, hold together; ``OR`` and parentheses do as
usual. A term is found within the texts of a task, or with ``field:`` before it in one of them;
``state:`` and ``kwargs:key=value`` are compared as a whole. Letters large and small are the same.
What is refused, and in which words, was observed at Flower 2.2.0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgtop.state.seen_tasks import SeenTask

Condition = Callable[["SeenTask"], bool]

LONGEST: Final = 2048
MOST_TOKENS: Final = 128
DEEPEST: Final = 5
SHORTEST: Final = 3

_FIELDS: Final = frozenset({"name", "state", "worker", "args", "kwargs", "result"})
_ANYWHERE: Final = ("uuid", "name", "state", "worker", "args", "kwargs", "result")
_OPENING, _CLOSING = "([{", ")]}"
_REFUSED: Final = {
    "AND": "Expected a search term",
    "OR": "Expected a search term",
    "NOT": "NOT is not supported",
    ")": "Unexpected ')'",
}
"""What cannot stand where a term has to, and what is said of it."""


class BadSearch(ValueError):
    """A text that is no search; the message says what is wrong, and where."""


class _Token(NamedTuple):
    """A word without its quotes; a ``quoted`` one is no operator."""

    at: int
    text: str
    quoted: bool = False


def search_of(text: str) -> Condition | None:
    """The condition a text describes, none for an empty one; raises :class:`BadSearch`."""
    if len(text) > LONGEST:
        raise BadSearch(f"Query exceeds {LONGEST} characters.")
    tokens = [*_tokens(text)]
    if len(tokens) > MOST_TOKENS:
        raise BadSearch(f"Query exceeds {MOST_TOKENS} tokens.")
    return _Parser(tokens, len(text)).whole() if tokens else None


def _wrong(words: str, at: int) -> BadSearch:
    return BadSearch(f"{words} at position {at}.")


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
        elif text[at] in "()":
            yield _Token(at, text[at])
            at += 1
        else:
            token, at = _word(text, at)
            yield token


def _word(text: str, start: int) -> tuple[_Token, int]:
    """The word that begins here, and where it ends; a quote holds blanks together."""
    at, letters = start, ""
    quote_open = quoted = False
    while at < len(text) and (quote_open or not (text[at].isspace() or text[at] in "()")):
        letter = text[at]
        if letter == "\\" and quote_open and text[at + 1 : at + 2] in {'"', "\\"}:
            at += 1
            letters += text[at]
        elif letter == '"':
            quote_open, quoted = not quote_open, True
        else:
            letters += letter
        at += 1
    if quote_open:
        raise _wrong("Unterminated quoted phrase", start)
    return _Token(start, letters, quoted), at


class _Parser:
    """One step after the other over the tokens of a text of this length."""

    def __init__(self, tokens: list[_Token], length: int) -> None:
        self._tokens, self._length, self._next = tokens, length, 0

    def whole(self) -> Condition:
        found = self._either(0)
        token = self._peek()
        if token is not None:  # what else ends an alternative is a parenthesis
            raise _wrong("Unexpected ')'", token.at)
        return found

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _is(self, text: str) -> bool:
        token = self._peek()
        return token is not None and token.text == text and not token.quoted

    def _either(self, depth: int) -> Condition:
        found = [self._both(depth)]
        while self._is("OR"):
            self._operator("OR")
            found.append(self._both(depth))
        return found[0] if len(found) == 1 else lambda task: any(one(task) for one in found)

    def _both(self, depth: int) -> Condition:
        found = [self._one(depth)]
        while self._peek() is not None and not self._is("OR") and not self._is(")"):
            if self._is("AND"):
                self._operator("AND")
            found.append(self._one(depth))
        return found[0] if len(found) == 1 else lambda task: all(one(task) for one in found)

    def _operator(self, word: str) -> None:
        at = self._tokens[self._next].at
        self._next += 1
        if self._peek() is None or any(map(self._is, ("AND", "OR", ")"))):
            raise _wrong(f"{word} must be followed by a search term", at)

    def _one(self, depth: int) -> Condition:
        token = self._peek()
        if token is None:
            raise _wrong("Expected a search term", self._length)
        self._next += 1
        if token.text == "(" and not token.quoted:
            return self._group(token, depth + 1)
        if not token.quoted and token.text in _REFUSED:
            raise _wrong(_REFUSED[token.text], token.at)
        if token.text.startswith("-"):
            raise _wrong("Negation with '-' is not supported", token.at)
        return _term(token)

    def _group(self, opening: _Token, depth: int) -> Condition:
        if depth > DEEPEST:
            raise _wrong(f"Query nesting exceeds {DEEPEST} levels", opening.at)
        if self._is(")"):
            raise _wrong("Empty group", opening.at)
        found = self._either(depth)
        if not self._is(")"):
            raise _wrong("Missing closing parenthesis", opening.at)
        self._next += 1
        return found


def _term(token: _Token) -> Condition:
    field, colon, wanted = token.text.casefold().partition(":")
    if not colon or field not in _FIELDS:
        field, wanted = "", token.text.casefold()
    if not wanted:
        words = "Search qualifier requires a value" if field else "Empty search term"
        raise _wrong(words, token.at)
    if field == "state":
        return lambda task: task.state.casefold() == wanted
    key, sign, value = wanted.partition("=")
    if field == "kwargs" and sign:
        return lambda task: (key, value) in pairs_in((task.kwargs or "").casefold())
    if len(wanted) < SHORTEST:
        words = f"Substring search terms must contain at least {SHORTEST} characters"
        raise _wrong(words, token.at)
    fields = (field,) if field else _ANYWHERE
    return lambda task: any(wanted in str(getattr(task, f) or "").casefold() for f in fields)


def pairs_in(text: str) -> Iterator[tuple[str, str]]:
    """Keys and values of a dictionary as Python writes it, without their quotes; never evaluated.

    What is nested is a part of its value. Of a text that was cut the last value may be, too.
    """
    if not text.startswith("{"):
        return
    key, begin, at, depth = "", 1, 1, 0
    while at < len(text):
        letter = text[at]
        if letter in "\"'":
            at = _end_of_string(text, at)
            continue
        depth += (letter in _OPENING) - (letter in _CLOSING)
        if letter == ":" and depth == 0 and not key:
            key, begin = _unquoted(text[begin:at]), at + 1
        elif (letter == "," and depth == 0) or depth < 0:
            yield key, _unquoted(text[begin:at])
            key, begin = "", at + 1
            if depth < 0:
                return
        at += 1


def _end_of_string(text: str, at: int) -> int:
    quote, at = text[at], at + 1
    while at < len(text) and text[at] != quote:
        at += 2 if text[at] == "\\" else 1
    return at + 1


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0]:
        return text[1:-1].replace("\\" + text[0], text[0])
    return text
