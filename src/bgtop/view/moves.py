"""Moving about in tables: the selection, the order, the marks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from bgtop.model import Frame
from bgtop.view.geometry import Geometry, first_row
from bgtop.view.listed import Listed, listed
from bgtop.view.pages import focus_of, geometry_of, spec_of
from bgtop.view.specs import TableSpec
from bgtop.view.ui import Pane, Result, Ui
from bgworker.values import replace

_UNSIZED_HEIGHT: Final = 10

ALL: Final = 1 << 60
"""More rows than there are: as far as it goes."""

Act: TypeAlias = Callable[[Ui, Frame], "Ui | Result"]


def follow(ui: Ui, frame: Frame) -> Ui:
    """The state after rows came, went or moved: each selection stays with its row."""
    divided: Geometry | None = None
    for place, spec in enumerate(spec_of(ui).tables):
        pane = ui.pane(spec.key)
        if pane.selected is None and not pane.follow:
            continue
        rows = listed(spec, frame, ui)
        if rows.ids:
            divided = divided or geometry_of(frame, ui)
            index = 0 if pane.follow else rows.position(pane)
            ui = ui.with_pane(spec.key, _select(pane, rows, index, _height(divided, place)))
    return ui


def _select(pane: Pane, rows: Listed, index: int, height: int) -> Pane:
    index = max(0, min(index, len(rows.ids) - 1))
    top = first_row(pane.top, index, len(rows.ids), height)
    chosen = rows.ids[index]
    if (pane.selected, pane.index, pane.top) == (chosen, index, top):
        return pane
    return replace(pane, selected=chosen, index=index, top=top)


def _height(divided: Geometry | None, place: int) -> int:
    return _UNSIZED_HEIGHT if divided is None else max(1, divided.heights[place])


def focused(ui: Ui, frame: Frame) -> tuple[TableSpec[Any], Pane, Listed]:
    """The focused table: what it is, how the user left it, and its rows."""
    spec = focus_of(ui)
    return spec, ui.pane(spec.key), listed(spec, frame, ui)


def move(*, rows: int = 0, pages: int = 0) -> Act:
    """A movement of the selection in the focused table; it ends at the first and the last row."""

    def act(ui: Ui, frame: Frame) -> Ui:
        spec, pane, table = focused(ui, frame)
        if not table.ids:
            return ui
        height = _height(geometry_of(frame, ui), spec_of(ui).tables.index(spec))
        index = table.position(pane) + rows + pages * height
        pane = replace(pane, follow=False)
        return ui.with_pane(spec.key, _select(pane, table, index, height))

    return act


def other_table(ui: Ui, _frame: Frame) -> Ui:
    """The focus moves to the next table of the page."""
    tables = [table.key for table in spec_of(ui).tables]
    after = (tables.index(focus_of(ui).key) + 1) % len(tables)
    return ui.at(replace(ui.visit, focus=tables[after]))


def sort(step: int) -> Act:
    """The column to the left or to the right of the one that is sorted by; around the end."""

    def act(ui: Ui, frame: Frame) -> Ui:
        spec, pane, table = focused(ui, frame)
        keys = [field.column.key for field in table.fields]
        if pane.sort is None or pane.sort[0] not in keys:
            at = 0 if step > 0 else len(keys) - 1
        else:
            at = (keys.index(pane.sort[0]) + step) % len(keys)
        return sorted_by(ui, spec, keys[at], table.fields[at].descends)

    return act


def sorted_by(ui: Ui, spec: TableSpec[Any], key: str, descending: bool) -> Ui:
    """A table in the order of a column."""
    return ui.with_pane(spec.key, replace(ui.pane(spec.key), sort=(key, descending)))


def reverse(ui: Ui, frame: Frame) -> Ui:
    """The other way round."""
    spec, pane, table = focused(ui, frame)
    first = table.fields[0]
    key, descending = pane.sort or (first.column.key, first.descends)
    return sorted_by(ui, spec, key, not descending)


def mark(ui: Ui, frame: Frame) -> Ui:
    """Mark the row or unmark it, and go to the next one, as everywhere."""
    spec, pane, table = focused(ui, frame)
    if not table.ids:
        return ui
    at = table.position(pane)
    ui = ui.with_pane(spec.key, replace(pane, marks=pane.marks ^ {table.ids[at]}))
    moved = move(rows=1)(ui, frame)
    return moved if isinstance(moved, Ui) else moved[0]


def mark_all(ui: Ui, frame: Frame) -> Ui:
    """All rows shown, besides those marked already."""
    spec, pane, table = focused(ui, frame)
    return ui.with_pane(spec.key, replace(pane, marks=pane.marks | frozenset(table.ids)))


def unmark(ui: Ui, frame: Frame) -> Ui:
    """No row is marked any more."""
    spec, pane, _ = focused(ui, frame)
    return ui.with_pane(spec.key, replace(pane, marks=frozenset()))


def follow_first(ui: Ui, frame: Frame) -> Ui:
    """Stay at the first row, or no longer."""
    spec, pane, _ = focused(ui, frame)
    return ui.with_pane(spec.key, replace(pane, follow=not pane.follow))
