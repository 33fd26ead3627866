"""All pages, and from a frame and the state of the screen to the one that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import Any, Final

from bgtop.contracts import Interest
from bgtop.model import Frame, Source
from bgtop.page import Cell, Column, Page, Prompt, Row, Status, Tab, Table, Tone
from bgtop.source_url import redacted
from bgtop.state.places import titles_of
from bgtop.state.steps import Steps
from bgtop.view.dialogs import dialog_of, filter_fault, help_of, hints_of
from bgtop.view.fields import Field, Scene, system_of
from bgtop.view.geometry import Geometry, Parts, first_row, geometry
from bgtop.view.listed import Listed, listed, listing
from bgtop.view.specs import PageSpec, TableSpec
from bgtop.view.statuses import statuses_of
from bgtop.view.text import clean, duration, width
from bgtop.view.ui import OVERVIEW, Pane, Ui, Visit
from bgworker.values import replace

FIRST_PAGES: Final = {
    OVERVIEW: "1",
    "tasks": "2",
    "schedules": "3",
    "failures": "4",
    "sources": "5",
    "findings": "6",
}
"""The pages one can always go to, with their keys."""

PAGES: Final = (*FIRST_PAGES, "queue", "worker", "job")
"""All of them: each is a module of this package."""

DIAGNOSIS: Final = "findings"


@cache
def page_named(name: str) -> PageSpec:
    """A page by its name. It is imported when it is looked at first: the screen is there sooner."""
    page: PageSpec = import_module(f"{__name__}.{name}").PAGE
    return page


def spec_of(ui: Ui) -> PageSpec:
    """The page that is shown."""
    return page_named(ui.visit.page)


def focus_of(ui: Ui) -> TableSpec[Any]:
    """The table that keys are for."""
    tables = spec_of(ui).tables
    return next((table for table in tables if table.key == ui.visit.focus), tables[0])


def interest_of(ui: Ui, source: str, usual: Interest) -> Interest:
    """What has to be fetched from a source for the page that is shown."""
    return spec_of(ui).interest(ui.visit, source, usual)


def parts_of(frame: Frame, ui: Ui, now: datetime) -> Parts:
    """What the page needs room for."""
    spec = spec_of(ui)
    facts = spec.facts(frame, ui, now) if spec.roomy else ()
    return Parts(
        lengths=[len(listed(table, frame, ui).ids) for table in spec.tables],
        statuses=len(_statuses(frame, ui, now)),
        facts=[width(fact.label) + 1 + width(fact.value.text) for fact in facts],
        roomy=spec.roomy,
        banner=_banner(frame, ui) is not None,
        tabs=True,
    )


def geometry_of(frame: Frame, ui: Ui) -> Geometry | None:
    """How the screen is divided now; ``None`` where its size is not known."""
    if ui.size is None:
        return None
    return geometry(ui.size, parts_of(frame, ui, frame.snapshot.taken_at))


def preparing(frame: Frame, ui: Ui) -> Steps[None]:
    """Find in steps what the page of a new frame is made of, so that it is there at once.

    The overview too, to which one goes back from everywhere.
    """
    for shown in (ui, ui.first_page(OVERVIEW)):
        spec = spec_of(shown)
        for table in spec.tables:
            rows = yield from listing(table, frame, shown)
            yield
            rows.position(shown.pane(table.key))
        spec.facts(frame, shown, frame.snapshot.taken_at)
        yield


def page_of(frame: Frame, ui: Ui, now: datetime) -> Page:
    """The page of this moment: all rows, or those that fit when ``ui`` knows the size."""
    spec = spec_of(ui)
    heights = [len(listed(table, frame, ui).ids) for table in spec.tables]
    if ui.size is not None:
        heights = list(geometry(ui.size, parts_of(frame, ui, now)).heights)
    return Page(
        title=_title(frame, ui),
        corner=_corner(ui),
        tabs=tuple(
            [Tab(key, name.capitalize(), name == spec.name) for name, key in FIRST_PAGES.items()]
        ),
        banner=_banner(frame, ui),
        totals=tuple(spec.facts(frame, ui, now)),
        roomy=spec.roomy,
        tables=tuple(
            [
                _table(table, Scene(frame, now), ui, height)
                for table, height in zip(spec.tables, heights, strict=True)
            ]
        ),
        statuses=_statuses(frame, ui, now),
        hints=hints_of(ui, frame, spec, listed(focus_of(ui), frame, ui), ui.pane(focus_of(ui).key)),
        prompt=_prompt(ui),
        overlay=help_of(ui, spec) if ui.help else None,
        dialog=dialog_of(ui.asking) if ui.asking else None,
    )


def _statuses(frame: Frame, ui: Ui, now: datetime) -> tuple[Status, ...]:
    """What the last key came to, then the worst first; what is well comes last."""
    notes = list(spec_of(ui).notes(frame, ui))
    if ui.drawing_seconds:
        words = f"the terminal takes {duration(ui.drawing_seconds)} for a picture"
        notes.append(Status("SLOW", Tone.WARN, words))
    told = statuses_of(frame, now, ui.interval, detail=ui.detail)
    # The line above all others says when this was.
    alert = _alert(frame) if ui.replay is not None else None
    return (
        *([ui.notice] if ui.notice else []),
        *([alert] if alert else []),
        *(status for status in told if status.tone is not Tone.GOOD),
        *notes,
        *(status for status in told if status.tone is Tone.GOOD),
    )


def _banner(frame: Frame, ui: Ui) -> Status | None:
    if ui.replay is not None:
        from bgtop.view.replay_keys import banner_of

        return banner_of(ui, ui.replay)
    if not ui.paused:
        return _alert(frame)
    return Status("PAUSED", Tone.WARN, "the picture stands still · p goes on")


def _alert(frame: Frame) -> Status | None:
    """The first rule that is broken, and how many more are."""
    if not frame.alerts:
        return None
    first, *more = frame.alerts
    places = {source.name for source in frame.snapshot.sources}
    where = f" on {clean(first.source)}" if len(places) > 1 else ""
    others = f" · and {len(more)} more" if more else ""
    text = f"{clean(first.subject)}{where}: {clean(first.words)}{others}"
    return Status("ALERT", Tone.BAD, text)


def _title(frame: Frame, ui: Ui) -> tuple[Cell, ...]:
    found: Sequence[Source] = frame.snapshot.sources
    crumb = _crumb(ui.visit)
    name = (Cell("bgtop", Tone.STRONG), *([Cell(crumb, Tone.STRONG)] if crumb else []))
    if len(found) != 1:
        # Queues of several sources have one name often enough.
        where = titles_of(found).get(_source_of(frame, ui.visit))
        return *name, Cell(f"{len(found)} sources" if where is None else clean(where))
    [source] = found
    version = source.reading.broker_version if source.reading else None
    broker = f"{source.info.broker} {version}" if version else source.info.broker
    return (
        *name,
        Cell(system_of(source), Tone.STRONG),
        Cell(clean(redacted(source.info.url))),
        Cell(clean(broker), Tone.FAINT),
    )


def _source_of(frame: Frame, visit: Visit) -> str:
    """The key of the source the page is about; a job may be looked for at all of them."""
    if visit.subject is None:
        return ""
    if visit.subject[0] or visit.page != "job":
        return visit.subject[0]
    from bgtop.view.subjects import job_of  # nothing of single jobs is needed for the first picture

    row = job_of(frame, visit)
    return "" if row is None else row.source.key


def _corner(ui: Ui) -> str:
    parts = ["read-only"] * ui.read_only + [f"every {ui.interval or 0:g}s"] * bool(ui.interval)
    return " · ".join(parts)


def _crumb(visit: Visit) -> str:
    """What the page is about; the first page is what it always is."""
    if visit.subject is not None:
        return f"› {visit.page} {clean(visit.subject[1], 60)}"
    return "" if visit.page == OVERVIEW else f"› {visit.page}"


def _table(spec: TableSpec[Any], scene: Scene, ui: Ui, height: int) -> Table:
    rows: Listed = listed(spec, scene.frame, ui)
    pane = ui.pane(spec.key)
    total = len(rows.ids)
    selected = rows.position(pane)
    first = first_row(pane.top, selected, total, height)
    shown = range(first, min(first + max(height, 0), total))
    place = f"{selected + 1}/{total}" if total else "0"
    parts = [
        *([f"/{clean(pane.filter)}"] if pane.filter else []),
        place,
        *([f"*{len(pane.marks)}"] if pane.marks else []),
        *(["F"] if pane.follow else []),
    ]
    return Table(
        key=spec.key,
        columns=tuple([_shown(field.column, pane) for field in rows.fields]),
        rows=tuple([_row(rows, at, scene, marked=rows.ids[at] in pane.marks) for at in shown]),
        first=first,
        total=total,
        selected=selected if total else None,
        focused=focus_of(ui) is spec,
        note=" ".join(parts),
        empty=_why_empty(spec, scene.frame, ui),
        sort=pane.sort,
    )


def _shown(column: Column, pane: Pane) -> Column:
    """What a table is sorted by goes last of all where room is short: an order has to be seen."""
    if pane.sort is None or pane.sort[0] != column.key or column.rank <= 1:
        return column
    return replace(column, rank=1)


class _Cells(Sequence[Cell]):
    """The cells of a row, each made when it is looked at."""

    __slots__ = ("_fields", "_row", "_scene")

    def __init__(self, fields: Sequence[Field[Any]], row: Any, scene: Scene) -> None:
        self._fields = fields
        self._row = row
        self._scene = scene

    def __len__(self) -> int:
        return len(self._fields)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return tuple(self)[at]
        cell = self._fields[at].cell(self._row, self._scene)
        return cell if self._row.source.failure is None else Cell(cell.text, Tone.FAINT)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (tuple(self),)  # a page is data: what leaves the process is made before


def _row(rows: Listed, at: int, scene: Scene, *, marked: bool) -> Row:
    row = rows.rows[at]
    return Row(
        id=rows.ids[at],
        cells=_Cells(rows.fields, row, scene),
        stale=row.source.failure is not None,
        marked=marked,
    )


def _why_empty(spec: TableSpec[Any], frame: Frame, ui: Ui) -> str:
    chosen = ui.pane(spec.key).filter
    if chosen and len(listed(spec, frame, ui).ids) == 0:
        unfiltered = ui.with_pane(spec.key, replace(ui.pane(spec.key), filter=""))
        if listed(spec, frame, unfiltered).ids:
            return f"none matches /{clean(chosen)}"
    words = spec.empty(frame, ui)
    if ui.replay is not None and words == "reading…":
        return "not in this recording"
    return f"{words} · paused, p goes on" if ui.paused and words == "reading…" else words


def _prompt(ui: Ui) -> Prompt | None:
    editing = ui.editing
    if editing is None:
        return None
    if editing.what == "go":
        return Prompt(label="go to", text=clean(editing.text))
    spec = focus_of(ui)
    fault = filter_fault(editing.text, spec)
    return Prompt(label=f"filter {spec.key}", text=clean(editing.text), error=fault)
