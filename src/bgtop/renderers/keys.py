"""The names of keys and mouse events as curses delivers them."""

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
    curses.KEY_DC: "delete",
    curses.KEY_IC: "insert",
    **{curses.KEY_F0 + number: f"f{number}" for number in range(1, 13)},
    **{chr(number): f"ctrl+{chr(number + 96)}" for number in range(1, 27)},
    "\t": "tab",
    "\n": "enter",
    "\r": "enter",
    "\b": "backspace",
    "\x7f": "backspace",
    "\x1b": "esc",
    "\x0c": REDRAW,
}


# What Python does not name where its curses knows no fifth button.
_WHEEL_DOWN: Final = getattr(curses, "BUTTON5_PRESSED", 0x200000)

MOUSE: Final = curses.BUTTON1_PRESSED | curses.BUTTON4_PRESSED | _WHEEL_DOWN
"""What we want to be told of a mouse: its first button, and the wheel both ways."""


def mouse_name(column: int, row: int, buttons: int) -> str | None:
    """A mouse event as the name of a key."""
    pressed = ((curses.BUTTON1_PRESSED, "click"), (curses.BUTTON4_PRESSED, "wheelup"))
    for button, name in (*pressed, (_WHEEL_DOWN, "wheeldown")):
        if buttons & button:
            return f"{name} {column} {row}"
    return None


def name_of(key: str | int) -> str | None:
    """A key's name; ``None`` for those nobody asked about."""
    if key in _NAMED:
        return _NAMED[key]
    return key if isinstance(key, str) and key.isprintable() else None
