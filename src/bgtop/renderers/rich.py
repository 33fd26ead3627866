"""The live screen drawn by Rich: its tables, its progress bars, its ways with colours.

Every text is a ``Text`` in one style: nothing is read as markup, as emoji or as a link. The parts
of the screen are where every other renderer has them, so that a click finds what is under it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.color import Color, ColorSystem
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.style import Style as RichStyle
from rich.table import Table as RichTable
from rich.text import Text

from bgtop.contracts import Look, RendererPlugin, Size
from bgtop.renderers.terminal import Terminal
from bgtop.view.hits import Box, boxes_of, is_covered
from bgtop.view.layout import Screen, layout
from bgtop.view.spans import STYLE_OF, Pen, Style
from bgtop.view.table import MARGIN, Place, placed
from bgtop.view.text import bar
from bgtop.view.themes import Paint, paints_of

if TYPE_CHECKING:
    from bgtop.page import Cell, Page, Row

_SYSTEMS: Final = {
    "standard": (ColorSystem.STANDARD, 16),
    "256": (ColorSystem.EIGHT_BIT, 256),
    "truecolor": (ColorSystem.TRUECOLOR, 256),
}
"""How Rich calls what a terminal can do, and the colours our themes may use there."""

_FULL, _EMPTY = bar(1, 1), bar(0, 1)

Strip = list[Segment]


class RichRenderer:
    """A terminal in our hands; Rich makes the lines, and those that differ are written."""

    def __init__(self, look: Look) -> None:
        self._terminal = Terminal(look)
        try:
            self._prepare(look)
        except BaseException:
            self.close()
            raise

    def _prepare(self, look: Look) -> None:
        self._pen = Pen(look.ascii)
        # Rich would take the size from the environment, and not from the terminal.
        environ = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES"}}
        self._console = Console(force_terminal=True, markup=False, emoji=False, _environ=environ)
        self._system, colors = _SYSTEMS.get(self._console.color_system or "", _SYSTEMS["standard"])
        self._styles = {style: rich_style(p) for style, p in paints_of(look, colors).items()}
        self._drawn: dict[int, Strip] = {}
        self._cursor: tuple[int, int] | None = None

    @property
    def size(self) -> Size:
        """The size the next page is drawn for."""
        return self._terminal.size

    def draw(self, page: Page, /) -> None:
        """Write the lines that differ from those on the screen."""
        screen = layout(page, self.size, ascii_letters=self._pen.ascii)
        written = []
        for row, strip in enumerate(self._strips(page, screen)):
            before = self._drawn.get(row)
            if before != strip:
                self._drawn[row] = strip
                column, changed, erase = _difference(before, strip)
                end = "\x1b[K" if erase else ""
                written.append(f"\x1b[{row + 1};{column + 1}H{self._encoded(changed)}{end}")
        if screen.cursor != self._cursor or (written and screen.cursor is not None):
            self._cursor = screen.cursor
            written.append(_cursor_at(screen.cursor))
        if written:
            self._terminal.write("".join(written).encode(errors="replace"))

    def _encoded(self, strip: Strip) -> str:
        """The line as this terminal understands it, ending in its own colours."""
        return "".join(
            [
                style.render(text, color_system=self._system) if style else text
                for text, style, _ in strip
            ]
        )

    def _strips(self, page: Page, screen: Screen) -> list[Strip]:
        strips = [
            [Segment(text, self._styles[style]) for text, style in line] for line in screen.lines
        ]
        for box in () if is_covered(page) else boxes_of(page, self.size):
            rows = self._console.render_lines(
                self._table(box), self._console.options.update(width=box.columns), pad=False
            )
            for row, strip in enumerate(rows[: len(box.table.rows)], start=box.top + 1):
                strips[row] = self._spliced(strips[row], box, strip)
        return strips

    def _spliced(self, strip: Strip, box: Box, inner: Strip) -> Strip:
        """The line with this in the cells of the table."""
        end = box.left + box.columns
        whole = Segment.adjust_line_length(strip, self.size.columns)
        before, _, after = Segment.divide(whole, [box.left, end, self.size.columns])
        style = inner[-1].style if inner else None
        return [*before, *Segment.adjust_line_length(inner, box.columns, style=style), *after]

    def _table(self, box: Box) -> RichTable:
        """The rows of a table; its heading is a line like others."""
        shown = placed(box.table, box.columns - MARGIN)
        table = RichTable.grid(padding=0)
        for width in (1, *(place.gap + place.columns for place in shown)):
            table.add_column(width=width, no_wrap=True, overflow="crop")
        for offset, row in enumerate(box.table.rows[: box.height]):
            selected = box.table.focused and box.table.selected == box.table.first + offset
            table.add_row(*self._row(row, shown, selected=selected))
        return table

    def _row(
        self, row: Row, shown: tuple[Place, ...], *, selected: bool
    ) -> Iterator[RenderableType]:
        style = Style.SELECTED if selected else Style.KEY if row.marked else Style.PLAIN
        yield Text("*" if row.marked else " ", self._styles[style], end="")
        for place in shown:
            cell = row.cells[place.cell]
            if _is_bar(cell, place) and not selected and not self._pen.ascii:
                yield self._bar(cell, place)
            else:
                yield self._field(cell, place, selected=selected)

    def _field(self, cell: Cell, place: Place, *, selected: bool) -> Text:
        style = self._styles[Style.SELECTED if selected else STYLE_OF[cell.tone]]
        field = place.field(cell.text, self._pen)
        return Text(" " * place.gap + field.text, style, end="")

    def _bar(self, cell: Cell, place: Place) -> Padding:
        style = self._styles[STYLE_OF[cell.tone]]
        made = ProgressBar(
            total=place.columns,
            completed=cell.text.count(_FULL),
            width=place.columns,
            style=self._styles[Style.FAINT],
            complete_style=style,
            finished_style=style,
        )
        return Padding(made, (0, 0, 0, place.gap))

    def next_key(self, timeout: float, /) -> str | None:
        """The next key by name, or ``None`` after ``timeout`` seconds or a wake."""
        key = self._terminal.next_key(timeout)
        if key == "resize":
            self._drawn = {}
            self._cursor = None
        return key

    def wake(self) -> None:
        """Make a waiting :meth:`next_key` return at once."""
        self._terminal.wake()

    def close(self) -> None:
        """Give the terminal back exactly as it was."""
        self._terminal.close()


def rich_style(paint: Paint) -> RichStyle:
    """A paint in the words of Rich, which Textual understands too."""
    return RichStyle(
        color=None if paint.letters is None else Color.from_ansi(paint.letters),
        bgcolor=None if paint.ground is None else Color.from_ansi(paint.ground),
        bold=paint.bold or None,
        dim=paint.dim or None,
        reverse=paint.reverse or None,
        underline=paint.underline or None,
    )


def _difference(before: Strip | None, after: Strip) -> tuple[int, Strip, bool]:
    """From which cell a line differs, what stands there now, and whether that is its end."""
    if before is None:
        return 0, after, True
    pairs = list(zip(before, after, strict=False))
    first = next((at for at, (old, new) in enumerate(pairs) if old != new), len(pairs))
    column = sum([segment.cell_length for segment in after[:first]])
    if [segment.cell_length for segment in before] != [segment.cell_length for segment in after]:
        return column, after[first:], True
    last = max(at for at, (old, new) in enumerate(pairs) if old != new)
    return column, after[first : last + 1], False


def _is_bar(cell: Cell, place: Place) -> bool:
    """Whether a text is a bar of full and empty blocks, over its whole place."""
    return len(cell.text) == place.columns and not set(cell.text) - {_FULL, _EMPTY}


def _cursor_at(cursor: tuple[int, int] | None) -> str:
    if cursor is None:
        return "\x1b[?25l"
    return f"\x1b[{cursor[0] + 1};{cursor[1] + 1}H\x1b[?25h"


plugin = RendererPlugin(
    name="rich",
    summary="the live screen with the tables and bars of Rich",
    open=RichRenderer,
    requires="pip install 'bgtop[rich]'",
)
