"""From the bytes a terminal sends to the names of keys, for renderers without a library for it.

The sequences are those of xterm (its ``ctlseqs``), of the Linux console and of what imitates them;
mouse events are read in the form of mode 1006. A sequence nobody knows is swallowed whole: its
letters would be keys of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

LONGEST_SEQUENCE: Final = 32
"""Bytes after which a sequence that does not end is none."""

REDRAW: Final = "ctrl+l"

_ESC: Final = 0x1B

_PLAIN: Final = {
    0x09: "tab",
    0x0A: "enter",
    0x0D: "enter",
    0x08: "backspace",
    0x7F: "backspace",
    _ESC: "esc",
}

_BY_LETTER: Final = {
    "A": "up",
    "B": "down",
    "C": "right",
    "D": "left",
    "F": "end",
    "H": "home",
    "M": "enter",
    "P": "f1",
    "Q": "f2",
    "R": "f3",
    "S": "f4",
    "Z": "backtab",
}
"""The last letter of ``ESC [ … X`` and of ``ESC O X``."""

_BY_NUMBER: Final = {
    1: "home",
    2: "insert",
    3: "delete",
    4: "end",
    5: "pgup",
    6: "pgdn",
    7: "home",
    8: "end",
    11: "f1",
    12: "f2",
    13: "f3",
    14: "f4",
    15: "f5",
    17: "f6",
    18: "f7",
    19: "f8",
    20: "f9",
    21: "f10",
    23: "f11",
    24: "f12",
}
"""The number of ``ESC [ N ~``."""

_BUTTONS: Final = {0: "click", 64: "wheelup", 65: "wheeldown"}
_SHIFT_ALT_CTRL: Final = 4 | 8 | 16


class TerminalKeys:
    """Keeps what is not a whole key yet: never more than :data:`LONGEST_SEQUENCE` bytes."""

    def __init__(self) -> None:
        self._held = b""

    @property
    def waiting(self) -> bool:
        """Whether the beginning of a key is held, and :meth:`flush` would tell what it is alone."""
        return bool(self._held)

    def feed(self, data: bytes) -> list[str]:
        """The names of the keys that are whole now, in the order they were pressed."""
        data = self._held + data
        self._held = b""
        names: list[str] = []
        at = 0
        while at < len(data):
            taken, name = _first(data[at : at + LONGEST_SEQUENCE])
            if not taken:
                self._held = data[at:]
                break
            at += taken
            names += [name] if name else []
        return names

    def flush(self) -> list[str]:
        """What is held was all there is: Esc was the key, and other beginnings were none."""
        held, self._held = self._held, b""
        return ["esc"] if held == b"\x1b" else []


def _first(data: bytes) -> tuple[int, str | None]:
    """How many bytes the first key takes, and its name if it has one; 0 if it is not whole."""
    byte = data[0]
    if byte == _ESC:
        return _sequence(data)
    if byte in _PLAIN:
        return 1, _PLAIN[byte]
    if byte < 0x20:
        return 1, f"ctrl+{chr(byte + 96)}" if 0 < byte <= 26 else None
    return _letter(data)


def _letter(data: bytes) -> tuple[int, str | None]:
    """One letter in UTF-8; a byte that begins none is no key."""
    byte = data[0]
    length = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    followers = data[1:length]
    if 0x80 <= byte < 0xC0 or any((each & 0xC0) != 0x80 for each in followers):
        return 1, None
    if len(data) < length:
        return 0, None
    try:
        letter = data[:length].decode()
    except UnicodeDecodeError:
        return 1, None
    return length, letter if letter.isprintable() else None


def _sequence(data: bytes) -> tuple[int, str | None]:
    if len(data) == 1:
        return 0, None
    if data[1:2] == b"O":
        return (3, _BY_LETTER.get(chr(data[2]))) if len(data) > 2 else (0, None)
    if data[1:2] == b"[":
        return _control_sequence(data)
    if data[1:2] == b"\t":
        return 2, "backtab"
    # Esc, and then another key.
    return 1, "esc"


def _control_sequence(data: bytes) -> tuple[int, str | None]:
    if data[2:3] == b"[":
        # The Linux console: ESC [ [ A is F1.
        return (
            (4, f"f{data[3] - 64}" if 65 <= data[3] <= 69 else None) if len(data) > 3 else (0, "")
        )
    if data[2:3] == b"M":
        # The old form of the mouse: three bytes follow that are no letters. It is not asked for.
        return (6, None) if len(data) >= 6 else (0, None)
    for end in range(2, len(data)):
        if not 0x20 <= data[end] <= 0x3F:
            break
    else:
        return (len(data), None) if len(data) >= LONGEST_SEQUENCE else (0, None)
    if data[end] < 0x20:
        # Another key came in between: the sequence is broken off.
        return end, None
    return end + 1, _name_of(data[2:end].decode("ascii"), chr(data[end]))


def _name_of(words: str, letter: str) -> str | None:
    if words.startswith("<"):
        return _mouse(words[1:], letter)
    numbers = list(_numbers(words))
    if letter == "~":
        return _BY_NUMBER.get(numbers[0]) if numbers else None
    # With Shift, Ctrl or Alt a number says which; the key is the same to us.
    return _BY_LETTER.get(letter) if letter != "M" else None


def _mouse(words: str, letter: str) -> str | None:
    """``B;X;Y`` counted from 1; ``m`` is the release of a button."""
    numbers = list(_numbers(words))
    if letter != "M" or len(numbers) != 3:
        return None
    name = _BUTTONS.get(numbers[0] & ~_SHIFT_ALT_CTRL)
    if name is None or min(numbers[1:]) < 1:
        return None
    return f"{name} {numbers[1] - 1} {numbers[2] - 1}"


def _numbers(words: str) -> Iterator[int]:
    for word in words.split(";"):
        if not (word.isascii() and word.isdigit()):
            return
        yield int(word)
