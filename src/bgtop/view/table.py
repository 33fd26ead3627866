"""Tables as lines: which columns fit, how wide they get, two tables side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Final, NamedTuple

from bgtop.page import Cell, Column, Row, Table
from bgtop.view.spans import STYLE_OF, Line, Pen, Span, Style
from bgtop.view.text import fit, width

_WIDEST_GAP: Final = 3

MARGIN: Final = 2
"""A blank on either side of a table."""

LUXURY: Final = 11
"""The rank from which a column is left out rather than a name cut short."""

_VITAL: Final = 2
"""The rank up to which a column of one table goes before more columns of the other."""

_NAME_CELLS: Final = 40

_KEPT_LINES: Final = 256
"""Lines of rows that are kept: from one picture to the next most rows say the same."""

_RIGHT_SHARE: Final = 0.42
"""The share of the screen the right table may take when both want more than there is."""


class Place(NamedTuple):
    """A column that is shown: the number of its cell, how wide, and the blanks before it."""

    cell: int
    columns: int
    gap: int
    right: bool
    tail: int = 0
    """How many cells of the end of a text are kept when it is cut."""

    def field(self, text: str, pen: Pen, style: Style = Style.PLAIN) -> Span:
        """A cell of this column."""
        return pen.field(text, self.columns, style, right=self.right, tail=self.tail)


class _Edge(NamedTuple):
    """Where a line ends: after so many cells, and how it is filled up to there, if at all."""

    columns: int
    fill: Style | None


def places(columns: Sequence[Column], room: int) -> tuple[Place, ...]:
    """The columns that fit into ``room`` cells; what is left over widens them, then the gaps."""
    shown = list(range(len(columns)))
    while shown[1:] and _taken(_comfortable([columns[i] for i in shown])) > room:
        last = max(shown, key=lambda i: columns[i].rank)
        if columns[last].rank < LUXURY:
            break
        shown.remove(last)
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


def placed(table: Table, room: int) -> tuple[Place, ...]:
    """The columns that fit, with names cut where that tells the rows apart."""
    shown = places(table.columns, room)
    return tuple(
        [
            place._replace(tail=_tail_of(table, place)) if table.columns[place.cell].name else place
            for place in shown
        ]
    )


def _tail_of(table: Table, place: Place) -> int:
    """How much of the ends of names has to be kept so that most of them can be told apart."""
    names = [row.cells[place.cell].text for row in table.rows]
    return _tail_of_names((*names, *table.columns[place.cell].among), place.columns)


@lru_cache(maxsize=8)
def _tail_of_names(names: tuple[str, ...], columns: int) -> int:
    if all(width(name) <= columns for name in names):
        return 0
    room = columns - 1
    told = {
        tail: len({fit(name, columns, tail=tail) for name in names})
        for tail in (0, room * 2 // 3, room)
    }
    return max(told, key=lambda tail: told[tail])


def _comfortable(columns: Sequence[Column]) -> list[int]:
    """Cells with which the names can be told apart."""
    name, *others = columns
    return [max(name.least, min(name.most, _NAME_CELLS)), *(column.least for column in others)]


def _taken(widths: Sequence[int]) -> int:
    return sum(widths) + len(widths) - 1


def table_lines(
    table: Table, height: int, columns: int, pen: Pen, fill: Style | None = None
) -> Iterator[Line]:
    """The heading and exactly ``height`` rows, blank where the table has no more.

    With ``fill`` each line is as long as the table is wide.
    """
    shown = placed(table, columns - MARGIN)
    yield _heading(table, shown, columns, pen)
    rows, edge = table.rows[:height], _Edge(columns, fill)
    for offset, row in enumerate(rows):
        selected = table.focused and table.selected == table.first + offset
        yield _row(row, shown, edge, pen, selected=selected)
    blank = height - len(rows)
    if not rows and blank:
        yield pen.line([pen.span(f" {table.empty}", Style.FAINT)], columns, fill)
        blank -= 1
    yield from repeat(pen.line((), columns, fill), blank)


def _heading(table: Table, shown: Sequence[Place], columns: int, pen: Pen) -> Line:
    style = Style.HEADING if table.focused else Style.HEADING_AWAY
    spans = [Span(" ", style)]
    for place in shown:
        title = table.columns[place.cell].title
        if place.cell == 0 and table.note:
            title = f"{title} {table.note}"
        if table.sort is not None and table.sort[0] == table.columns[place.cell].key:
            title = _with_arrow(title, place, descending=table.sort[1])
        # An arrow may stand in the gap before a narrow column.
        spill = min(place.gap, max(0, len(title) - place.columns)) if place.right else 0
        spans.append(Span(" " * (place.gap - spill), style))
        spans.append(pen.field(title, place.columns + spill, style, right=place.right))
    return pen.line(spans, columns, fill=style)


def _with_arrow(title: str, place: Place, *, descending: bool) -> str:
    arrow = "↓" if descending else "↑"
    if place.right:
        return arrow + title
    word, blank, rest = title.partition(" ")
    return f"{word}{arrow}{blank}{rest}"


def _row(row: Row, shown: tuple[Place, ...], edge: _Edge, pen: Pen, *, selected: bool) -> Line:
    cells = tuple([row.cells[place.cell] for place in shown])
    style = Style.SELECTED if selected else Style.KEY if row.marked else Style.PLAIN
    if selected:
        edge = _Edge(edge.columns, Style.SELECTED)
    return _row_line(Span("*" if row.marked else " ", style), cells, shown, edge, pen)


@lru_cache(maxsize=_KEPT_LINES)
def _row_line(
    mark: Span, cells: tuple[Cell, ...], shown: tuple[Place, ...], edge: _Edge, pen: Pen
) -> Line:
    selected = mark.style is Style.SELECTED
    spans = [mark]
    for place, (text, tone) in zip(shown, cells, strict=True):
        style = Style.SELECTED if selected else STYLE_OF[tone]
        if place.gap:
            spans.append(Span(" " * place.gap, style))
        spans.append(place.field(text, pen, style))
    return pen.line(spans, edge.columns, edge.fill)


def shares(left: Table, right: Table, columns: int) -> tuple[int, int]:
    """How two tables and the line between them divide a width."""
    free = columns - 1
    # Beyond what it needs the right one takes no cells without which names on the left are cut.
    share = min(int(columns * _RIGHT_SHARE), free - _readable(left))
    share = max(_needed(right), share, free - _wanted(left))
    most = max(_vital(right), free - _vital(left))
    if share > most:
        # The left table would tell less than the right one, which does without some columns.
        kept = places(right.columns, most - MARGIN)
        share = _taken([right.columns[place.cell].least for place in kept]) + MARGIN
    right_columns = min(_wanted(right), share, free)
    return free - right_columns, right_columns


def beside(left: Table, right: Table, height: int, columns: int, pen: Pen) -> Iterator[Line]:
    """Two tables of one height with a thin line between them."""
    left_columns, right_columns = shares(left, right, columns)
    rule = pen.span("│", Style.FAINT)
    for one, other in zip(
        table_lines(left, height, left_columns, pen, fill=Style.PLAIN),
        table_lines(right, height, right_columns, pen),
        strict=True,
    ):
        yield (*one, rule, *other)


def _wanted(table: Table) -> int:
    """Cells with which a table shows everything."""
    return _taken([column.most for column in table.columns]) + MARGIN


def _needed(table: Table) -> int:
    """Cells with which a table shows every column but the luxuries, if not every letter."""
    return _taken([column.least for column in _useful(table)]) + MARGIN


def _vital(table: Table) -> int:
    """The same with the columns that come first."""
    return _taken([column.least for column in table.columns if column.rank <= _VITAL]) + MARGIN


def _readable(table: Table) -> int:
    """The same with names that can be told apart."""
    return _taken(_comfortable(_useful(table))) + MARGIN


def _useful(table: Table) -> list[Column]:
    return [column for column in table.columns if column.rank < LUXURY]
