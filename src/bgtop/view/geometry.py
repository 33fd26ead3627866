"""How a screen of a given size is divided between the tables and the lines around them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from bgtop.contracts import Size

LEAST: Final = Size(40, 10)
"""Below this only a message is shown."""

_BESIDE_FROM: Final = 100
"""Columns from which two tables fit side by side."""

_STACKED_FROM: Final = 16
"""Rows from which two tables fit one above the other; below only the focused one is shown."""

_AIRY_FROM: Final = 30
"""Rows from which an empty line may set the tables off."""

_ROWS_PER_STATUS: Final = 8
"""One status line for each eight rows of the screen, at least one."""


class Arrangement(Enum):
    """Where the tables are."""

    NOWHERE = "the terminal is too small"
    ALONE = "only the focused one"
    STACKED = "one above the other"
    BESIDE = "side by side"


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Rows of each part; ``heights`` are those of the tables, their headings not counted."""

    arrangement: Arrangement
    heights: tuple[int, int] = (0, 0)
    statuses: int = 0
    gap: int = 0


def geometry(size: Size, *, lengths: tuple[int, int], statuses: int) -> Geometry:
    """Divide a screen between two tables of these lengths, a frame and some status lines."""
    if size.columns < LEAST.columns or size.rows < LEAST.rows:
        return Geometry(arrangement=Arrangement.NOWHERE)
    statuses = min(statuses, max(1, size.rows // _ROWS_PER_STATUS))
    gap = 1 if size.rows >= _AIRY_FROM else 0
    # The title, the totals and the key bar are always there.
    body = size.rows - 3 - gap - statuses
    arrangement, heights = _arranged(size, body, lengths)
    return Geometry(arrangement=arrangement, heights=heights, statuses=statuses, gap=gap)


def _arranged(
    size: Size, body: int, lengths: tuple[int, int]
) -> tuple[Arrangement, tuple[int, int]]:
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
