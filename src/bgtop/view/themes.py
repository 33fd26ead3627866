"""What each style looks like: themes, the language they are written in, and fewer colours.

``white on blue bold`` is a paint: a colour for the letters, one for the ground, and attributes.
Colours are the 16 names of terminals, ``bright`` before the second eight, or 0-255 of the palette
of xterm, or ``default``. A renderer asks for :func:`paints_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bgtop.contracts import Look
from bgtop.view.spans import Style
from bgworker.values import dataclass, replace

_NAMES: Final = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_GREY: Final = 8
_WHITE: Final = 7
_ATTRIBUTES: Final = ("bold", "dim", "reverse", "underline")

# The usual colours behind the first sixteen numbers; terminals differ, and nothing depends on it
# but which of them is nearest to one of the 256.
_RGB_OF_16: Final = (
    *((0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0)),
    *((0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229)),
    *((127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0)),
    *((92, 92, 255), (255, 0, 255), (0, 255, 255), (255, 255, 255)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paint:
    """Letters and ground as numbers from 0 to 255; ``None`` is the terminal's own colour."""

    letters: int | None = None
    ground: int | None = None
    bold: bool = False
    dim: bool = False
    reverse: bool = False
    underline: bool = False


def paint_of(text: str) -> Paint:
    """The paint these words describe; raises ``ValueError``."""
    colors: list[int | None] = [None, None]
    seen = [False, False]
    attributes = dict.fromkeys(_ATTRIBUTES, False)
    words = text.lower().replace("bright ", "bright-").split()
    if not words:
        raise ValueError("is empty; write a colour, such as red, or 208 on black bold")
    ground = False
    for word in words:
        if word == "on" and not ground:
            ground = True
        elif word in attributes:
            attributes[word] = True
        elif seen[ground]:
            raise ValueError(f"{word!r} is one word too many")
        else:
            colors[ground], seen[ground] = _color(word), True
    if ground and not seen[1]:
        raise ValueError("no colour follows 'on'")
    return Paint(letters=colors[0], ground=colors[1], **attributes)


def _color(word: str) -> int | None:
    if word == "default":
        return None
    if word in {"grey", "gray"}:
        return _GREY
    name = word.removeprefix("bright-")
    if name in _NAMES:
        return _NAMES.index(name) + (8 if name != word else 0)
    if word.isascii() and word.isdigit() and int(word) < 256:
        return int(word)
    raise ValueError(f"{word!r} is neither a colour, nor 0 to 255, nor one of {_listed()}")


def _listed() -> str:
    return ", ".join(_ATTRIBUTES)


def style_named(name: str) -> Style:
    """The style a setting is about; raises ``ValueError`` for none."""
    try:
        return Style(name.replace("_", " ").replace("-", " "))
    except ValueError:
        known = ", ".join([style.value.replace(" ", "_") for style in Style])
        raise ValueError(f"unknown part of the screen; known: {known}") from None


_MONO: Final[Mapping[str, str]] = {
    "faint": "dim",
    "strong": "bold",
    "warn": "bold",
    "bad": "bold",
    "title": "reverse",
    "title strong": "reverse bold",
    "heading": "reverse bold",
    "heading away": "reverse",
    "selected": "reverse",
    "alarm": "reverse bold",
    "key": "bold",
    "hint": "reverse",
}

_DEFAULT: Final[Mapping[str, str]] = {
    "faint": "244",
    "strong": "bold",
    "good": "green",
    "warn": "yellow",
    "bad": "red bold",
    "info": "cyan",
    "title": "white on blue",
    "title strong": "white on blue bold",
    "heading": "black on green",
    "heading away": "252 on 238",
    "selected": "black on cyan",
    "alarm": "white on red bold",
    "key": "bold",
    "hint": "black on cyan",
}

THEMES: Final[Mapping[str, Mapping[str, str]]] = {
    "default": _DEFAULT,
    "light": {
        **_DEFAULT,
        "faint": "245",
        "good": "28",
        "warn": "130",
        "bad": "160 bold",
        "info": "25",
        "title": "255 on 25",
        "title strong": "255 on 25 bold",
        "heading": "255 on 28",
        "heading away": "236 on 252",
        "selected": "255 on 31",
        "hint": "black on 117",
    },
    "contrast": {
        **_DEFAULT,
        "faint": "default",
        "good": "bright-green",
        "warn": "bright-yellow bold",
        "bad": "black on bright-red bold",
        "info": "bright-cyan",
        "title": "black on bright-white",
        "title strong": "black on bright-white bold underline",
        "heading": "black on bright-white bold",
        "heading away": "black on white",
        "selected": "black on bright-yellow",
        "alarm": "black on bright-red bold",
        "hint": "black on bright-white",
    },
    "night": {
        **_DEFAULT,
        "faint": "240",
        "good": "108",
        "warn": "179",
        "bad": "167 bold",
        "info": "109",
        "title": "250 on 236",
        "title strong": "255 on 236 bold",
        "heading": "234 on 108",
        "heading away": "247 on 236",
        "selected": "234 on 109",
        "alarm": "255 on 124 bold",
        "hint": "250 on 238",
    },
    "mono": _MONO,
}
"""The shipped themes; a style that is not mentioned looks like other text."""


def theme_named(name: str) -> str:
    """The name of a shipped theme; raises ``ValueError`` for another."""
    if name not in THEMES:
        raise ValueError(f"{name!r} is no theme; known: {', '.join(THEMES)}")
    return name


def paints_of(look: Look, colors: int = 256) -> dict[Style, Paint]:
    """The paint of every style, for a terminal of so many colours; below 8 it has none.

    Raises ``ValueError`` for a theme or colours that were not checked before.
    """
    if not look.color or colors < 8:
        return _painted(_MONO)
    painted = _painted(THEMES[theme_named(look.theme)])
    painted.update({style_named(name): paint_of(text) for name, text in look.colors})
    return {style: _lowered(paint, colors) for style, paint in painted.items()}


def _painted(words: Mapping[str, str]) -> dict[Style, Paint]:
    return {style: paint_of(words.get(style.value, "default")) for style in Style}


def _lowered(paint: Paint, colors: int) -> Paint:
    """The same with fewer colours: the nearest, and in place of grey dim and reverse video."""
    if colors >= 256:
        return paint
    paint = replace(paint, letters=_nearest(paint.letters), ground=_nearest(paint.ground))
    if colors >= 16:
        return paint
    if paint.ground == _GREY:
        return replace(paint, letters=None, ground=None, reverse=True)
    if paint.letters == _GREY:
        paint = replace(paint, letters=_WHITE, dim=True)
    return replace(paint, letters=_of_8(paint.letters), ground=_of_8(paint.ground))


def _of_8(color: int | None) -> int | None:
    return None if color is None else color % 8


def _nearest(color: int | None) -> int | None:
    if color is None or color < 16:
        return color
    wanted = _rgb(color)

    def distance(number: int) -> int:
        return sum([(a - b) ** 2 for a, b in zip(_RGB_OF_16[number], wanted, strict=True)])

    return min(range(16), key=distance)


def _rgb(color: int) -> tuple[int, int, int]:
    """Of a colour from 16 on: a cube of six steps a side, then 24 greys."""
    if color >= 232:
        grey = 8 + (color - 232) * 10
        return grey, grey, grey
    steps = (0, 95, 135, 175, 215, 255)
    rest = color - 16
    return steps[rest // 36], steps[rest // 6 % 6], steps[rest % 6]
