"""Words and numbers for people: names made harmless, figures made short, texts cut to a width.

Queue and worker names are chosen by whoever can reach the broker, so they may hold anything: an
escape sequence that rewrites the screen, a bidirectional override, a megabyte of accents.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

UNKNOWN: Final = "–"
AT_LEAST: Final = "≥"
ESTIMATE: Final = "~"
SIGNS: Final = {"at_least": AT_LEAST, "estimated": ESTIMATE}
"""What stands before a number, by how JSON calls its kind."""

ELLIPSIS: Final = "…"

LONGEST_NAME: Final = 200
"""Longer names are cut before anything else looks at them: a 10 kB name costs nothing."""

_NARROW_BELOW: Final = "\u0300"
"""Every printable letter before the combining accents takes one cell; no table is needed."""

_BLANK: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Printable by the standard, yet drawn as nothing."""

_MOST_ACCENTS: Final = 2
"""Accents on one letter; real scripts need no more, towers of them overwrite other lines."""

BLOCKS: Final = "▁▂▃▄▅▆▇█"
"""One cell of a picture, from the lowest to the highest."""

_BLOCKS_IN_ASCII: Final = "_.-=+*#@"

_OURS_IN_ASCII: Final = str.maketrans(
    {
        UNKNOWN: "-",
        AT_LEAST: ">=",
        ELLIPSIS: "~",
        "│": "|",
        "─": "-",
        "·": "-",
        "↑": "^",
        "↓": "v",
        "›": ">",
        "→": ">",
        "←": "<",
        **dict(zip(BLOCKS, _BLOCKS_IN_ASCII, strict=True)),
    }
)

_ONE_CELL: Final = f" -{chr(ord(_NARROW_BELOW) - 1)}–≥…│─·↑↓←→›{BLOCKS}"
"""As a set of a regular expression: the letters before the accents, and our own signs."""

_OF_ONE_CELL_EACH: Final = re.compile(f"[{_ONE_CELL}]*")
_UNSURE: Final = re.compile(f"[^{_ONE_CELL}]")


def clean(text: str, most: int = LONGEST_NAME) -> str:
    r"""The text with everything a terminal could obey or hide shown as ``\x1b``, ``\u202e``."""
    if len(text) > most:
        text = text[: most - 1] + ELLIPSIS
    if text.isascii() and text.isprintable():
        return text
    return "".join(_harmless(text))


def _harmless(text: str) -> list[str]:
    letters: list[str] = []
    accents = _MOST_ACCENTS
    for letter in text:
        if not letter.isprintable() or letter in _BLANK:
            letters.append(_escaped(letter))
            accents = _MOST_ACCENTS
        elif letter < _NARROW_BELOW or _cells(letter) > 0:
            letters.append(letter)
            accents = 0
        elif accents < _MOST_ACCENTS:
            letters.append(letter)
            accents += 1
        else:
            letters.append(_escaped(letter))
    return letters


def _escaped(letter: str) -> str:
    code = ord(letter)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _cells(letter: str) -> int:
    # 20 ms and 8 MB that only somebody with such names pays.
    from wcwidth import wcwidth

    return max(wcwidth(letter), 0)


def width(text: str) -> int:
    """How many cells of the screen a harmless text takes."""
    # Nearly every text of a picture ends here: no letter becomes an object of its own.
    if text.isascii() or _OF_ONE_CELL_EACH.fullmatch(text):
        return len(text)
    return len(text) + sum(_cells(letter) - 1 for letter in _UNSURE.findall(text))


def ascii_only(text: str) -> str:
    """The same in ASCII: our own signs have a spelling, other letters become escapes."""
    if text.isascii():
        return text
    return text.translate(_OURS_IN_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def fit(
    text: str, columns: int, *, right: bool = False, mark: str = ELLIPSIS, tail: int = 0
) -> str:
    """A harmless text in exactly this many cells: padded, or cut, with ``mark`` where it was cut.

    That is its end, unless ``tail`` says how many cells of the end are kept.
    """
    taken = width(text)
    if taken > columns:
        end = _end_of(text, min(tail, columns - len(mark))) if tail else ""
        text = _cut(text, columns - width(end), mark) + end
        taken = width(text)
    padding = " " * (columns - taken)
    return padding + text if right else text + padding


def _cut(text: str, columns: int, mark: str) -> str:
    if columns <= 0:
        return ""
    room = columns - len(mark)
    if _OF_ONE_CELL_EACH.fullmatch(text):
        return text[:room] + mark
    taken = 0
    for index, letter in enumerate(text):
        taken += width(letter)
        if taken > room:
            return text[:index] + mark
    return text


def _end_of(text: str, room: int) -> str:
    """The last letters that fit; no accent without its letter."""
    if _OF_ONE_CELL_EACH.fullmatch(text):
        return text[max(0, len(text) - room) :]
    at = len(text)
    for index in range(len(text) - 1, -1, -1):
        cells = width(text[index])
        room -= cells
        if room < 0:
            break
        if cells:
            at = index
    return text[at:]


def number(value: int | None) -> str:
    """A count in at most seven cells: exact below ten millions, then ``12.3M``."""
    if value is None:
        return UNKNOWN
    return str(value) if value < 10_000_000 else _scaled(value)


def _scaled(value: float) -> str:
    for unit in ("", "k", "M", "G", "T", "P"):
        if value < 999.5:
            digits = 1 if unit and value < 99.95 else 0
            return f"{value:.{digits}f}{unit}"
        value /= 1000
    return "huge"


def rate(value: float | None) -> str:
    """Events per second in at most six cells."""
    if value is None:
        return UNKNOWN
    if 0 < value < 0.095:
        return f"{value:.2f}" if value >= 0.005 else "<.01"
    if value < 99.95:
        return f"{value:.1f}"
    return f"{value:.0f}" if value < 99_999.5 else _scaled(value)


def duration(seconds: float | None) -> str:
    """A time span in at most six cells, to two digits or so: ``200ms``, ``3.2s``, ``2m05s``."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0.0005:
        return "0ms" if seconds <= 0 else "<1ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    return age(seconds + 0.5)


def age(seconds: float | None) -> str:
    """A time span in whole seconds, rounded down, so that it changes once a second."""
    if seconds is None:
        return UNKNOWN
    whole = max(int(min(seconds, 1e12)), 0)
    if whole < 100:
        return f"{whole}s"
    minutes, second = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{second:02d}s"
    hours, minute = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minute:02d}m"
    days, hour = divmod(hours, 24)
    if days < 100:
        return f"{days}d{hour:02d}h"
    return f"{days}d" if days < 10_000 else f"{min(days // 365, 99_999)}y"


def size(octets: int | None) -> str:
    """An amount of memory in at most six cells: ``950B``, ``41.2M``."""
    if octets is None:
        return UNKNOWN
    value = float(octets)
    for unit in ("B", "K", "M", "G", "T", "P"):
        if value < 999.5:
            digits = 1 if unit != "B" and value < 99.95 else 0
            return f"{value:.{digits}f}{unit}"
        value /= 1024
    return "huge"


def spark(values: Sequence[float | None], cells: int) -> str:
    """The last values as a line of blocks, zero at its foot; what is unknown stays blank."""
    shown = values[-cells:]
    top = max([value for value in shown if value is not None], default=0.0)
    return "".join(
        [
            " " if value is None else BLOCKS[min(7, int(value / top * 7.999)) if top > 0 else 0]
            for value in shown
        ]
    ).rjust(cells)


def bar(share: float, cells: int) -> str:
    """A share from 0 to 1 as a bar."""
    full = max(0, min(cells, round(share * cells)))
    return "█" * full + "·" * (cells - full)


def seconds_since(moment: datetime | None, now: datetime) -> float | None:
    """Seconds from ``moment`` to ``now``; a moment in the future (clocks differ) is now."""
    return None if moment is None else max((now - moment).total_seconds(), 0.0)
