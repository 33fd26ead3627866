"""A terminal emulator for tests: pyte, faster, and the three sequences of xterm that it lacks."""

from __future__ import annotations

from functools import lru_cache

import pyte
from pyte import charsets, modes
from pyte.screens import Char


class EmulatedScreen(pyte.Screen):
    """Also scrolls (SU, SD) and repeats a letter (REP), as ncurses makes xterm do."""

    _last = ""
    _shown: list[str] = []  # noqa: RUF012 - never changed in place while it is empty

    @property
    def text(self) -> str:
        """What is shown: a line for each row, without trailing blanks."""
        if len(self._shown) != self.lines:
            self._shown = [""] * self.lines
            self.dirty.update(range(self.lines))
        for number in self.dirty:
            if number < self.lines:
                row = self.buffer[number]
                # The second half of a wide letter is an empty cell.
                line = "".join([row[column].data for column in range(self.columns)])
                self._shown[number] = line.rstrip()
        self.dirty.clear()
        return "\n".join(self._shown)

    def draw(self, data: str) -> None:
        """Draw letters; the last of them may be repeated."""
        if self._is_plain(data):
            row, x, attributes = self.buffer[self.cursor.y], self.cursor.x, self.cursor.attrs
            for letter in data:
                row[x] = _cell(attributes, letter)
                x += 1
            self.cursor.x = x
            self.dirty.add(self.cursor.y)
        else:
            super().draw(data)
        self._last = data[-1:] or self._last

    def _is_plain(self, data: str) -> bool:
        """Whether each letter just goes to the next cell of the same row."""
        return (
            data.isascii()
            and data.isprintable()
            and self.cursor.x + len(data) <= self.columns
            and modes.IRM not in self.mode
            and (self.g1_charset if self.charset else self.g0_charset) is charsets.LAT1_MAP
        )

    def repeat(self, count: int = 1) -> None:
        """The last letter so often again."""
        super().draw(self._last * (count or 1))

    def scroll_up(self, count: int = 1) -> None:
        """The lines between the margins, so far."""
        self._scroll(count, down=False)

    def scroll_down(self, count: int = 1) -> None:
        """The same the other way."""
        self._scroll(count, down=True)

    def _scroll(self, count: int, *, down: bool) -> None:
        top, bottom = self.margins or (0, self.lines - 1)
        row = self.cursor.y
        self.cursor.y = top if down else bottom
        for _ in range(count or 1):
            self.reverse_index() if down else self.index()
        self.cursor.y = row


@lru_cache(maxsize=10_000)
def _cell(attributes: Char, letter: str) -> Char:
    return attributes._replace(data=letter)


class Emulator(pyte.ByteStream):
    """The stream of bytes to such a screen."""

    csi = {  # noqa: RUF012 - the form of the class above
        **pyte.ByteStream.csi,
        "b": "repeat",
        "S": "scroll_up",
        "T": "scroll_down",
    }
    events = pyte.ByteStream.events | {"repeat", "scroll_up", "scroll_down"}
