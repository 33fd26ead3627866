"""What a page shows as plain data: made once for a frame, then rendered, encoded or compared."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bgtop.state.places import titles_of
from bgtop.state.records import WorkerRow
from bgtop.state.trends import Memory, worker_key
from bgtop.view.facts import total_facts
from bgtop.view.fields import Scene
from bgtop.view.listed import Listed, listed
from bgtop.view.pages import DIAGNOSIS, page_named
from bgtop.view.statuses import statuses_of
from bgtop.view.text import clean
from bgtop.view.ui import OVERVIEW
from bgtop.web.offers import offer_for, subject_row, worker_offer
from bgtop.web.visits import address_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from bgtop.model import Frame
    from bgtop.page import Cell, Fact
    from bgtop.view.specs import TableSpec
    from bgtop.view.ui import Ui
    from bgtop.web.grants import Person

MOST_ROWS: Final = 500
"""Rows of a table that are shown; a filter finds the others."""

_MOST_SPARKS: Final = 50
_SPARK_POINTS: Final = 24
_LONGEST_TEXT: Final = 2000

Model = dict[str, Any]

_CHARTS: Final = {
    "queue": (("Depth", "depth", "jobs"), ("In", "in", "jobs/s"), ("Out", "out", "jobs/s"),
              ("Mean runtime", "runtime", "s")),
    "worker": (("Running", "running", "jobs"), ("CPU", "cpu", "%")),
}  # fmt: skip
_OF_EVERYTHING: Final = (
    ("Depth", "depth", "jobs"),
    ("In", "in", "jobs/s"),
    ("Out", "out", "jobs/s"),
    ("Running", "running", "jobs"),
)


def model_of(frame: Frame, ui: Ui, now: datetime, person: Person, *, control: bool) -> Model:
    """Everything the page of a visit shows at this moment."""
    spec = page_named(ui.visit.page)
    titles = titles_of(frame.snapshot.sources)
    here = _Here(Scene(frame, now), ui, person, titles, control)
    notes = [*statuses_of(frame, now, ui.interval), *spec.notes(frame, ui)]
    subject = subject_row(frame, ui.visit)
    return {
        "page": spec.name,
        "subject": clean(ui.visit.subject[1]) if ui.visit.subject else "",
        "facts": [[fact.label, *_cell(fact.value)] for fact in _facts(here)],
        "statuses": [[s.tag, s.tone.value, s.text] for s in notes],
        "charts": _charts(frame, ui),
        "offer": here.offer_of_page(subject),
        "tables": {table.key: _table(table, here) for table in spec.tables},
    }


def _cell(cell: Cell) -> list[str]:
    return [cell.text, cell.tone.value]


class _Here(NamedTuple):
    """What all rows of a page are made with."""

    scene: Scene
    ui: Ui
    person: Person
    titles: Mapping[str, str]
    control: bool

    def offer(self, row: Any, *, whole_page: bool = False) -> list[Any] | None:
        """What can be done to a row here."""
        found = offer_for(
            row, self.person, self.titles, control=self.control, whole_page=whole_page
        )
        return None if found is None else [list(found.names), found.target]

    def offer_of_page(self, row: Any) -> list[Any] | None:
        """What can be done to what the page is about: more than a row has room for."""
        if not isinstance(row, WorkerRow):
            return None if row is None else self.offer(row, whole_page=True)
        found = worker_offer(row, self.person, self.titles, control=self.control)
        return None if found is None else [list(found.names), found.target, found.words]


def _facts(here: _Here) -> Sequence[Fact]:
    """A terminal tells the chosen finding above its table; here the table has room for all."""
    frame, now = here.scene
    spec = page_named(here.ui.visit.page)
    return total_facts(frame) if spec.name == DIAGNOSIS else spec.facts(frame, here.ui, now)


def _table(spec: TableSpec[Any], here: _Here) -> Model:
    frame = here.scene.frame
    found: Listed = listed(spec, frame, here.ui)
    rows: dict[str, Model] = {}
    for at, row in enumerate(found.rows[:MOST_ROWS]):
        opens = spec.opens(row)
        shown: Model = {"cells": [_cell(field.cell(row, here.scene)) for field in found.fields]}
        if opens is not None:
            shown["href"] = address_of(opens, here.titles)
        if row.source.failure is not None:
            shown["stale"] = True
        offer = here.offer(row)
        if offer is not None:
            shown["offer"] = offer
        spark = _spark(spec.key, frame, row.id) if at < _MOST_SPARKS else None
        if spark:
            shown["spark"] = spark
        rows[_row_id(found.ids[at])] = shown
    hidden = found.hidden + max(0, len(found.rows) - MOST_ROWS)
    return {
        "columns": [
            [f.column.key, f.column.title, f.words, f.column.right, f.column.rank]
            for f in found.fields
        ],
        "rows": rows,
        "order": list(rows),
        "total": len(found.rows) + found.hidden,
        "hidden": hidden,
        "empty": spec.empty(frame, here.ui) if not rows else "",
    }


def _row_id(id_: tuple[str, str]) -> str:
    """Short, the same from frame to frame, and harmless wherever it is written."""
    text = "\0".join(id_).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def _spark(table: str, frame: Frame, id_: tuple[str, str]) -> list[float | None] | None:
    if frame.trends is None:
        return None
    match table:
        case "queues":
            values = frame.trends.of(*id_, "depth")
        case "workers" | "readers":
            values = frame.trends.of(id_[0], worker_key(id_[1]), "running")
        case _:
            return None
    return _short(values[-_SPARK_POINTS:])


def _short(values: tuple[float | None, ...]) -> list[float | None] | None:
    """The numbers with as many digits as a picture has room for; none if all are unknown."""
    if all(value is None for value in values):
        return None
    return [None if value is None else float(f"{value:.4g}") for value in values]


def _charts(frame: Frame, ui: Ui) -> list[Model]:
    trends, visit = frame.trends, ui.visit
    if visit.page == OVERVIEW and isinstance(trends, Memory):
        found = [(label, unit, trends.totals(series)) for label, series, unit in _OF_EVERYTHING]
        return [_chart(*chart) for chart in found if _short(chart[2])]
    if trends is None or visit.subject is None or visit.page not in _CHARTS:
        return []
    source, name = visit.subject
    row = worker_key(name) if visit.page == "worker" else name
    found = [(label, unit, trends.of(source, row, key)) for label, key, unit in _CHARTS[visit.page]]
    return [_chart(*chart) for chart in found if _short(chart[2])]


def _chart(label: str, unit: str, values: tuple[float | None, ...]) -> Model:
    return {"label": label, "unit": unit, "values": _short(values)}


def difference(before: Model, after: Model) -> Model:
    """What has changed; empty if nothing has."""
    changed = {
        key: value for key, value in after.items() if key != "tables" and before.get(key) != value
    }
    tables = {
        key: part
        for key, table in after["tables"].items()
        if (part := _table_difference(before["tables"].get(key), table))
    }
    return {**changed, "tables": tables} if tables else changed


def _table_difference(before: Model | None, after: Model) -> Model:
    if before is None or before["columns"] != after["columns"]:
        return {**after, "all": True}
    changed = {
        key: after[key]
        for key in ("order", "total", "hidden", "empty")
        if before[key] != after[key]
    }
    known = before["rows"]
    rows = {id_: row for id_, row in after["rows"].items() if known.get(id_) != row}
    return {**changed, "rows": rows} if rows else changed
