"""From a page to the lines of a terminal: every line fits, whatever the page and the size.

The last cell of the last line stays free: writing it would scroll many terminals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bgtop.contracts import Size
from bgtop.page import Page, Prompt, Status, Tone
from bgtop.view.geometry import LEAST, Arrangement, Geometry, geometry
from bgtop.view.overlay import overlay_lines
from bgtop.view.spans import STYLE_OF, Line, Pen, Span, Style
from bgtop.view.table import beside, table_lines
from bgtop.view.text import width

_LEAST_PROMPT: Final = 24
"""Cells kept for what is being typed before hints are shown beside it."""


@dataclass(frozen=True, slots=True)
class Screen:
    """The lines of a screen from the top, and where the cursor is shown: (row, column)."""

    lines: tuple[Line, ...]
    cursor: tuple[int, int] | None = None


def layout(page: Page, size: Size, *, ascii_letters: bool = False) -> Screen:
    """Exactly ``size.rows`` lines, none longer than the screen is wide."""
    pen = Pen(ascii_letters)
    lengths = [table.total for table in page.tables] + [0, 0]
    divided = geometry(size, lengths=(lengths[0], lengths[1]), statuses=len(page.statuses))
    if divided.arrangement is Arrangement.NOWHERE:
        return _too_small(size, pen)
    lines = [_title(page, size.columns, pen)]
    if page.overlay is not None:
        lines += overlay_lines(page.overlay, Size(size.columns, size.rows - 2), pen)
    else:
        lines.append(_totals(page, size.columns, pen))
        lines += [()] * divided.gap
        lines += _tables(page, divided, size.columns, pen)
        lines += _statuses(page, divided.statuses, size.columns, pen)
    lines += [()] * (size.rows - 1 - len(lines))
    if page.prompt is None:
        return Screen((*lines, pen.line(_hints(page, size.columns - 1, pen), size.columns - 1)))
    last, column = _prompt(page, page.prompt, size.columns - 1, pen)
    return Screen((*lines, last), cursor=(size.rows - 1, column))


def _too_small(size: Size, pen: Pen) -> Screen:
    words = (
        "terminal too small",
        f"{size.columns}x{size.rows}, needs {LEAST.columns}x{LEAST.rows}",
    )
    lines: list[Line] = [()] * size.rows
    for row, text in enumerate(words[: size.rows]):
        columns = size.columns if row < size.rows - 1 else size.columns - 1
        lines[row] = pen.line([pen.span(text, Style.WARN)], columns)
    return Screen(tuple(lines))


def _title(page: Page, columns: int, pen: Pen) -> Line:
    corner = pen.text(f"  {page.corner} ")
    room = columns - width(corner)
    spans = [Span(" ", Style.TITLE)]
    for cell in page.title:
        style = Style.TITLE_STRONG if cell.tone is Tone.STRONG else Style.TITLE
        spans += [pen.span(cell.text, style), Span("  ", Style.TITLE)]
    left = pen.line(spans, room, fill=Style.TITLE)
    return pen.line([*left, Span(corner, Style.TITLE)], columns)


def _totals(page: Page, columns: int, pen: Pen) -> Line:
    """As many facts as fit; half a number would be a wrong number."""
    spans: list[Span] = []
    taken = 0
    for fact in page.totals:
        label, value = pen.text(f"{fact.label} "), pen.text(fact.value.text)
        blank = "  " if spans else " "
        taken += width(blank) + width(label) + width(value)
        if taken > columns:
            break
        spans += [Span(blank), Span(label, Style.INFO), Span(value, STYLE_OF[fact.value.tone])]
    return pen.line(spans, columns)


def _tables(page: Page, divided: Geometry, columns: int, pen: Pen) -> Iterator[Line]:
    tables = page.tables
    if divided.arrangement is Arrangement.BESIDE and len(tables) == 2:
        yield from beside(tables[0], tables[1], divided.heights[0], columns, pen)
        return
    if divided.arrangement is not Arrangement.STACKED:
        tables = tuple([table for table in tables if table.focused][:1]) or tables[:1]
    for table, height in zip(tables, divided.heights, strict=False):
        yield from table_lines(table, height, columns, pen)


def _statuses(page: Page, count: int, columns: int, pen: Pen) -> Iterator[Line]:
    statuses = list(page.statuses[:count])
    missing = len(page.statuses) - len(statuses)
    if missing:
        last = statuses[-1]
        statuses[-1] = Status(last.tag, last.tone, f"(+{missing} more) {last.text}")
    if statuses and page.prompt is not None and page.prompt.error:
        statuses[-1:] = [Status("FILTER", Tone.WARN, page.prompt.error)]
    for status in statuses:
        style = STYLE_OF[status.tone]
        tag = Style.ALARM if status.tone is Tone.BAD else style
        text = Style.FAINT if status.tone is Tone.GOOD else style
        spans = [pen.span(f" {status.tag} ", tag), pen.span(f" {status.text}", text)]
        yield pen.line(spans, columns)


def _hints(page: Page, columns: int, pen: Pen) -> Iterator[Span]:
    """The key bar, as far as whole keys fit."""
    for hint in page.hints:
        key, label = pen.text(f" {hint.key}"), pen.text(f"{hint.label:<6}")
        columns -= width(key) + width(label)
        if columns < 0:
            return
        yield Span(key, Style.KEY)
        yield Span(label, Style.HINT)


def _prompt(page: Page, prompt: Prompt, columns: int, pen: Pen) -> tuple[Line, int]:
    """The line being typed and the column of its cursor; of a long text the end is shown."""
    label = pen.text(f" {prompt.label}: ")
    hints = list(_hints(page, columns - width(label) - _LEAST_PROMPT, pen))
    free = columns - width(label) - sum([width(hint.text) for hint in hints])
    text = pen.text(prompt.text)
    while text and width(text) > free - 2:
        text = text[1:]
    typed = pen.field(text, max(free, 0), Style.STRONG)
    line = pen.line([Span(label, Style.INFO), typed, *hints], columns)
    return line, max(0, min(width(label) + width(text), columns - 1))
