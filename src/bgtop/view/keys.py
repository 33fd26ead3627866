"""Keys change the state of a screen and may ask for effects: a pure function.

What only some keys need is imported by them: the screen is there sooner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from bgtop.actions import CancelJob
from bgtop.model import Frame
from bgtop.page import Status, Tone
from bgtop.view.commands import BY_KEY, COMMANDS
from bgtop.view.dialogs import SIGNALS, allowed, filter_fault
from bgtop.view.listed import listed
from bgtop.view.moves import (
    ALL,
    Act,
    focused,
    follow,
    follow_first,
    mark,
    mark_all,
    move,
    other_table,
    reverse,
    sort,
    sorted_by,
    unmark,
)
from bgtop.view.pages import FIRST_PAGES, focus_of, page_of, spec_of
from bgtop.view.text import clean
from bgtop.view.ui import (
    LONGEST_LINE,
    Asking,
    Copy,
    Editing,
    Pace,
    Perform,
    Quit,
    Result,
    Ui,
    Visit,
)
from bgworker.values import replace

if TYPE_CHECKING:
    from bgtop.view.hits import Hit

_MOST_PAGES: Final = 50
"""Pages one can go into before the first ones are forgotten."""

_MOST_JOBS: Final = 10_000
"""Jobs of each state that may be asked for."""

PACES: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between polls that + and - choose from."""

__all__ = ["enter", "follow", "reduce"]


def reduce(ui: Ui, key: str, frame: Frame) -> Result:
    """The state after a key, and what else has to happen. Unknown keys change nothing."""
    if key == "resize":
        return follow(ui, frame), ()
    if key.startswith("click "):
        return _click(ui, key, frame)
    word, _, place = key.partition(" ")
    if word in _WHEEL:
        ui, key = _under_the_mouse(ui, place, frame), _WHEEL[word]
    ui = replace(ui, notice=None)
    if ui.asking is not None:
        return _answer(ui, ui.asking, key)
    if ui.editing is not None:
        return _edit(ui, ui.editing, key, frame)
    return (_read_help(ui, key), ()) if ui.help else _command(ui, key, frame)


def _command(ui: Ui, key: str, frame: Frame) -> Result:
    command = BY_KEY.get(key)
    if ui.replay is not None:
        from bgtop.view.replay_keys import pressed

        result_here = pressed(ui, ui.replay, key, command)
        if result_here is not None:
            return result_here
    if command is None or not allowed(command, ui):
        return ui, ()
    result = _jump(ui, key) if command.name == "jump" else _ACTS[command.name](ui, frame)
    ui, effects = (result, ()) if isinstance(result, Ui) else result
    return follow(ui, frame), effects


_WHEEL: Final = {"wheelup": "up", "wheeldown": "down"}


def _open(ui: Ui, frame: Frame) -> Ui:
    spec, pane, table = focused(ui, frame)
    visit = spec.opens(table.rows[table.position(pane)]) if table.rows else None
    return ui if visit is None else enter(ui, visit)


def enter(ui: Ui, visit: Visit) -> Ui:
    """Go to a page; a first page without a filter of its own is as it was left."""
    if visit.subject is None and not visit.panes:
        return ui.first_page(visit.page)
    return replace(ui, stack=(*ui.stack, visit)[-_MOST_PAGES:])


def _jump(ui: Ui, key: str) -> Ui:
    name = next((name for name, digit in FIRST_PAGES.items() if digit == key), None)
    return ui if name is None else ui.first_page(name)


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


def _pace(step: int) -> Act:
    def act(ui: Ui, _frame: Frame) -> Ui | Result:
        now = ui.interval or 1.0
        further = [p for p in PACES if (p > now if step > 0 else p < now)]
        if not further:
            return ui
        interval = further[0] if step > 0 else further[-1]
        return replace(ui, interval=interval), (Pace(interval),)

    return act


def _read_now(ui: Ui, _frame: Frame) -> Result:
    """Also sources that are down: a change of pace, if to the same one, ends every wait."""
    told = replace(ui, notice=Status("READ", Tone.INFO, "all sources, now"))
    return told, (Pace(ui.interval or 1.0),)


def _more(ui: Ui, _frame: Frame) -> Ui:
    """Ten times as many jobs are asked for, within bounds."""
    return ui.at(replace(ui.visit, limit=min(ui.visit.limit * 10, _MOST_JOBS)))


def _copy(ui: Ui, frame: Frame) -> Ui | Result:
    _, pane, table = focused(ui, frame)
    if not table.ids:
        return ui
    row = table.rows[table.position(pane)]
    text = getattr(row, "copied", None) or row.id[1] or row.id[0]
    return replace(ui, notice=Status("COPY", Tone.INFO, clean(text))), (Copy(text),)


def _ask(name: str) -> Act:
    def act(ui: Ui, frame: Frame) -> Ui:
        from bgtop.view.questions import ask

        _, pane, table = focused(ui, frame)
        question = ask(name, ui, frame, table, pane)
        if isinstance(question, Status):
            return replace(ui, notice=question)
        return replace(ui, asking=question)

    return act


_ACTS: Final[Mapping[str, Act]] = {
    "up": move(rows=-1),
    "down": move(rows=1),
    "page up": move(pages=-1),
    "page down": move(pages=1),
    "first": move(rows=-ALL),
    "last": move(rows=ALL),
    "open": _open,
    "back": _back,
    "other table": other_table,
    "go": lambda ui, _: replace(ui, editing=Editing("", what="go")),
    "filter": _start_filter,
    "sort left": sort(-1),
    "sort right": sort(1),
    "reverse": reverse,
    "mark": mark,
    "mark all": mark_all,
    "unmark": unmark,
    "pause": lambda ui, _: replace(ui, paused=not ui.paused),
    "follow": follow_first,
    "more": _more,
    "slower": _pace(1),
    "faster": _pace(-1),
    "read now": _read_now,
    "copy": _copy,
    "help": lambda ui, _: replace(ui, help=True, help_top=0),
    "quit": _quit,
    **{command.name: _ask(command.name) for command in COMMANDS if command.verbs},
}


def _read_help(ui: Ui, key: str) -> Ui:
    """Movements scroll the help; any other key closes it."""
    steps = {"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -10, "pgdn": 10, "home": -ALL}
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


def _hit(ui: Ui, place: str, frame: Frame) -> Hit | None:
    """What is at ``COLUMN ROW``."""
    from bgtop.view.hits import hit_of

    try:
        column, row = map(int, place.split()[:2])
    except ValueError:
        return None
    if ui.size is None:
        return None
    return hit_of(page_of(frame, ui, frame.snapshot.taken_at), ui.size, column, row)


def _under_the_mouse(ui: Ui, place: str, frame: Frame) -> Ui:
    """The wheel moves in the table it is turned above, which so gets the keys."""
    if ui.editing is not None or len(spec_of(ui).tables) < 2:
        return ui
    hit = _hit(ui, place, frame)
    return ui.at(replace(ui.visit, focus=hit.table)) if hit is not None and hit.table else ui


def _click(ui: Ui, key: str, frame: Frame) -> Result:
    hit = _hit(ui, key.partition(" ")[2], frame)
    if hit is None:
        return ui, ()
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
        return follow(sorted_by(ui, spec, hit.heading, descends ^ turned), frame), ()
    again = table.ids[hit.row] == pane.selected
    pane = replace(pane, selected=table.ids[hit.row], index=hit.row, follow=False)
    ui = ui.with_pane(spec.key, pane)
    return follow(_open(ui, frame) if again else ui, frame), ()
