"""What each style looks like on this terminal: 256, 16, 8 colours or none."""

from __future__ import annotations

import curses
from typing import Final

from bgtop.view.spans import Style

_DEFAULT: Final = -1
_BLACK, _RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN, _WHITE = range(8)
_GREY_OF_256: Final = 244
_GREY_OF_16: Final = 8


def palette(*, color: bool) -> dict[Style, int]:
    """Attributes for every style. Without colours, bold, dim and reverse carry the screen."""
    if color and _colors_started():
        try:
            return _colored()
        except curses.error:
            # A terminal description that promises more pairs than there are.
            return _plain()
    return _plain()


def _colors_started() -> bool:
    try:
        curses.start_color()
        curses.use_default_colors()
    except curses.error:
        return False
    return curses.has_colors() and curses.COLORS >= 8


def _plain() -> dict[Style, int]:
    reverse, bold = curses.A_REVERSE, curses.A_BOLD
    return {
        Style.PLAIN: curses.A_NORMAL,
        Style.FAINT: curses.A_DIM,
        Style.STRONG: bold,
        Style.GOOD: curses.A_NORMAL,
        Style.WARN: bold,
        Style.BAD: bold,
        Style.INFO: curses.A_NORMAL,
        Style.TITLE: reverse,
        Style.TITLE_STRONG: reverse | bold,
        Style.HEADING: reverse | bold,
        Style.HEADING_AWAY: reverse,
        Style.SELECTED: reverse,
        Style.ALARM: reverse | bold,
        Style.KEY: bold,
        Style.HINT: reverse,
    }


def _colored() -> dict[Style, int]:
    bold = curses.A_BOLD
    if curses.COLORS >= 256:
        faint, away = (_GREY_OF_256, _DEFAULT), (252, 238)
    elif curses.COLORS >= 16:
        faint, away = (_GREY_OF_16, _DEFAULT), (_BLACK, _WHITE)
    else:
        faint, away = (_WHITE, _DEFAULT), (_BLACK, _WHITE)
    looks: dict[Style, tuple[tuple[int, int], int]] = {
        Style.FAINT: (faint, 0 if curses.COLORS >= 16 else curses.A_DIM),
        Style.GOOD: ((_GREEN, _DEFAULT), 0),
        Style.WARN: ((_YELLOW, _DEFAULT), 0),
        Style.BAD: ((_RED, _DEFAULT), bold),
        Style.INFO: ((_CYAN, _DEFAULT), 0),
        Style.TITLE: ((_WHITE, _BLUE), 0),
        Style.TITLE_STRONG: ((_WHITE, _BLUE), bold),
        Style.HEADING: ((_BLACK, _GREEN), 0),
        Style.HEADING_AWAY: (away, 0),
        Style.SELECTED: ((_BLACK, _CYAN), 0),
        Style.ALARM: ((_WHITE, _RED), bold),
        Style.HINT: ((_BLACK, _CYAN), 0),
    }
    attributes = _plain()
    for pair, (style, ((letters, ground), more)) in enumerate(looks.items(), start=1):
        curses.init_pair(pair, letters, ground)
        attributes[style] = curses.color_pair(pair) | more
    return attributes
