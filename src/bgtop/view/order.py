"""The order of the first table, as somebody wants it before there is a screen."""

from __future__ import annotations

from bgtop.view.lists import BadColumn as BadColumn  # noqa: PLC0414 - raised here
from bgtop.view.pages import spec_of
from bgtop.view.ui import Ui
from bgworker.values import replace


def ordered(ui: Ui, text: str) -> Ui:
    """The screen with its first table sorted by this column; ``!`` before it turns it round.

    Raises :class:`bgtop.view.lists.BadColumn`.
    """
    table = spec_of(ui).tables[0]
    wanted = text.removeprefix("!").lower()
    for field in table.fields:
        if wanted in {field.column.key.lower(), field.column.title.lower()}:
            sort = field.column.key, field.descends ^ text.startswith("!")
            return ui.with_pane(table.key, replace(ui.pane(table.key), sort=sort))
    known = ", ".join(field.column.key for field in table.fields)
    raise BadColumn(f"{text!r} is no column of {table.key}; known: {known}")
