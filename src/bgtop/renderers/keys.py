"""The names of keys as curses delivers them."""

from __future__ import annotations

import curses
from typing import Final

REDRAW: Final = "redraw"

_NAMED: Final[dict[str | int, str]] = {
    curses.KEY_UP: "up",
    curses.KEY_DOWN: "down",
    curses.KEY_LEFT: "left",
    curses.KEY_RIGHT: "right",
    curses.KEY_PPAGE: "pgup",
    curses.KEY_NPAGE: "pgdn",
    curses.KEY_HOME: "home",
    curses.KEY_FIND: "home",
    curses.KEY_END: "end",
    curses.KEY_SELECT: "end",
    curses.KEY_BTAB: "backtab",
    curses.KEY_BACKSPACE: "backspace",
    curses.KEY_ENTER: "enter",
    curses.KEY_F1: "f1",
    "\t": "tab",
    "\n": "enter",
    "\r": "enter",
    "\b": "backspace",
    "\x7f": "backspace",
    "\x1b": "esc",
    "\x15": "ctrl+u",
    "\x0c": REDRAW,
}


def name_of(key: str | int) -> str | None:
    """A key's name; ``None`` for those nobody asked about."""
    if key in _NAMED:
        return _NAMED[key]
    return key if isinstance(key, str) and key.isprintable() else None
