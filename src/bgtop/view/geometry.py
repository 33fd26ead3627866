"""How a screen of a given size is divided between the tables and the lines around them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from bgtop.contracts import Size
from bgworker.values import dataclass

LEAST: Final = Size(40, 10)
"""Below this only a message is shown."""

_BESIDE_FROM: Final = 100
"""Columns from which two tables fit side by side."""

_STACKED_FROM: Final = 16
"""Rows from which two tables fit one above the other; below only the focused one is shown."""

_TABS_FROM: Final = 20
"""Rows from which the names of the pages have a line of their own."""

_AIRY_FROM: Final = 30
"""Rows from which an empty line may set the tables off."""

_ROWS_PER_STATUS: Final = 8
"""One status line for each eight rows of the screen, at least one."""

_ROWS_PER_FACTS: Final = 8
"""One more line of facts for each eight rows of the screen, where a page has so many."""


class Arrangement(Enum):
    """Where the tables are."""

    NOWHERE = "the terminal is too small"
    ALONE = "only the focused one"
    STACKED = "one above the other"
    BESIDE = "side by side"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a page has to show: rows of its tables, statuses, the cells each fact takes."""

    lengths: Sequence[int] = (0, 0)
    statuses: int = 0
    facts: Sequence[int] = ()
    roomy: bool = False
    banner: bool = False
    tabs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Rows of each part; ``heights`` are those of the tables, their headings not counted."""

    arrangement: Arrangement
    heights: tuple[int, ...] = (0, 0)
    statuses: int = 0
    gap: int = 0
    banner: int = 0
    tabs: int = 0
    facts: int = 1

    @property
    def top(self) -> int:
        """The row of the heading of the first table."""
        return self.banner + 1 + self.tabs + self.facts + self.gap


def geometry(size: Size, parts: Parts) -> Geometry:
    """Divide a screen between tables, a frame and some status lines."""
    if size.columns < LEAST.columns or size.rows < LEAST.rows:
        return Geometry(arrangement=Arrangement.NOWHERE, heights=(0,) * len(parts.lengths))
    statuses = min(parts.statuses, max(1, size.rows // _ROWS_PER_STATUS))
    gap = 1 if size.rows >= _AIRY_FROM else 0
    banner = 1 if parts.banner else 0
    tabs = 1 if parts.tabs and size.rows >= _TABS_FROM else 0
    facts = 1
    if parts.roomy:
        facts = max(1, min(lines_of(parts.facts, size.columns), size.rows // _ROWS_PER_FACTS))
    # The title and the key bar are always there.
    body = size.rows - 2 - banner - tabs - facts - gap - statuses
    arrangement, heights = _arranged(size, body, parts.lengths)
    return Geometry(
        arrangement=arrangement,
        heights=heights,
        statuses=statuses,
        gap=gap,
        banner=banner,
        tabs=tabs,
        facts=facts,
    )


def lines_of(widths: Sequence[int], columns: int) -> int:
    """How many lines facts of these widths take, two blanks between them."""
    lines, taken = 1, 0
    for cells in widths:
        taken += cells + (2 if taken else 1)
        if taken > columns and taken > cells + 1:
            lines, taken = lines + 1, cells + 1
    return lines


def _arranged(size: Size, body: int, lengths: Sequence[int]) -> tuple[Arrangement, tuple[int, ...]]:
    if len(lengths) < 2:
        return Arrangement.ALONE, (body - 1,) * len(lengths)
    if size.columns >= _BESIDE_FROM:
        return Arrangement.BESIDE, (body - 1, body - 1)
    if size.rows < _STACKED_FROM:
        return Arrangement.ALONE, (body - 1, body - 1)
    # The lower table keeps to its length, so that it moves only when rows come or go.
    lower = min(max(lengths[1], 2), (body - 2) * 2 // 5)
    return Arrangement.STACKED, (body - 2 - lower, lower)


def first_row(top: int, selected: int, total: int, height: int) -> int:
    """Where a window of ``height`` rows begins: as little as possible away from ``top``."""
    top = min(top, selected)
    top = max(top, selected - height + 1)
    return max(0, min(top, total - height))
