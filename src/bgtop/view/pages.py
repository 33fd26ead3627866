"""From a frame and the state of the screen to a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from bgtop.model import UNKNOWN_RATES, Frame, QueueReading, Source, WorkerReading, WorkerState
from bgtop.page import Cell, Fact, Hint, Overlay, Page, Prompt, Row, RowId, Table, Tone
from bgtop.source_url import redacted
from bgtop.state.intake import name_filter
from bgtop.state.listing import queues_of, workers_of
from bgtop.state.totals import Totals, totals_of
from bgtop.view.columns import (
    DRAIN,
    NOTE,
    QUEUE_FIELDS,
    SOURCE,
    STATE_TONES,
    SYSTEM,
    WORKER_FIELDS,
    Field,
    QueueRow,
    R,
    WorkerRow,
    note_of,
    system_of,
)
from bgtop.view.geometry import first_row, geometry
from bgtop.view.statuses import statuses_of
from bgtop.view.text import LONGEST_NAME, clean, number, rate, width
from bgtop.view.ui import COMMANDS, QUEUES, WORKERS, Ui, pattern_fault, position

Queues: TypeAlias = Sequence[tuple[Source, QueueReading]]
Workers: TypeAlias = Sequence[tuple[Source, WorkerReading]]

_WIDEST_SOURCE: Final = 24
_USUAL_NAME: Final = 24

_HINTS: Final = (
    Hint("?", "Help"),
    Hint("/", "Filter"),
    Hint("Tab", "Table"),
    Hint("q", "Quit"),
    Hint("↑↓", "Move"),
)
_HELP_HINTS: Final = (Hint("Esc", "Close"),)
_PROMPT_HINTS: Final = (Hint("Enter", "Keep"), Hint("Esc", "Cancel"), Hint("!", "All but"))


def page_of(frame: Frame, ui: Ui, now: datetime) -> Page:
    """The page of this moment: all rows, or those that fit when ``ui`` knows the size."""
    statuses = statuses_of(frame, now)
    queues = queues_of(frame, name_filter(ui.queues.filter)).rows
    workers = workers_of(frame, name_filter(ui.workers.filter)).rows
    heights = (len(queues), len(workers))
    if ui.size is not None:
        heights = geometry(ui.size, lengths=heights, statuses=len(statuses)).heights
    return Page(
        title=_title(frame.snapshot.sources),
        corner=f"every {ui.interval:g}s" if ui.interval else "",
        totals=_facts(totals_of(frame)),
        tables=(
            _queue_table(frame, ui, now, queues, heights[0]),
            _worker_table(frame, ui, now, workers, heights[1]),
        ),
        statuses=statuses,
        hints=_hints(ui),
        prompt=_prompt(ui),
        overlay=HELP if ui.help else None,
    )


def _hints(ui: Ui) -> tuple[Hint, ...]:
    if ui.help:
        return _HELP_HINTS
    return _PROMPT_HINTS if ui.editing else _HINTS


def _title(sources: Sequence[Source]) -> tuple[Cell, ...]:
    name = Cell("bgtop", Tone.STRONG)
    if len(sources) != 1:
        return name, Cell(f"{len(sources)} sources")
    [source] = sources
    version = source.reading.broker_version if source.reading else None
    broker = f"{source.info.broker} {version}" if version else source.info.broker
    return (
        name,
        Cell(system_of(source), Tone.STRONG),
        Cell(clean(redacted(source.info.url))),
        Cell(clean(broker), Tone.FAINT),
    )


def _facts(totals: Totals) -> tuple[Fact, ...]:
    """The most important first: what does not fit is left out from the end."""
    lost = {
        state: count
        for state, count in totals.workers_by_state.items()
        if state in {WorkerState.DEAD, WorkerState.UNKNOWN}
    }
    return (
        Fact("Queues", _sum(totals.queues)),
        Fact("Depth", _sum(totals.depth)),
        Fact("Unacked", _sum(totals.unacked)),
        Fact("Running", _sum(totals.running)),
        Fact("Failed", _sum(totals.failed, Tone.BAD)),
        Fact("Workers", _sum(totals.workers)),
        *(
            Fact(state.value.capitalize(), _sum(count, STATE_TONES[state]))
            for state, count in lost.items()
        ),
        Fact("In/s", _speed(totals.in_per_second)),
        Fact("Out/s", _speed(totals.out_per_second)),
    )


def _sum(value: int | None, tone: Tone = Tone.STRONG) -> Cell:
    return Cell(number(value), tone if value else Tone.FAINT)


def _speed(value: float | None) -> Cell:
    return Cell(rate(value), Tone.STRONG if value else Tone.FAINT)


def _queue_table(frame: Frame, ui: Ui, now: datetime, listed: Queues, height: int) -> Table:
    window = _window(QUEUES, ui, listed, height)
    rows = [
        QueueRow(source, queue, frame.rates.get((source.key, queue.name), UNKNOWN_RATES), now)
        for source, queue in listed[window.first : window.first + height]
    ]
    names = [queue.name for _, queue in listed]
    fields = _fields(QUEUE_FIELDS, frame, _widest(names))
    unneeded = set()
    if not any(note_of(queue) for _, queue in listed):
        unneeded.add(NOTE)
    if all(rates.drain_seconds is None for rates in frame.rates.values()):
        unneeded.add(DRAIN)
    fields = tuple([field for field in fields if field.column.key not in unneeded])
    return _table(frame, ui, window, rows, fields)


def _worker_table(frame: Frame, ui: Ui, now: datetime, listed: Workers, height: int) -> Table:
    window = _window(WORKERS, ui, listed, height)
    rows = [
        WorkerRow(source, worker, now)
        for source, worker in listed[window.first : window.first + height]
    ]
    names = [worker.name for _, worker in listed]
    fields = _fields(WORKER_FIELDS, frame, _widest(names))
    return _table(frame, ui, window, rows, fields)


def _widest(names: Sequence[str]) -> int:
    """Cells that the longest name wants; a filter in the heading has room beside short ones."""
    # Of ten thousand names nearly all are as wide as they are long, and need not be made harmless.
    cells = [
        len(name)
        if len(name) <= LONGEST_NAME and name.isascii() and name.isprintable()
        else width(clean(name))
        for name in names
    ]
    return max([_USUAL_NAME, *cells])


class _Window(NamedTuple):
    """Which part of a list is shown, and which of its rows is selected."""

    key: str
    first: int
    selected: int
    total: int


def _window(key: str, ui: Ui, listed: Queues | Workers, height: int) -> _Window:
    pane = ui.pane(key)
    ids: Sequence[RowId | None] = [None] * len(listed)
    if pane.selected is not None:
        ids = [(source.key, reading.name) for source, reading in listed]
    selected = position(pane, ids)
    first = first_row(pane.top, selected, len(listed), height)
    return _Window(key, first, selected, len(listed))


def _fields(fields: Sequence[Field[R]], frame: Frame, widest: int) -> tuple[Field[R], ...]:
    """The columns this frame needs, the name as wide as the longest name wants it."""
    several = {
        SOURCE: {clean(source.name) for source in frame.snapshot.sources},
        SYSTEM: {system_of(source) for source in frame.snapshot.sources},
    }
    fitted = []
    for field in fields:
        column = field.column
        if column.key == "name":
            column = replace(column, most=max(column.least, widest))
        elif column.key in several:
            if len(several[column.key]) < 2:
                continue
            longest = max(map(width, several[column.key]))
            column = replace(column, most=max(column.least, min(longest, _WIDEST_SOURCE)))
        fitted.append(replace(field, column=column))
    return tuple(fitted)


def _table(
    frame: Frame, ui: Ui, window: _Window, rows: Sequence[R], fields: Sequence[Field[R]]
) -> Table:
    key, first, selected, total = window
    chosen = ui.pane(key).filter
    return Table(
        key=key,
        columns=tuple([field.column for field in fields]),
        rows=tuple([_row(row, fields) for row in rows]),
        first=first,
        total=total,
        selected=selected if total else None,
        focused=ui.focus == key,
        note=_note(chosen, selected, total),
        empty=_why_empty(frame, key, chosen),
    )


def _row(row: R, fields: Sequence[Field[R]]) -> Row:
    cells = tuple([field.cell(row) for field in fields])
    stale = row.source.failure is not None
    if stale:
        cells = tuple([Cell(cell.text, Tone.FAINT) for cell in cells])
    return Row(id=row.id, cells=cells, stale=stale)


def _note(chosen: str, selected: int, total: int) -> str:
    place = f"{selected + 1}/{total}" if total else "0"
    return f"/{clean(chosen)} {place}" if chosen else place


def _why_empty(frame: Frame, key: str, chosen: str) -> str:
    if chosen:
        return f"none matches /{clean(chosen)}"
    if all(source.reading is None for source in frame.snapshot.sources):
        return "nothing read yet"
    return f"no {key}"


def _prompt(ui: Ui) -> Prompt | None:
    if ui.editing is None:
        return None
    text = ui.editing.text
    return Prompt(label=f"filter {ui.focus}", text=clean(text), error=pattern_fault(text))


def _explained(fields: Iterable[Field[R]]) -> Iterable[tuple[str, str]]:
    return [
        (field.column.title, field.words)
        for field in fields
        if field.column.key not in {SOURCE, SYSTEM}
    ]


HELP: Final = Overlay(
    title="bgtop help",
    rows=(
        *((command.shown, command.words) for command in COMMANDS),
        ("", ""),
        *_explained(QUEUE_FIELDS),
        ("", ""),
        *_explained(WORKER_FIELDS),
        ("", ""),
        ("–", "this system cannot tell"),
        ("≥", "at least"),
    ),
)
