"""Keys change the state of a screen and may ask for effects: a pure function.

What only some keys need is imported by them: the screen is there sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from bgtop.actions import CancelJob
from bgtop.model import Frame
from bgtop.page import Status, Tone
from bgtop.view.commands import BY_KEY, COMMANDS
from bgtop.view.dialogs import SIGNALS, allowed, filter_fault
from bgtop.view.geometry import Geometry, first_row
from bgtop.view.listed import Listed, listed
from bgtop.view.pages import FIRST_PAGES, focus_of, geometry_of, page_of, spec_of
from bgtop.view.specs import TableSpec
from bgtop.view.text import clean
from bgtop.view.ui import (
    LONGEST_LINE,
    Asking,
    Copy,
    Editing,
    Pace,
    Pane,
    Perform,
    Quit,
    Result,
    Ui,
    Visit,
)

_UNSIZED_HEIGHT: Final = 10

_ALL: Final = 1 << 60
"""More rows than there are: as far as it goes."""

_MOST_PAGES: Final = 50
"""Pages one can go into before the first ones are forgotten."""

_MOST_JOBS: Final = 10_000
"""Jobs of each state that may be asked for."""

PACES: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between polls that + and - choose from."""

Act: TypeAlias = Callable[[Ui, Frame], "Ui | Result"]


def reduce(ui: Ui, key: str, frame: Frame) -> Result:
    """The state after a key, and what else has to happen. Unknown keys change nothing."""
    if key == "resize":
        return follow(ui, frame), ()
    if key.startswith("click "):
        return _click(ui, key, frame)
    if key in _WHEEL:
        key = _WHEEL[key]
    ui = replace(ui, notice=None)
    if ui.asking is not None:
        return _answer(ui, ui.asking, key)
    if ui.editing is not None:
        return _edit(ui, ui.editing, key, frame)
    return (_read_help(ui, key), ()) if ui.help else _command(ui, key, frame)


def _command(ui: Ui, key: str, frame: Frame) -> Result:
    command = BY_KEY.get(key)
    if command is None or not allowed(command, ui):
        return ui, ()
    result = _jump(ui, key) if command.name == "jump" else _ACTS[command.name](ui, frame)
    ui, effects = (result, ()) if isinstance(result, Ui) else result
    return follow(ui, frame), effects


_WHEEL: Final = {"wheelup": "up", "wheeldown": "down"}


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


def _focused(ui: Ui, frame: Frame) -> tuple[TableSpec[Any], Pane, Listed]:
    spec = focus_of(ui)
    return spec, ui.pane(spec.key), listed(spec, frame, ui)


def _move(*, rows: int = 0, pages: int = 0) -> Act:
    """A movement of the selection in the focused table; it ends at the first and the last row."""

    def act(ui: Ui, frame: Frame) -> Ui:
        spec, pane, table = _focused(ui, frame)
        if not table.ids:
            return ui
        height = _height(geometry_of(frame, ui), spec_of(ui).tables.index(spec))
        index = table.position(pane) + rows + pages * height
        pane = replace(pane, follow=False)
        return ui.with_pane(spec.key, _select(pane, table, index, height))

    return act


def _other_table(ui: Ui, _frame: Frame) -> Ui:
    tables = [table.key for table in spec_of(ui).tables]
    after = (tables.index(focus_of(ui).key) + 1) % len(tables)
    return ui.at(replace(ui.visit, focus=tables[after]))


def _open(ui: Ui, frame: Frame) -> Ui:
    spec, pane, table = _focused(ui, frame)
    visit = spec.opens(table.rows[table.position(pane)]) if table.rows else None
    return ui if visit is None else enter(ui, visit)


def enter(ui: Ui, visit: Visit) -> Ui:
    """Go to a page; a first page without a filter of its own is as it was left."""
    if visit.subject is None and not visit.panes:
        return _first_page(ui, visit.page)
    return replace(ui, stack=(*ui.stack, visit)[-_MOST_PAGES:])


def _first_page(ui: Ui, name: str) -> Ui:
    kept = {**ui.kept, ui.stack[0].page: ui.stack[0]}
    return replace(ui, stack=(kept.get(name, Visit(page=name)),), kept=kept)


def _jump(ui: Ui, key: str) -> Ui:
    name = next((name for name, digit in FIRST_PAGES.items() if digit == key), None)
    return ui if name is None else _first_page(ui, name)


def _back(ui: Ui, _frame: Frame) -> Ui:
    spec = focus_of(ui)
    pane = ui.pane(spec.key)
    if pane.filter:
        return ui.with_pane(spec.key, replace(pane, filter=""))
    return replace(ui, stack=ui.stack[:-1]) if len(ui.stack) > 1 else ui


def _quit(ui: Ui, _frame: Frame) -> Result:
    if len(ui.stack) > 1:
        return replace(ui, stack=ui.stack[:-1]), ()
    return ui, (Quit(),)


def _start_filter(ui: Ui, _frame: Frame) -> Ui:
    text = ui.pane(focus_of(ui).key).filter
    return replace(ui, editing=Editing(text, text))


def _sort(step: int) -> Act:
    """The column to the left or to the right of the one that is sorted by; around the end."""

    def act(ui: Ui, frame: Frame) -> Ui:
        spec, pane, table = _focused(ui, frame)
        keys = [field.column.key for field in table.fields]
        if pane.sort is None or pane.sort[0] not in keys:
            at = 0 if step > 0 else len(keys) - 1
        else:
            at = (keys.index(pane.sort[0]) + step) % len(keys)
        return _sorted(ui, spec, keys[at], table.fields[at].descends)

    return act


def _sorted(ui: Ui, spec: TableSpec[Any], key: str, descending: bool) -> Ui:
    return ui.with_pane(spec.key, replace(ui.pane(spec.key), sort=(key, descending)))


def _reverse(ui: Ui, frame: Frame) -> Ui:
    spec, pane, table = _focused(ui, frame)
    first = table.fields[0]
    key, descending = pane.sort or (first.column.key, first.descends)
    return _sorted(ui, spec, key, not descending)


def _mark(ui: Ui, frame: Frame) -> Ui:
    """Mark the row or unmark it, and go to the next one, as everywhere."""
    spec, pane, table = _focused(ui, frame)
    if not table.ids:
        return ui
    at = table.position(pane)
    ui = ui.with_pane(spec.key, replace(pane, marks=pane.marks ^ {table.ids[at]}))
    moved = _move(rows=1)(ui, frame)
    return moved if isinstance(moved, Ui) else moved[0]


def _mark_all(ui: Ui, frame: Frame) -> Ui:
    spec, pane, table = _focused(ui, frame)
    return ui.with_pane(spec.key, replace(pane, marks=pane.marks | frozenset(table.ids)))


def _unmark(ui: Ui, frame: Frame) -> Ui:
    spec, pane, _ = _focused(ui, frame)
    return ui.with_pane(spec.key, replace(pane, marks=frozenset()))


def _follow_first(ui: Ui, frame: Frame) -> Ui:
    spec, pane, _ = _focused(ui, frame)
    return ui.with_pane(spec.key, replace(pane, follow=not pane.follow))


def _pace(step: int) -> Act:
    def act(ui: Ui, _frame: Frame) -> Ui | Result:
        now = ui.interval or 1.0
        further = [p for p in PACES if (p > now if step > 0 else p < now)]
        if not further:
            return ui
        interval = further[0] if step > 0 else further[-1]
        return replace(ui, interval=interval), (Pace(interval),)

    return act


def _more(ui: Ui, _frame: Frame) -> Ui:
    """Ten times as many jobs are asked for, within bounds."""
    return ui.at(replace(ui.visit, limit=min(ui.visit.limit * 10, _MOST_JOBS)))


def _copy(ui: Ui, frame: Frame) -> Ui | Result:
    _, pane, table = _focused(ui, frame)
    if not table.ids:
        return ui
    row = table.rows[table.position(pane)]
    text = getattr(row, "copied", None) or row.id[1] or row.id[0]
    return replace(ui, notice=Status("COPY", Tone.INFO, clean(text))), (Copy(text),)


def _ask(name: str) -> Act:
    def act(ui: Ui, frame: Frame) -> Ui:
        from bgtop.view.deeds import ask

        _, pane, table = _focused(ui, frame)
        question = ask(name, ui, frame, table, pane)
        if isinstance(question, Status):
            return replace(ui, notice=question)
        return replace(ui, asking=question)

    return act


_ACTS: Final[Mapping[str, Act]] = {
    "up": _move(rows=-1),
    "down": _move(rows=1),
    "page up": _move(pages=-1),
    "page down": _move(pages=1),
    "first": _move(rows=-_ALL),
    "last": _move(rows=_ALL),
    "open": _open,
    "back": _back,
    "other table": _other_table,
    "go": lambda ui, _: replace(ui, editing=Editing("", what="go")),
    "filter": _start_filter,
    "sort left": _sort(-1),
    "sort right": _sort(1),
    "reverse": _reverse,
    "mark": _mark,
    "mark all": _mark_all,
    "unmark": _unmark,
    "pause": lambda ui, _: replace(ui, paused=not ui.paused),
    "follow": _follow_first,
    "more": _more,
    "slower": _pace(1),
    "faster": _pace(-1),
    "copy": _copy,
    "help": lambda ui, _: replace(ui, help=True, help_top=0),
    "quit": _quit,
    **{command.name: _ask(command.name) for command in COMMANDS if command.verbs},
}


def _read_help(ui: Ui, key: str) -> Ui:
    """Movements scroll the help; any other key closes it."""
    steps = {"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -10, "pgdn": 10, "home": -_ALL}
    if key in steps:
        return replace(ui, help_top=max(0, min(ui.help_top + steps[key], 1000)))
    return replace(ui, help=False)


def _answer(ui: Ui, asking: Asking, key: str) -> Result:
    """Only a y is a yes."""
    if key == "y":
        pane = replace(ui.pane(focus_of(ui).key), marks=frozenset())
        return replace(ui.with_pane(focus_of(ui).key, pane), asking=None), asking.deeds
    if asking.signals and key in SIGNALS:
        deeds = tuple([_by_signal(deed, SIGNALS[key]) for deed in asking.deeds])
        return replace(ui, asking=replace(asking, deeds=deeds)), ()
    return replace(ui, asking=None), ()


def _by_signal(deed: Perform, signal: str) -> Perform:
    action = deed.action
    if isinstance(action, CancelJob):
        action = replace(action, signal=signal)
    return replace(deed, action=action)


def _edit(ui: Ui, editing: Editing, key: str, frame: Frame) -> Result:
    match key:
        case "esc":
            ui = replace(ui, editing=None)
            return follow(_filtered(ui, editing.before) if _is_filter(editing) else ui, frame), ()
        case "enter":
            return _entered(ui, editing, frame)
        case "tab" if not _is_filter(editing):
            from bgtop.view.goto import completed

            text = completed(editing.text, frame)
        case "backspace":
            text = editing.text[:-1]
        case "ctrl+u":
            text = ""
        case _ if len(key) == 1 and key.isprintable() and len(editing.text) < LONGEST_LINE:
            text = editing.text + key
        case _:
            return ui, ()
    ui = replace(ui, editing=replace(editing, text=text))
    if _is_filter(editing) and filter_fault(text, focus_of(ui)) is None:
        # A text that is no filter yet leaves the rows as the last one chose them.
        ui = _filtered(ui, text)
    return follow(ui, frame), ()


def _is_filter(editing: Editing) -> bool:
    return editing.what == "filter"


def _filtered(ui: Ui, text: str) -> Ui:
    key = focus_of(ui).key
    return ui.with_pane(key, replace(ui.pane(key), filter=text))


def _entered(ui: Ui, editing: Editing, frame: Frame) -> Result:
    if _is_filter(editing):
        if filter_fault(editing.text, focus_of(ui)) is not None:
            return ui, ()
        return follow(_filtered(replace(ui, editing=None), editing.text), frame), ()
    from bgtop.view.goto import destination

    ui = replace(ui, editing=None)
    where = destination(editing.text, frame)
    if where == "quit":
        return ui, (Quit(),)
    if where == "help":
        return replace(ui, help=True, help_top=0), ()
    if isinstance(where, Visit):
        return follow(enter(ui, where), frame), ()
    return replace(ui, notice=Status("NOTE", Tone.WARN, where)), ()


def _click(ui: Ui, key: str, frame: Frame) -> Result:
    from bgtop.view.hits import hit_of

    try:
        column, row = map(int, key.split()[1:3])
    except ValueError:
        return ui, ()
    if ui.size is None:
        return ui, ()
    page = page_of(frame, ui, frame.snapshot.taken_at)
    hit = hit_of(page, ui.size, column, row)
    if hit.key:
        return reduce(ui, hit.key, frame)
    if not hit.table or ui.editing is not None:
        return ui, ()
    spec = next(table for table in spec_of(ui).tables if table.key == hit.table)
    ui = ui.at(replace(ui.visit, focus=spec.key))
    pane, table = ui.pane(spec.key), listed(spec, frame, ui)
    if hit.heading:
        descends = {field.column.key: field.descends for field in table.fields}[hit.heading]
        turned = pane.sort is not None and pane.sort[0] == hit.heading
        return follow(_sorted(ui, spec, hit.heading, descends ^ turned), frame), ()
    again = table.ids[hit.row] == pane.selected
    pane = replace(pane, selected=table.ids[hit.row], index=hit.row, follow=False)
    ui = ui.with_pane(spec.key, pane)
    return follow(_open(ui, frame) if again else ui, frame), ()
