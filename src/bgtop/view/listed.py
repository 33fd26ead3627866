"""The rows of a table as the user wants them: filtered, sorted, cut; computed once for a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from bgtop.model import Frame
from bgtop.page import RowId
from bgtop.state.derived import derived
from bgtop.state.steps import Steps
from bgtop.view.fields import Field
from bgtop.view.specs import TableSpec
from bgtop.view.ui import Pane, Ui

_USUAL_NAME: Final = 24
"""Cells a first column may have anyway: a filter in the heading has room beside short names."""


class Listed:
    """Rows in order with their ids, which are all different, and the columns they need."""

    __slots__ = ("_places", "fields", "hidden", "ids", "rows")

    def __init__(
        self,
        rows: Sequence[Any],
        ids: Sequence[RowId],
        fields: tuple[Field[Any], ...],
        hidden: int = 0,
    ) -> None:
        self.rows = rows
        self.ids = ids
        self.fields = fields
        self.hidden = hidden
        self._places: dict[RowId, int] | None = None

    @property
    def places(self) -> dict[RowId, int]:
        """Where each row stands; made for those who look for one."""
        if self._places is None:
            self._places = {row_id: at for at, row_id in enumerate(self.ids)}
        return self._places

    def position(self, pane: Pane) -> int:
        """The index of the selected row; where it was last when it is gone; 0 without rows."""
        found = None if pane.selected is None else self.places.get(pane.selected)
        return max(0, min(pane.index, len(self.ids) - 1)) if found is None else found


class _Rows(NamedTuple):
    """Rows and what each is called."""

    ids: Sequence[RowId]
    rows: Sequence[Any]

    def at(self, chosen: Sequence[int]) -> _Rows:
        """Those at these places, in this order."""
        return _Rows([self.ids[at] for at in chosen], [self.rows[at] for at in chosen])


def listed(spec: TableSpec[Any], frame: Frame, ui: Ui) -> Listed:
    """What a table holds. A filter that is none counts as no filter."""
    pane = ui.pane(spec.key)
    key = ("listed", *_place(spec, ui), pane.filter, pane.sort)
    return derived(frame, key, lambda: _listed(spec, frame, ui))


def listing(spec: TableSpec[Any], frame: Frame, ui: Ui) -> Steps[Listed]:
    """The same in steps, for a frame that nobody looks at yet."""
    rows = _everything(spec, frame, ui).rows
    yield
    _fields(spec, frame, ui, rows)
    yield
    return listed(spec, frame, ui)


def _place(spec: TableSpec[Any], ui: Ui) -> tuple[Any, ...]:
    """What the rows of a table depend on beside the frame."""
    columns = ui.size.columns if ui.size else None
    return ui.visit.page, ui.visit.subject, ui.visit.limit, spec.key, columns


def _everything(spec: TableSpec[Any], frame: Frame, ui: Ui) -> _Rows:
    key = ("rows", *_place(spec, ui))
    found: _Rows = derived(frame, key, lambda: _with_ids(spec.rows(frame, ui)))
    return found


def _listed(spec: TableSpec[Any], frame: Frame, ui: Ui) -> Listed:
    pane = ui.pane(spec.key)
    everything = found = _everything(spec, frame, ui)
    if pane.filter:
        found = _kept(found, spec, pane.filter)
    if pane.sort is not None:
        found = _ordered(found, spec, *pane.sort)
    limit = spec.limit(frame)
    return Listed(
        rows=found.rows[:limit] if limit is not None else found.rows,
        ids=found.ids[:limit] if limit is not None else found.ids,
        fields=_fields(spec, frame, ui, everything.rows),
        hidden=0 if limit is None else max(0, len(found.ids) - limit),
    )


def _kept(found: _Rows, spec: TableSpec[Any], text: str) -> _Rows:
    from bgtop.state.filters import filter_of  # most screens have none
    from bgtop.state.intake import BadPattern

    try:
        keeps = filter_of(text, spec.facts)
    except BadPattern:
        return found
    if keeps is None:
        return found
    return found.at([at for at, row in enumerate(found.rows) if keeps(row)])


def _with_ids(rows: Sequence[Any]) -> _Rows:
    """Rows that call themselves the same are told apart by a number."""
    ids = [row.id for row in rows]
    if len(set(ids)) < len(ids):
        seen: dict[RowId, int] = {}
        for at, (source, name) in enumerate(ids):
            again = seen.get((source, name), 0)
            seen[source, name] = again + 1
            if again:
                ids[at] = (source, f"{name}\0{again}")
    return _Rows(ids, rows)


def _ordered(found: _Rows, spec: TableSpec[Any], key: str, descending: bool) -> _Rows:
    """By the value of a column; what is unknown comes last, whichever the direction."""
    field = next((field for field in spec.fields if field.column.key == key), None)
    if field is None:
        return found
    values = [field.value(row) for row in found.rows]
    known = [at for at, value in enumerate(values) if value is not None]
    unknown = [at for at, value in enumerate(values) if value is None]
    known.sort(key=values.__getitem__, reverse=descending)
    return found.at(known + unknown)


def _fields(
    spec: TableSpec[Any], frame: Frame, ui: Ui, rows: Sequence[Any]
) -> tuple[Field[Any], ...]:
    """The columns these rows need, wide enough; computed from all, so that a filter moves none."""

    def compute() -> tuple[Field[Any], ...]:
        return tuple(
            [
                field.fitted(rows, 0 if place else _USUAL_NAME).ranked(frame)
                for place, field in enumerate(spec.fields)
                if (field.needed is None or field.needed(frame, rows))
                and not (field.told and ui.visit.subject)
                and (ui.size is not None or not field.chart)
            ]
        )

    return derived(
        frame,
        ("fields", spec.key, ui.visit.page, ui.visit.subject, ui.visit.limit, ui.size),
        compute,
    )
