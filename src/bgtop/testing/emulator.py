"""A terminal emulator for tests: pyte, faster, and the three sequences of xterm that it lacks."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import pyte
from pyte import charsets, modes
from pyte.screens import Char
from wcwidth import wcwidth


class EmulatedScreen(pyte.Screen):
    """Also scrolls (SU, SD) and repeats a letter (REP), as ncurses makes xterm do."""

    _last = ""
    _shown: list[str] = []  # noqa: RUF012 - never changed in place while it is empty

    def __init__(self, columns: int, lines: int) -> None:
        self._renditions: dict[tuple[Char, tuple[int, ...], bool], Char] = {}
        super().__init__(columns, lines)

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
        self._last = data[-1:] or self._last
        while data:
            letters = data[: self.columns - self.cursor.x]
            if letters and self._is_plain(letters):
                self._put(letters)
            else:
                # As far as the first letter of the next line.
                letters = data[: len(letters) + 1]
                # An accent may belong to the last letter of the line above.
                self.dirty.add(max(0, self.cursor.y - 1))
                super().draw(letters)
            data = data[len(letters) :]

    def _put(self, letters: str) -> None:
        x = self.cursor.x
        end = self.cursor.x = x + len(letters)
        cells = map(_cells(self.cursor.attrs).__getitem__, letters)
        self.buffer[self.cursor.y].update(zip(range(x, end), cells, strict=True))
        self.dirty.add(self.cursor.y)

    def _is_plain(self, letters: str) -> bool:
        """Whether each letter just goes to the next cell of the same row."""
        return (
            modes.IRM not in self.mode
            and (self.g1_charset if self.charset else self.g0_charset) is charsets.LAT1_MAP
            and ((letters.isascii() and letters.isprintable()) or _are_of_one_cell(letters))
        )

    def select_graphic_rendition(self, *attributes: int) -> None:
        """Colours and the like; a picture has few, and each of them hundreds of times."""
        key = (self.cursor.attrs, attributes, modes.DECSCNM in self.mode)
        found = self._renditions.get(key)
        if found is None:
            super().select_graphic_rendition(*attributes)
            found = self._renditions[key] = self.cursor.attrs
        self.cursor.attrs = found

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


class _Cells(dict[str, Char]):
    """The cells of these attributes, by letter."""

    def __init__(self, attributes: Char) -> None:
        self._attributes = attributes

    def __missing__(self, letter: str) -> Char:
        cell = self[letter] = self._attributes._replace(data=letter)
        return cell


_cells: Final = lru_cache(maxsize=1000)(_Cells)


@lru_cache(maxsize=10_000)
def _are_of_one_cell(letters: str) -> bool:
    return all(wcwidth(letter) == 1 for letter in letters)


_CSI: Final = {**pyte.Stream.csi, "b": "repeat", "S": "scroll_up", "T": "scroll_down"}


class _Sequences(pyte.Stream):
    """Takes in whole sequences at once, where the parser takes letter by letter."""

    _whole: Final = re.compile("\x1b\\[([0-9;]*)([" + "".join(_CSI) + "])", re.ASCII)

    def feed(self, data: str) -> None:
        """Take in what a program wrote, decoded."""
        screen, at = self.listener, 0
        while screen is not None and at < len(data):
            between = self._taking_plain_text
            if between and (letters := self._text_pattern.match(data, at)):
                at = letters.end()
                screen.draw(letters[0])
            elif between and (found := self._whole.match(data, at)):
                at = found.end()
                numbers = [min(int(number or 0), 9999) for number in found[1].split(";")]
                getattr(screen, _CSI[found[2]])(*numbers)
            else:
                self._taking_plain_text = self._send_to_parser(data[at])
                at += 1


class Emulator(pyte.ByteStream, _Sequences):  # type: ignore[misc]  # bytes here, text there
    """The stream of bytes to such a screen."""

    csi = _CSI
    events = pyte.ByteStream.events | {"repeat", "scroll_up", "scroll_down"}
