"""The live screen as an application of Textual, in a thread of its own with a loop of its own.

The thread that opened the renderer owns the terminal: it reads keys and answers signals, for
which Textual would need the main thread, and hands pages over. Textual lays out and draws. Every
text is a Rich ``Text`` in one style: nothing is read as markup.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from threading import Event, Thread
from typing import TYPE_CHECKING, ClassVar, Final

from rich.segment import Segment
from rich.style import Style as RichStyle
from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.coordinate import Coordinate
from textual.driver import Driver
from textual.filter import NoColor
from textual.geometry import Region
from textual.geometry import Size as Area
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import DataTable

from bgtop.contracts import Look, RendererPlugin, Size
from bgtop.renderers.rich import rich_style
from bgtop.renderers.terminal import Terminal
from bgtop.view.hits import Box, boxes_of, is_covered
from bgtop.view.layout import Screen, layout
from bgtop.view.spans import STYLE_OF, Pen, Style
from bgtop.view.table import MARGIN, Place, placed
from bgtop.view.themes import paints_of

if TYPE_CHECKING:
    from bgtop.page import Page, Row

_PATIENCE: Final = 10.0
"""Seconds in which Textual has to start or to end."""

_PAINTED: Final = 1.0
"""Seconds a page is waited for before the loop goes on: keys must not wait for a slow line."""

_POINTER: Final = "\x1b]22;"
_MOST_TABLES: Final = 2
_COLORS: Final = {"256": 256, "truecolor": 256}

Fields = tuple[tuple[Text, ...], ...]


class TextualRenderer:
    """A terminal in our hands, and the application that draws on it."""

    def __init__(self, look: Look) -> None:
        self._terminal = Terminal(look)
        self._app = PageApp(look, self._terminal)
        self._thread = Thread(target=self._run, name="bgtop-textual", daemon=True)
        self._fault: BaseException | None = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        self._thread.start()
        if not self._app.ready.wait(_PATIENCE) or self._fault is not None:
            raise RuntimeError("Textual did not start") from self._fault

    def _run(self) -> None:
        size = self._terminal.size
        try:
            asyncio.run(self._app.run_async(mouse=False, size=(size.columns, size.rows)))
        except BaseException as fault:  # noqa: BLE001 - it is raised where pages are drawn
            self._fault = fault
        finally:
            self._app.ready.set()

    @property
    def size(self) -> Size:
        """The size the next page is drawn for."""
        return self._terminal.size

    def draw(self, page: Page, /) -> None:
        """Hand the page over and wait until it is painted; Textual writes what differs."""
        if not self._thread.is_alive():
            raise RuntimeError("Textual has ended") from self._fault
        self._app.painted.clear()
        self._app.call_from_thread(self._app.show, page, self.size)
        self._app.painted.wait(_PAINTED)

    def next_key(self, timeout: float, /) -> str | None:
        """The next key by name, or ``None`` after ``timeout`` seconds or a wake."""
        key = self._terminal.next_key(timeout)
        if key == "resize" and self._thread.is_alive():
            self._app.call_from_thread(
                self._app.begin_anew, Area(self.size.columns, self.size.rows)
            )
        return key

    def wake(self) -> None:
        """Make a waiting :meth:`next_key` return at once."""
        self._terminal.wake()

    def close(self) -> None:
        """Give the terminal back exactly as it was."""
        if self._thread.is_alive():
            # It may end by itself in this very moment.
            with contextlib.suppress(RuntimeError):
                self._app.call_from_thread(self._app.exit)
            self._thread.join(_PATIENCE)
        self._terminal.close()


class _Output(Driver):
    """Where Textual writes; everything else of a terminal is done by :class:`Terminal`."""

    def write(self, data: str) -> None:
        """Write data, but for orders about the form of a mouse pointer, which is not ours."""
        app = self._app
        if isinstance(app, PageApp) and not data.startswith(_POINTER):
            app.terminal.write(data.encode(errors="replace"))

    def start_application_mode(self) -> None:
        """It is started."""

    def disable_input(self) -> None:
        """There is none."""

    def stop_application_mode(self) -> None:
        """Done when the terminal is given back."""


class _Lines(Widget):
    """Lines as they are; those that differ are drawn."""

    def __init__(self) -> None:
        super().__init__()
        self._strips: list[Strip] = []

    def put(self, strips: list[Strip]) -> None:
        """Show these from now on."""
        before, self._strips = self._strips, strips
        if len(before) != len(strips):
            self.refresh()
            return
        for row, (old, new) in enumerate(zip(before, strips, strict=True)):
            if old != new:
                self.refresh(Region(0, row, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """One of them, over the whole width."""
        strip = self._strips[y] if y < len(self._strips) else Strip([])
        return strip.adjust_cell_length(self.size.width)


class PageApp(App[None]):
    """One page: all its lines, and over them its tables, in the same cells."""

    CSS: ClassVar[str] = """
    Screen { layers: lines tables; overflow: hidden; background: ansi_default; }
    _Lines { layer: lines; width: 100%; height: 100%; background: ansi_default; }
    DataTable {
        layer: tables; position: absolute; background: ansi_default; overflow: hidden;
        scrollbar-size: 0 0;
    }
    """
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False

    def __init__(self, look: Look, terminal: Terminal) -> None:
        super().__init__(driver_class=_Output, ansi_color=True)
        if not look.color:
            self._filters.append(NoColor())
        self.terminal = terminal
        self.ready = Event()
        self.painted = Event()
        self._pen = Pen(look.ascii)
        colors = _COLORS.get(self.console.color_system or "", 16)
        paints = paints_of(look, colors)
        self._paints: dict[Style, RichStyle] = {s: rich_style(p) for s, p in paints.items()}
        self._shown: dict[int, tuple[tuple[int, ...], Fields]] = {}

    def compose(self) -> ComposeResult:
        """The lines, and as many tables as a page can have on one screen."""
        yield _Lines()
        for number in range(_MOST_TABLES):
            table: DataTable[Text] = DataTable(
                id=f"table-{number}", show_header=False, show_cursor=False, cell_padding=0
            )
            table.can_focus = False
            table.display = False
            yield table

    def on_mount(self) -> None:
        """Pages can be shown from now on."""
        self.ready.set()

    def begin_anew(self, area: Area) -> None:
        """The screen was cleared, and may have another size."""
        self.post_message(events.Resize(area, area))
        self.screen.refresh(layout=True)

    def show(self, page: Page, size: Size) -> None:
        """Show this page, drawn for this size."""
        screen = layout(page, size, ascii_letters=self._pen.ascii)
        with self.batch_update():
            self.query_one(_Lines).put(self._strips(screen))
            boxes = [] if is_covered(page) else [*boxes_of(page, size)]
            for number in range(_MOST_TABLES):
                table = self.query_one(f"#table-{number}", DataTable)
                box = boxes[number] if number < len(boxes) else None
                table.display = box is not None and bool(box.table.rows) and box.height > 0
                if table.display and box is not None:
                    self._fill(number, table, box)
        self.call_after_refresh(self.painted.set)

    def _strips(self, screen: Screen) -> list[Strip]:
        rows = [[Segment(text, self._paints[style]) for text, style in x] for x in screen.lines]
        if screen.cursor is not None:
            # The terminal's own cursor is hidden by Textual: ours is a cell in reverse video.
            row, column = screen.cursor
            before, at, after = Segment.divide(
                Segment.adjust_line_length(rows[row], self.size.width),
                [column, column + 1, self.size.width],
            )
            reverse = RichStyle(reverse=True)
            rows[row] = [*before, *Segment.apply_style(at, post_style=reverse), *after]
        return [Strip(row) for row in rows]

    def _fill(self, number: int, table: DataTable[Text], box: Box) -> None:
        """Put the rows into a table, changing the cells that differ."""
        shown = placed(box.table, box.columns - MARGIN)
        widths = (1, *[place.gap + place.columns for place in shown])
        widths = (*widths, max(1, box.columns - sum(widths)))
        fields = tuple(
            [self._row(box, at, shown) for at in range(len(box.table.rows[: box.height]))]
        )
        shape = (box.left, box.top, box.columns, *widths)
        before = self._shown.get(number)
        self._shown[number] = shape, fields
        if before is None or before[0] != shape or len(before[1]) != len(fields):
            table.styles.offset = (box.left, box.top + 1)
            table.styles.width, table.styles.height = box.columns, len(fields)
            table.clear(columns=True)
            for cells in widths:
                table.add_column("", width=cells)
            for row in fields:
                table.add_row(*row)
            return
        for at, (old, new) in enumerate(zip(before[1], fields, strict=True)):
            for column, text in enumerate(new):
                if old[column] != text or old[column].style != text.style:
                    table.update_cell_at(Coordinate(at, column), text)

    def _row(self, box: Box, at: int, shown: tuple[Place, ...]) -> tuple[Text, ...]:
        row = box.table.rows[at]
        selected = box.table.focused and box.table.selected == box.table.first + at
        first = Style.SELECTED if selected else Style.KEY if row.marked else Style.PLAIN
        last = Style.SELECTED if selected else Style.PLAIN
        return (
            self._text("*" if row.marked else " ", first),
            *self._fields(row, shown, selected=selected),
            self._text(" " * box.columns, last),
        )

    def _fields(self, row: Row, shown: tuple[Place, ...], *, selected: bool) -> Iterator[Text]:
        for place in shown:
            cell = row.cells[place.cell]
            style = Style.SELECTED if selected else STYLE_OF[cell.tone]
            field = place.field(cell.text, self._pen)
            yield self._text(" " * place.gap + field.text, style)

    def _text(self, words: str, style: Style) -> Text:
        return Text(words, self._paints[style], no_wrap=True, end="", overflow="crop")


plugin = RendererPlugin(
    name="textual",
    summary="the live screen as an application of Textual",
    open=TextualRenderer,
    requires="pip install 'bgtop[textual]'",
)
