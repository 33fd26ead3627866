"""Tables as lines: which columns fit, how wide they get, two tables side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from bgtop.page import Column, Row, Table
from bgtop.view.spans import STYLE_OF, Line, Pen, Span, Style

_WIDEST_GAP: Final = 3

_MARGINS: Final = 2
"""A blank on either side of a table."""

_RIGHT_SHARE: Final = 0.42
"""The share of the screen the right table may take when both want more than there is."""


class Place(NamedTuple):
    """A column that is shown: the number of its cell, how wide, and the blanks before it."""

    cell: int
    columns: int
    gap: int
    right: bool


def places(columns: Sequence[Column], room: int) -> tuple[Place, ...]:
    """The columns that fit into ``room`` cells; what is left over widens them, then the gaps."""
    shown = list(range(len(columns)))
    while len(shown) > 1 and _taken([columns[i].least for i in shown]) > room:
        last = max(shown, key=lambda i: columns[i].rank)
        if columns[last].rank == 0:
            break
        shown.remove(last)
    widths = {i: columns[i].least for i in shown}
    spare = max(0, room - _taken(list(widths.values())))
    # Who wants little first: a source shown whole is worth more than the tail of a long name.
    for i in sorted(shown, key=lambda i: columns[i].most - columns[i].least):
        more = min(spare, columns[i].most - columns[i].least)
        widths[i] += more
        spare -= more
    gap = 1
    if len(shown) > 1:
        gap = min(_WIDEST_GAP, 1 + spare // (len(shown) - 1))
    return tuple(
        [
            Place(i, widths[i], gap if number else 0, columns[i].right)
            for number, i in enumerate(shown)
        ]
    )


def _taken(widths: Sequence[int]) -> int:
    return sum(widths) + len(widths) - 1


def table_lines(table: Table, height: int, columns: int, pen: Pen) -> Iterator[Line]:
    """The heading and exactly ``height`` rows, blank where the table has no more."""
    shown = places(table.columns, columns - _MARGINS)
    yield _heading(table, shown, columns, pen)
    rows = table.rows[:height]
    for offset, row in enumerate(rows):
        selected = table.focused and table.selected == table.first + offset
        yield _row(row, shown, columns, pen, selected=selected)
    blank = height - len(rows)
    if not rows and blank:
        yield pen.line([pen.span(f" {table.empty}", Style.FAINT)], columns)
        blank -= 1
    for _ in range(blank):
        yield ()


def _heading(table: Table, shown: Sequence[Place], columns: int, pen: Pen) -> Line:
    style = Style.HEADING if table.focused else Style.HEADING_AWAY
    spans = [Span(" ", style)]
    for place in shown:
        title = table.columns[place.cell].title
        if place.cell == 0 and table.note:
            title = f"{title} {table.note}"
        spans.append(Span(" " * place.gap, style))
        spans.append(pen.field(title, place.columns, style, right=place.right))
    return pen.line(spans, columns, fill=style)


def _row(row: Row, shown: Sequence[Place], columns: int, pen: Pen, *, selected: bool) -> Line:
    spans = [Span(" ", Style.SELECTED if selected else Style.PLAIN)]
    for place in shown:
        text, tone = row.cells[place.cell]
        style = Style.SELECTED if selected else STYLE_OF[tone]
        if place.gap:
            spans.append(Span(" " * place.gap, style))
        spans.append(pen.field(text, place.columns, style, right=place.right))
    return pen.line(spans, columns, fill=Style.SELECTED if selected else None)


def beside(left: Table, right: Table, height: int, columns: int, pen: Pen) -> Iterator[Line]:
    """Two tables of one height with a thin line between them."""
    free = columns - 1
    share = max(_needed(right), int(columns * _RIGHT_SHARE), free - _wanted(left))
    right_columns = min(_wanted(right), share, free)
    left_columns = free - right_columns
    rule = pen.span("│", Style.FAINT)
    for one, other in zip(
        table_lines(left, height, left_columns, pen),
        table_lines(right, height, right_columns, pen),
        strict=True,
    ):
        yield pen.line([*pen.line(one, left_columns, fill=Style.PLAIN), rule, *other], columns)


def _wanted(table: Table) -> int:
    """Cells with which a table shows everything."""
    return _taken([column.most for column in table.columns]) + _MARGINS


def _needed(table: Table) -> int:
    """Cells with which a table shows every column, if not every letter."""
    return _taken([column.least for column in table.columns]) + _MARGINS
