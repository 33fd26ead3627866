"""The rows of a table as the user wants them: filtered, sorted, cut; computed once for a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from bgtop.model import Frame
from bgtop.page import RowId
from bgtop.state.derived import derived
from bgtop.view.fields import Field
from bgtop.view.specs import TableSpec
from bgtop.view.ui import Pane, Ui

_USUAL_NAME: Final = 24
"""Cells a first column may have anyway: a filter in the heading has room beside short names."""


class Listed(NamedTuple):
    """Rows in order with their ids, which are all different, and the columns they need."""

    rows: Sequence[Any]
    ids: Sequence[RowId]
    fields: tuple[Field[Any], ...]
    places: dict[RowId, int]
    hidden: int = 0

    def position(self, pane: Pane) -> int:
        """The index of the selected row; where it was last when it is gone; 0 without rows."""
        found = None if pane.selected is None else self.places.get(pane.selected)
        return max(0, min(pane.index, len(self.ids) - 1)) if found is None else found


def listed(spec: TableSpec[Any], frame: Frame, ui: Ui) -> Listed:
    """What a table holds. A filter that is none counts as no filter."""
    pane = ui.pane(spec.key)
    columns = ui.size.columns if ui.size else None
    place = (ui.visit.page, ui.visit.subject, ui.visit.limit, spec.key, columns)
    key = ("listed", *place, pane.filter, pane.sort)
    return derived(frame, key, lambda: _listed(spec, frame, ui, ("rows", *place)))


def _listed(spec: TableSpec[Any], frame: Frame, ui: Ui, key: tuple[Any, ...]) -> Listed:
    pane = ui.pane(spec.key)
    everything: Sequence[tuple[RowId, Any]] = derived(
        frame, key, lambda: _with_ids(spec.rows(frame, ui))
    )
    rows = everything
    if pane.filter:
        rows = _kept(rows, spec, pane.filter)
    if pane.sort is not None:
        rows = _ordered(rows, spec, *pane.sort)
    limit = spec.limit(frame)
    shown = rows if limit is None else rows[:limit]
    ids = [row_id for row_id, _ in shown]
    return Listed(
        rows=[row for _, row in shown],
        ids=ids,
        fields=_fields(spec, frame, ui, [row for _, row in everything]),
        places={row_id: at for at, row_id in enumerate(ids)},
        hidden=len(rows) - len(shown),
    )


def _kept(
    rows: Sequence[tuple[RowId, Any]], spec: TableSpec[Any], text: str
) -> Sequence[tuple[RowId, Any]]:
    from bgtop.state.filters import filter_of  # most screens have none
    from bgtop.state.intake import BadPattern

    try:
        keeps = filter_of(text, spec.facts)
    except BadPattern:
        return rows
    return rows if keeps is None else [row for row in rows if keeps(row[1])]


def _with_ids(rows: Sequence[Any]) -> Sequence[tuple[RowId, Any]]:
    """Rows that call themselves the same are told apart by a number."""
    ids = [row.id for row in rows]
    if len(set(ids)) < len(ids):
        seen: dict[RowId, int] = {}
        for at, (source, name) in enumerate(ids):
            again = seen.get((source, name), 0)
            seen[source, name] = again + 1
            if again:
                ids[at] = (source, f"{name}\0{again}")
    return list(zip(ids, rows, strict=True))


def _ordered(
    rows: Sequence[tuple[RowId, Any]], spec: TableSpec[Any], key: str, descending: bool
) -> Sequence[tuple[RowId, Any]]:
    """By the value of a column; what is unknown comes last, whichever the direction."""
    field = next((field for field in spec.fields if field.column.key == key), None)
    if field is None:
        return rows
    value = field.value
    known = [row for row in rows if value(row[1]) is not None]
    unknown = [row for row in rows if value(row[1]) is None]
    known.sort(key=lambda row: value(row[1]), reverse=descending)
    return known + unknown


def _fields(
    spec: TableSpec[Any], frame: Frame, ui: Ui, rows: Sequence[Any]
) -> tuple[Field[Any], ...]:
    """The columns these rows need, wide enough; computed from all, so that a filter moves none."""

    def compute() -> tuple[Field[Any], ...]:
        return tuple(
            [
                field.fitted(rows, 0 if place else _USUAL_NAME)
                for place, field in enumerate(spec.fields)
                if (field.needed is None or field.needed(frame, rows))
                and (ui.size is not None or not field.chart)
            ]
        )

    return derived(
        frame,
        ("fields", spec.key, ui.visit.page, ui.visit.subject, ui.visit.limit, ui.size),
        compute,
    )
