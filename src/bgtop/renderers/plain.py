"""The page as plain text: for pipes, logs, ``watch`` and terminals that cannot do more."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from threading import Event
from typing import TYPE_CHECKING, Final

from bgtop.contracts import Look, RendererPlugin, Size
from bgtop.view.spans import Pen
from bgtop.view.text import width

if TYPE_CHECKING:
    from bgtop.page import Page, Table

_TAGS: Final = {"ALERT": "alert", "DOWN": "down", "WAIT": "waiting", "WARN": "warning"}


def text_of(page: Page, *, ascii_letters: bool = False) -> str:
    """A line of totals, the tables, then what is wrong; every line ends with a line feed."""
    pen = Pen(ascii_letters)
    lines = ["  ".join([pen.text(f"{fact.label} {fact.value.text}") for fact in page.totals])]
    for table in page.tables:
        lines += ["", *_table(table, pen)]
    told = [page.banner, *page.statuses] if page.banner else page.statuses
    faults = [status for status in told if status.tag in _TAGS]
    if faults:
        lines += ["", *(pen.text(f"{_TAGS[fault.tag]}: {fault.text}") for fault in faults)]
    return "".join([f"{line}\n" for line in lines])


def _table(table: Table, pen: Pen) -> Iterator[str]:
    titles = [column.title for column in table.columns]
    rows = [titles, *([pen.text(cell.text) for cell in row.cells] for row in table.rows)]
    widths = [max(map(width, texts)) for texts in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            pen.field(text, cells, right=column.right).text
            for text, cells, column in zip(row, widths, table.columns, strict=True)
        ]
        yield "  ".join(cells).rstrip()
    if not table.rows:
        yield pen.text(f"({table.empty})")


class PlainRenderer:
    """Writes each page below the last one; knows no keys."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._awake = Event()

    @property
    def size(self) -> Size:
        """The terminal's size, or that of a usual one."""
        try:
            columns, rows = os.get_terminal_size()
        except (OSError, ValueError):
            columns, rows = 80, 24
        return Size(columns, rows)

    def draw(self, page: Page, /) -> None:
        """Write the page to standard output."""
        sys.stdout.write(text_of(page, ascii_letters=self._look.ascii))
        sys.stdout.flush()

    def next_key(self, timeout: float, /) -> str | None:
        """Wait; there are no keys."""
        self._awake.wait(timeout)
        self._awake.clear()
        return None

    def wake(self) -> None:
        """End a wait at once."""
        self._awake.set()

    def close(self) -> None:
        """Nothing to give back."""


plugin = RendererPlugin(
    name="plain", summary="plain text, for pipes and simple terminals", open=PlainRenderer
)
