"""Paints as attributes of curses: 256, 16, 8 colours or none."""

from __future__ import annotations

import curses
from typing import Final

from bgtop.contracts import Look
from bgtop.view.spans import Style
from bgtop.view.themes import Paint, paints_of

_DEFAULT: Final = -1


def palette(look: Look) -> dict[Style, int]:
    """Attributes for every style. Without colours, bold, dim and reverse carry the screen."""
    if look.color and _colors_started():
        try:
            return _attributes(paints_of(look, curses.COLORS))
        except curses.error:
            # A terminal description that promises more pairs than there are.
            return _attributes(paints_of(look, 0))
    return _attributes(paints_of(look, 0))


def _colors_started() -> bool:
    try:
        curses.start_color()
        curses.use_default_colors()
    except curses.error:
        return False
    return curses.has_colors() and curses.COLORS >= 8


def _attributes(paints: dict[Style, Paint]) -> dict[Style, int]:
    pairs: dict[tuple[int, int], int] = {}
    found = {}
    for style, paint in paints.items():
        colors = _number(paint.letters), _number(paint.ground)
        if colors != (_DEFAULT, _DEFAULT) and colors not in pairs:
            pairs[colors] = len(pairs) + 1
            curses.init_pair(pairs[colors], *colors)
        # Without colours curses must not be asked for pairs.
        pair = curses.color_pair(pairs[colors]) if colors in pairs else 0
        found[style] = pair | _more(paint)
    return found


def _number(color: int | None) -> int:
    return _DEFAULT if color is None else color


def _more(paint: Paint) -> int:
    flags = (
        (paint.bold, curses.A_BOLD),
        (paint.dim, curses.A_DIM),
        (paint.reverse, curses.A_REVERSE),
        (paint.underline, curses.A_UNDERLINE),
    )
    return sum([flag for wanted, flag in flags if wanted])
