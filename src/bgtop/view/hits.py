"""What is under the mouse: a pure function of a page and the size it was drawn for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bgtop.contracts import Size
from bgtop.page import Page, Table
from bgtop.view.geometry import Arrangement, Geometry
from bgtop.view.layout import division_of, hint_cells, pressed_as, tab_cells
from bgtop.view.overlay import answer_at
from bgtop.view.spans import Pen
from bgtop.view.table import MARGIN, places, shares


class Hit(NamedTuple):
    """``row`` of a table by its index in the whole list, ``heading`` by column, ``key`` to press.

    An empty column is no heading, ``row`` -1 no row.
    """

    table: str = ""
    row: int = -1
    heading: str = ""
    key: str = ""


class Box(NamedTuple):
    """Where a table is: its heading and its rows."""

    table: Table
    left: int
    top: int
    columns: int
    height: int


def hit_of(page: Page, size: Size, column: int, row: int) -> Hit:
    """What is at this cell, counted from 0; a hit of nothing where there is nothing to press."""
    divided = division_of(page, size)
    if divided.arrangement is Arrangement.NOWHERE:
        return Hit()
    if row == size.rows - 1:
        return Hit(key=_at(hint_cells(page, size.columns - 1, Pen()), column))
    if page.dialog is not None and row >= divided.top:
        answer = answer_at(page.dialog, column, row - divided.top, Pen())
        return Hit(key=pressed_as(answer))
    covered = is_covered(page)
    if divided.tabs and row == divided.banner + 1 and not covered:
        return Hit(key=_at(tab_cells(page, size.columns, Pen()), column))
    return _in_table(() if covered else _boxes(page, divided, size), column, row)


def is_covered(page: Page) -> bool:
    """Whether something stands above the tables."""
    return page.overlay is not None or page.dialog is not None


def boxes_of(page: Page, size: Size) -> Iterator[Box]:
    """Where each table is that is drawn, whatever stands above it."""
    divided = division_of(page, size)
    if divided.arrangement is not Arrangement.NOWHERE:
        yield from _boxes(page, divided, size)


def _in_table(boxes: Iterable[Box], column: int, row: int) -> Hit:
    for box in boxes:
        inside = 0 <= column - box.left < box.columns
        if inside and row == box.top:
            return Hit(table=box.table.key, heading=_heading(box, column))
        if inside and box.top < row <= box.top + min(box.height, len(box.table.rows)):
            return Hit(table=box.table.key, row=box.table.first + row - box.top - 1)
    return Hit()


def _at(cells: Iterator[tuple[str, int]], column: int) -> str:
    """The key whose part of the line holds this column."""
    end = 0
    for key, taken in cells:
        end += taken
        if column < end:
            return key
    return ""


def _boxes(page: Page, divided: Geometry, size: Size) -> Iterator[Box]:
    tables, top = page.tables, divided.top
    if divided.arrangement is Arrangement.BESIDE and len(tables) == 2:
        left, right = shares(tables[0], tables[1], size.columns)
        yield Box(tables[0], 0, top, left, divided.heights[0])
        yield Box(tables[1], left + 1, top, right, divided.heights[1])
        return
    if divided.arrangement is not Arrangement.STACKED:
        tables = tuple([table for table in tables if table.focused][:1]) or tables[:1]
    for table, height in zip(tables, divided.heights, strict=False):
        yield Box(table, 0, top, size.columns, height)
        top += height + 1


def _heading(box: Box, column: int) -> str:
    end = box.left + 1
    for place in places(box.table.columns, box.columns - MARGIN):
        end += place.gap + place.columns
        if column < end:
            return box.table.columns[place.cell].key
    return ""
