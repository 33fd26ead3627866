"""The live screen in a terminal, drawn by curses.

The loop's thread owns everything here; other threads and signal handlers only ring the bell.
"""

from __future__ import annotations

import contextlib
import curses
import os
import select
import signal
import sys
from typing import TYPE_CHECKING, Final

from bgtop.contracts import Interrupted, Look, NoTerminal, RendererPlugin, Size
from bgtop.renderers.buffered import BufferedOutput
from bgtop.renderers.keys import MOUSE, REDRAW, mouse_name, name_of
from bgtop.renderers.palette import palette
from bgtop.renderers.signals import Bell, Signals
from bgtop.view.layout import Screen, layout

if TYPE_CHECKING:
    from bgtop.page import Page
    from bgtop.view.spans import Line

_ESCAPE_MILLISECONDS: Final = 25
"""How long an Esc may be the beginning of a longer key."""

_MOST_EMPTY_READS: Final = 20
"""Input that is ready and yet holds no key, so often in a row, is a terminal that is gone."""

_LONGEST_SEQUENCE: Final = 32
"""Letters after which a sequence that does not end is none."""

_KNOW_CLIPBOARDS: Final = ("xterm", "tmux", "alacritty", "foot", "kitty", "wezterm", "rio")
_LONGEST_COPY: Final = 4096

_NEEDED: Final = ("cup", "clear")
"""What a terminal must be able to do: place the cursor, clear itself."""


class CursesRenderer:
    """A terminal in our hands from ``__init__`` to :meth:`close`."""

    def __init__(self, look: Look) -> None:
        _check_terminal()
        self._look = look
        self._output = BufferedOutput(sys.stdout.fileno())
        self._bell = Bell()
        # Before initscr: it leaves those signals alone that somebody answers already.
        self._signals = Signals(self._bell.ring)
        self._open = True
        try:
            self._window = curses.initscr()
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        curses.noecho()
        curses.cbreak()
        curses.set_escdelay(_ESCAPE_MILLISECONDS)
        # Waiting input must not leave a screen half painted: the loop reads all keys first.
        curses.typeahead(-1)
        self._window.keypad(True)
        self._window.nodelay(True)
        if self._look.mouse:
            curses.mousemask(MOUSE)
            # A press is told at once, not held back until it is known to be no double click.
            curses.mouseinterval(0)
        self._attributes = palette(self._look)
        self._cursor_shown = True
        self._drawn: dict[int, Line] = {}
        self._empty_reads = 0
        self._size = _size()
        # COLUMNS and LINES of the environment, which curses believes, may be of another window.
        curses.resize_term(self._size.rows, self._size.columns)
        self._poll = select.poll()
        self._poll.register(sys.stdin.fileno(), select.POLLIN)
        self._poll.register(self._bell.fileno(), select.POLLIN)

    @property
    def size(self) -> Size:
        """The size the next page is drawn for."""
        return self._size

    def draw(self, page: Page, /) -> None:
        """Write the lines that differ from those on the screen."""
        screen = layout(page, self._size, ascii_letters=self._look.ascii)
        changed = False
        for row, line in enumerate(screen.lines):
            if self._drawn.get(row) != line:
                self._write(row, line)
                self._drawn[row] = line
                changed = True
        changed |= self._place_cursor(screen)
        if changed:
            self._window.noutrefresh()
            with self._output.one_write():
                curses.doupdate()

    def _write(self, row: int, line: Line) -> None:
        # The terminal may be smaller by now than the page was made for: the next one fits.
        with contextlib.suppress(curses.error):
            self._window.move(row, 0)
            self._window.clrtoeol()
            for text, style in line:
                self._window.addstr(text, self._attributes[style])

    def _place_cursor(self, screen: Screen) -> bool:
        shown = screen.cursor is not None
        moved = False
        with contextlib.suppress(curses.error):
            if screen.cursor is not None:
                moved = self._window.getyx() != screen.cursor
                self._window.move(*screen.cursor)
        if shown != self._cursor_shown:
            self._cursor_shown = shown
            moved = True
            # Some terminals cannot hide it.
            with contextlib.suppress(curses.error):
                curses.curs_set(1 if shown else 0)
        return moved

    def next_key(self, timeout: float, /) -> str | None:
        """The next key by name, or ``None`` after ``timeout`` seconds or a wake."""
        key = self._pending()
        if key is not None:
            return key
        for file, event in self._poll.poll(max(0, round(timeout * 1000 + 0.5))):
            if file == self._bell.fileno():
                self._bell.silence()
            else:
                self._note_input(event)
        return self._pending()

    def _note_input(self, event: int) -> None:
        self._empty_reads += 1
        if event & (select.POLLHUP | select.POLLERR) or self._empty_reads > _MOST_EMPTY_READS:
            raise Interrupted(signal.SIGHUP)

    def _pending(self) -> str | None:
        """What is to be told at once: a signal's message, else a key that was typed."""
        if self._signals.ended_by is not None:
            raise Interrupted(self._signals.ended_by)
        if self._signals.stopped:
            self._signals.stopped = False
            curses.endwin()
            self._signals.stop_here()
            self._signals.continued = True
        if self._signals.continued or self._signals.resized:
            if self._signals.continued:
                # What happened to the terminal in between is unknown: enter it anew.
                with contextlib.suppress(curses.error):
                    curses.endwin()
            self._signals.continued = self._signals.resized = False
            self._repaint()
            return "resize"
        return self._typed()

    def _typed(self) -> str | None:
        while True:
            try:
                read = self._window.get_wch()
            except curses.error:
                return None
            key = _mouse() if read == curses.KEY_MOUSE else name_of(read)
            self._empty_reads = 0
            if key == "esc" and self._swallow_sequence():
                continue
            if key == REDRAW:
                self._repaint()
                return "resize"
            if key is not None:
                return key

    def _swallow_sequence(self) -> bool:
        """Take the rest of a key nobody knows, whose letters would be keys of their own."""
        try:
            follower = self._window.get_wch()
        except curses.error:
            return False
        if follower not in {"[", "O"}:
            curses.unget_wch(follower) if isinstance(follower, str) else curses.ungetch(follower)
            return False
        for _ in range(_LONGEST_SEQUENCE):
            try:
                letter = self._window.get_wch()
            except curses.error:
                break
            if follower == "O" or not isinstance(letter, str) or "@" <= letter <= "~":
                break
        return True

    def _repaint(self) -> None:
        self._size = _size()
        with contextlib.suppress(curses.error):
            curses.resize_term(self._size.rows, self._size.columns)
        self._window.clear()
        self._drawn = {}

    def beep(self) -> None:
        """Ring the terminal's bell."""
        curses.beep()

    def wake(self) -> None:
        """Make a waiting :meth:`next_key` return at once."""
        self._bell.ring()

    def copy(self, text: str, /) -> None:
        """Offer this to the clipboard of the terminal (OSC 52), where it is known to ignore more.

        Screens of consoles and of old terminals would print the sequence instead.
        """
        if not os.environ.get("TERM", "").startswith(_KNOW_CLIPBOARDS):
            return
        from base64 import b64encode

        code = b64encode(text.encode("utf-8", "backslashreplace")[:_LONGEST_COPY])
        with contextlib.suppress(OSError):
            os.write(sys.stdout.fileno(), b"\x1b]52;c;" + code + b"\x07")

    def close(self) -> None:
        """Give the terminal back exactly as it was."""
        if not self._open:
            return
        self._open = False
        self._signals.leaving = True
        # A terminal that is gone cannot be restored, and need not be.
        if self._look.mouse:
            with contextlib.suppress(curses.error):
                curses.mousemask(0)
        with contextlib.suppress(curses.error):
            curses.curs_set(1)
        with contextlib.suppress(curses.error):
            if not curses.tigetstr("rmcup"):
                # The picture stays there, and what the shell writes next begins in its last line.
                self._clear_last_line()
            curses.endwin()
        self._signals.restore()
        self._output.close()
        self._bell.close()

    def _clear_last_line(self) -> None:
        self._window.move(self._window.getmaxyx()[0] - 1, 0)
        self._window.clrtoeol()
        self._window.refresh()


def _check_terminal() -> None:
    term = os.environ.get("TERM") or "unknown"
    try:
        curses.setupterm(term)
    except curses.error:
        raise NoTerminal(f"terminal type {term!r} is not known here (TERM)") from None
    if not all(map(curses.tigetstr, _NEEDED)):
        raise NoTerminal(f"terminal type {term!r} cannot place the cursor (TERM)")


def _mouse() -> str | None:
    try:
        _, column, row, _, buttons = curses.getmouse()
    except curses.error:
        # An event of a button that was not asked for.
        return None
    return mouse_name(column, row, buttons)


def _size() -> Size:
    try:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        columns = rows = 0
    # Serial lines and some terminals of tests do not know their size.
    return Size(columns, rows) if columns > 0 and rows > 0 else Size(80, 24)


plugin = RendererPlugin(
    name="curses", summary="the live screen in a terminal (the default)", open=CursesRenderer
)
