"""What the user did to the screen: keys change a frozen state and may ask for effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from bgtop.contracts import Size
from bgtop.model import Frame
from bgtop.page import RowId
from bgtop.state.intake import BadPattern, name_filter
from bgtop.state.listing import queues_of, workers_of
from bgtop.view.geometry import first_row, geometry
from bgtop.view.statuses import statuses_of

QUEUES: Final = "queues"
WORKERS: Final = "workers"

_LONGEST_FILTER: Final = 200


@dataclass(frozen=True, slots=True)
class Pane:
    """One table as the user left it.

    The selection holds on to a row's id; ``index`` is where that row was last, and what counts
    when it is gone. ``filter`` is the last text that was a pattern.
    """

    selected: RowId | None = None
    index: int = 0
    top: int = 0
    filter: str = ""


@dataclass(frozen=True, slots=True)
class Editing:
    """A filter being typed, and what to go back to on Esc."""

    text: str
    before: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ui:
    """The state of one screen. Without a ``size`` a page holds every row."""

    size: Size | None = None
    interval: float | None = None
    focus: str = QUEUES
    queues: Pane = Pane()
    workers: Pane = Pane()
    editing: Editing | None = None
    help: bool = False

    def pane(self, key: str) -> Pane:
        """The state of a table by its key."""
        return self.queues if key == QUEUES else self.workers

    def with_pane(self, key: str, pane: Pane) -> Ui:
        """The same with another state of one table."""
        return replace(self, queues=pane) if key == QUEUES else replace(self, workers=pane)


@dataclass(frozen=True, slots=True)
class Quit:
    """The user wants to leave."""


Effect: TypeAlias = Quit
Result: TypeAlias = tuple[Ui, tuple[Effect, ...]]


@dataclass(frozen=True, slots=True)
class Command:
    """One thing keys do outside the filter line: how it is called and what becomes of the state."""

    keys: tuple[str, ...]
    shown: str
    words: str
    act: Callable[[Ui, Frame], Result]


def row_ids(ui: Ui, key: str, frame: Frame) -> tuple[RowId, ...]:
    """The rows of a table in order, after its filter."""
    chosen = name_filter(ui.pane(key).filter)
    listing = queues_of(frame, chosen) if key == QUEUES else workers_of(frame, chosen)
    return tuple((source.key, reading.name) for source, reading in listing.rows)


def position(pane: Pane, ids: Sequence[RowId | None]) -> int:
    """The index of the selected row; where it was last when it is gone; 0 in an empty table."""
    if pane.selected is not None and pane.selected in ids:
        return ids.index(pane.selected)
    return max(0, min(pane.index, len(ids) - 1))


def follow(ui: Ui, frame: Frame) -> Ui:
    """The state after rows came, went or moved: each selection stays with its row."""
    for key in (QUEUES, WORKERS):
        pane = ui.pane(key)
        if pane.selected is None:
            continue
        ids = row_ids(ui, key, frame)
        if ids:
            ui = ui.with_pane(key, _select(pane, ids, position(pane, ids), _height(ui, key, frame)))
    return ui


def _select(pane: Pane, ids: Sequence[RowId], index: int, height: int) -> Pane:
    index = max(0, min(index, len(ids) - 1))
    top = first_row(pane.top, index, len(ids), height)
    return replace(pane, selected=ids[index], index=index, top=top)


def _height(ui: Ui, key: str, frame: Frame) -> int:
    if ui.size is None:
        return 10
    divided = geometry(
        ui.size,
        lengths=(len(row_ids(ui, QUEUES, frame)), len(row_ids(ui, WORKERS, frame))),
        statuses=len(statuses_of(frame, frame.snapshot.taken_at)),
    )
    return max(1, divided.heights[0 if key == QUEUES else 1])


_ALL: Final = 1 << 60
"""More rows than there are: as far as it goes."""


def _move(*, rows: int = 0, pages: int = 0) -> Callable[[Ui, Frame], Result]:
    """A movement of the selection in the focused table; it ends at the first and the last row."""

    def act(ui: Ui, frame: Frame) -> Result:
        ids = row_ids(ui, ui.focus, frame)
        if not ids:
            return ui, ()
        pane = ui.pane(ui.focus)
        height = _height(ui, ui.focus, frame)
        index = position(pane, ids) + rows + pages * height
        return ui.with_pane(ui.focus, _select(pane, ids, index, height)), ()

    return act


def _change(change: Callable[[Ui], Ui], *effects: Effect) -> Callable[[Ui, Frame], Result]:
    """A change that does not depend on what is being watched."""
    return lambda ui, _frame: (change(ui), effects)


def _other_table(ui: Ui) -> Ui:
    return replace(ui, focus=WORKERS if ui.focus == QUEUES else QUEUES)


def _start_filter(ui: Ui) -> Ui:
    text = ui.pane(ui.focus).filter
    return replace(ui, editing=Editing(text=text, before=text))


def _drop_filter(ui: Ui) -> Ui:
    return ui.with_pane(ui.focus, replace(ui.pane(ui.focus), filter=""))


def _open_help(ui: Ui) -> Ui:
    return replace(ui, help=True)


COMMANDS: Final = (
    Command(("up", "k"), "↑ k", "one row up", _move(rows=-1)),
    Command(("down", "j"), "↓ j", "one row down", _move(rows=1)),
    Command(("pgup",), "PgUp", "one page up", _move(pages=-1)),
    Command(("pgdn",), "PgDn", "one page down", _move(pages=1)),
    Command(("home", "g"), "Home g", "first row", _move(rows=-_ALL)),
    Command(("end", "G"), "End G", "last row", _move(rows=_ALL)),
    Command(("tab", "backtab"), "Tab", "the other table", _change(_other_table)),
    Command(("/",), "/", "regex filter; !x: all but x", _change(_start_filter)),
    Command(("esc",), "Esc", "drop the filter", _change(_drop_filter)),
    Command(("?", "f1"), "? F1", "this help", _change(_open_help)),
    Command(("q",), "q", "quit", _change(lambda ui: ui, Quit())),
)

_BY_KEY: Final = {key: command for command in COMMANDS for key in command.keys}


def reduce(ui: Ui, key: str, frame: Frame) -> Result:
    """The state after a key, and what else has to happen. Unknown keys change nothing."""
    if key == "resize":
        return ui, ()
    if ui.help:
        return replace(ui, help=False), ()
    if ui.editing is not None:
        return follow(_edit(ui, ui.editing, key), frame), ()
    command = _BY_KEY.get(key)
    return command.act(ui, frame) if command else (ui, ())


def _edit(ui: Ui, editing: Editing, key: str) -> Ui:
    match key:
        case "esc":
            return _closed(ui, editing.before)
        case "enter":
            return ui if pattern_fault(editing.text) else _closed(ui, editing.text)
        case "backspace":
            return _typed(ui, editing, editing.text[:-1])
        case "ctrl+u":
            return _typed(ui, editing, "")
        case _ if len(key) == 1 and key.isprintable() and len(editing.text) < _LONGEST_FILTER:
            return _typed(ui, editing, editing.text + key)
        case _:
            return ui


def _typed(ui: Ui, editing: Editing, text: str) -> Ui:
    """A text that is no pattern yet leaves the rows as the last pattern chose them."""
    ui = replace(ui, editing=replace(editing, text=text))
    if pattern_fault(text):
        return ui
    return ui.with_pane(ui.focus, replace(ui.pane(ui.focus), filter=text))


def _closed(ui: Ui, text: str) -> Ui:
    ui = replace(ui, editing=None)
    return ui.with_pane(ui.focus, replace(ui.pane(ui.focus), filter=text))


def pattern_fault(text: str) -> str | None:
    """What is wrong with a filter, in words."""
    try:
        name_filter(text)
    except BadPattern as fault:
        return str(fault)
    return None
