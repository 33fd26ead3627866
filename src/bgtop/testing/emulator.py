"""A terminal emulator for tests: pyte, and the three sequences of xterm that it lacks."""

from __future__ import annotations

import pyte


class EmulatedScreen(pyte.Screen):
    """Also scrolls (SU, SD) and repeats a letter (REP), as ncurses makes xterm do."""

    _last = ""

    def draw(self, data: str) -> None:
        """Draw letters; the last of them may be repeated."""
        super().draw(data)
        self._last = data[-1:] or self._last

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


class Emulator(pyte.ByteStream):
    """The stream of bytes to such a screen."""

    csi = {  # noqa: RUF012 - the form of the class above
        **pyte.ByteStream.csi,
        "b": "repeat",
        "S": "scroll_up",
        "T": "scroll_down",
    }
    events = pyte.ByteStream.events | {"repeat", "scroll_up", "scroll_down"}
