"""What is shown beside the tables: the key bar, the help, questions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from bgtop.model import Frame
from bgtop.page import Dialog, Hint, Overlay
from bgtop.view.commands import COMMANDS, Command, bar_key, in_bar
from bgtop.view.listed import Listed
from bgtop.view.specs import PageSpec, TableSpec
from bgtop.view.ui import Asking, Pane, Ui

HELP_HINTS: Final = (Hint("Esc", "Close"), Hint("↑↓", "Move"))
_FILTER_HINTS: Final = (Hint("Enter", "Keep"), Hint("Esc", "Cancel"), Hint("!", "All but"))
_GO_HINTS: Final = (Hint("Enter", "Go"), Hint("Tab", "Complete"), Hint("Esc", "Cancel"))
_YES_OR_NO: Final = (Hint("y", "Yes"), Hint("N", "No"))

SIGNALS: Final = {"t": "SIGTERM", "i": "SIGINT", "k": "SIGKILL"}
"""The keys that choose how a running job is stopped."""

_LANGUAGE: Final = (
    ("mail", "the name contains it; it is a regex"),
    ("a b", "both; a OR b, (a b), !a, NOT a"),
    ("state:dead", "fields: name state worker queue"),
    ("", "task args error source system"),
    ("age>60", "numbers: age depth runtime failed"),
    ('"a b"', "exactly these letters"),
)


def filter_fault(text: str, spec: TableSpec[Any]) -> str | None:
    """What is wrong with a filter, in words."""
    from bgtop.state.filters import filter_of
    from bgtop.state.intake import BadPattern

    try:
        filter_of(text, spec.facts)
    except BadPattern as fault:
        return str(fault)
    return None


def allowed(command: Command, ui: Ui) -> bool:
    """Whether a command exists here: who may only look has no keys that change anything."""
    return not (ui.read_only and command.verbs)


def hints_of(ui: Ui, frame: Frame, spec: PageSpec, table: Listed, pane: Pane) -> tuple[Hint, ...]:
    """The keys that are good for something here, the most useful first."""
    if ui.asking is not None:
        return dialog_of(ui.asking).answers
    if ui.help:
        return HELP_HINTS
    if ui.editing is not None:
        return _GO_HINTS if ui.editing.what == "go" else _FILTER_HINTS
    able: frozenset[str] = frozenset()
    acting = ui.replay is None and not ui.read_only
    if acting and any(source.reading for source in frame.snapshot.sources):
        from bgtop.view.deeds import offered  # nothing is read yet when the screen is there first

        able = offered(ui, frame, table, pane)
    shown = [
        (place, command)
        for command in COMMANDS
        if (place := in_bar(command)) is not None
        and (command.name != "other table" or len(spec.tables) > 1)
        and (command.name != "open" or _leads_on(ui, spec, table, pane))
        and (not command.verbs or command.name in able)
    ]
    shown.sort(key=lambda pair: pair[0])
    hints = [Hint(bar_key(command), command.hint) for _, command in shown]
    if ui.replay is None:
        return tuple(hints)
    from bgtop.view.replay_keys import replay_hints

    return (*hints[:1], *replay_hints(), *hints[1:])


def _leads_on(ui: Ui, spec: PageSpec, table: Listed, pane: Pane) -> bool:
    """Whether there is something to look at inside the selected row."""
    if not table.ids:
        return False
    focus = next((one for one in spec.tables if one.key == ui.visit.focus), spec.tables[0])
    return focus.opens(table.rows[table.position(pane)]) is not None


def help_of(ui: Ui, spec: PageSpec) -> Overlay:
    """What the keys do and what the columns of this page mean."""
    rows = list(_help_rows(ui, spec))
    return Overlay(title="bgtop help", rows=tuple(rows), first=min(ui.help_top, len(rows) - 1))


def _help_rows(ui: Ui, spec: PageSpec) -> Iterator[tuple[str, str]]:
    if ui.replay is not None:
        from bgtop.view.replay_keys import replay_help

        yield from replay_help()
    else:
        yield from [(c.shown, c.words) for c in COMMANDS if allowed(c, ui)]
    for table in spec.tables:
        yield "", ""
        for field in table.fields:
            if field.column.key not in {"source", "system"}:
                yield field.column.title, field.words
    yield "", ""
    yield from _LANGUAGE
    yield "", ""
    yield "–", "this system cannot tell"
    yield "≥", "at least"
    yield "y / N", "answers; capital letters ask first"


def dialog_of(asking: Asking) -> Dialog:
    """The question as a box."""
    if not asking.signals:
        return Dialog(asking.title, asking.lines, _YES_OR_NO)
    chosen = getattr(asking.deeds[0].action, "signal", "")
    answers = tuple(
        [Hint(key, f"[{name}]" if name == chosen else name) for key, name in SIGNALS.items()]
    )
    return Dialog(asking.title, (*asking.lines, f"by {chosen}"), (*_YES_OR_NO, *answers))
