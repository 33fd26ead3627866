"""What a job holds as text for people: JSON where it can be, and never longer than asked for."""

from __future__ import annotations

import json

from bgtop.backends.pickle_reading import Made, Named, moment_in

LONGEST = 4_000
"""Letters of the arguments of a job, or of its result."""

LONGEST_TRACEBACK = 32_000

_DEEPEST = 20
_LARGEST_NUMBER = 4_000
"""Bits; Python refuses to write much larger ones."""

_MORE = "…"


class _Full(Exception):
    """There is no room for more."""


def text_of(value: object, most: int = LONGEST) -> str:
    """One line; what is not plain data is shown as ``Name(…)``, what is too long ends in ``…``."""
    parts = _Parts(most)
    try:
        parts.add(value, 0)
    except _Full:
        parts.found.append(_MORE)
    return "".join(parts.found)


def line_of(words: str, most: int = LONGEST) -> str:
    """A text as it is, without what could not be written out again, cut at ``most`` letters."""
    cut = words if len(words) <= most else words[:most] + _MORE
    return cut.encode("utf-8", "backslashreplace").decode()


def last_line(words: str) -> str | None:
    """The line of a traceback that says what went wrong."""
    lines = words.strip().splitlines()
    return line_of(lines[-1]) if lines else None


def ending_of(words: str, most: int = LONGEST_TRACEBACK) -> str:
    """The end of a long text, where a traceback is most interesting."""
    return line_of(words if len(words) <= most else _MORE + words[-most:], most + 1)


class _Parts:
    """The text so far; values may hold themselves, so every step takes some of the room."""

    def __init__(self, most: int) -> None:
        self.found: list[str] = []
        self._left = most

    def add(self, value: object, depth: int) -> None:
        match value:
            case str():
                self._write(json.dumps(line_of(value, self._left), ensure_ascii=False))
            case None | bool() | float():
                self._write(json.dumps(value))
            case int():
                self._write(str(value) if value.bit_length() < _LARGEST_NUMBER else _MORE)
            case bytes() | bytearray():
                self._write(repr(bytes(value[: self._left])))
            case Named(name):
                self._write(line_of(name, self._left))
            case _ if depth >= _DEEPEST:
                self._write(_MORE)
            case Made():
                self._call(value, depth)
            case dict():
                self._pairs(value, depth)
            case list() | tuple():
                self._items("[", value, "]", depth)
            case _:
                self._write(f"<{type(value).__name__}>")

    def _call(self, made: Made, depth: int) -> None:
        moment = moment_in(made)
        if moment is not None:
            self._write(f'"{moment.isoformat()}"')
            return
        self._items(line_of(made.name, self._left) + "(", made.values, ")", depth)

    def _items(
        self, begin: str, values: list[object] | tuple[object, ...], end: str, depth: int
    ) -> None:
        self._write(begin)
        for place, value in enumerate(values):
            if place:
                self._write(", ")
            self.add(value, depth + 1)
        self._write(end)

    def _pairs(self, pairs: dict[object, object], depth: int) -> None:
        self._write("{")
        for place, (key, value) in enumerate(pairs.items()):
            if place:
                self._write(", ")
            self.add(key, depth + 1)
            self._write(": ")
            self.add(value, depth + 1)
        self._write("}")

    def _write(self, words: str) -> None:
        room = self._left
        self._left -= len(words)
        self.found.append(words if self._left >= 0 else words[:room])
        if self._left < 0:
            raise _Full
