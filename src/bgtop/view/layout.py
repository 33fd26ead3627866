"""From a page to the lines of a terminal: every line fits, whatever the page and the size.

The last cell of the last line stays free: writing it would scroll many terminals.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bgtop.contracts import Size
from bgtop.page import Hint, Page, Prompt, Status, Tone
from bgtop.view.geometry import LEAST, Arrangement, Geometry, Parts, geometry
from bgtop.view.overlay import dialog_lines, overlay_lines
from bgtop.view.spans import STYLE_OF, Line, Pen, Span, Style
from bgtop.view.table import beside, table_lines
from bgtop.view.text import width
from bgworker.values import dataclass

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
    divided = division_of(page, size)
    if divided.arrangement is Arrangement.NOWHERE:
        return _too_small(size, pen)
    lines = [_banner(page.banner, size.columns, pen)] if page.banner else []
    lines.append(_title(page, size.columns, pen))
    if page.overlay is not None:
        rows = size.rows - len(lines) - 1
        lines += overlay_lines(page.overlay, Size(size.columns, rows), pen)
    else:
        lines += [_tabs(page, size.columns, pen)] * divided.tabs
        lines += _totals(page, divided.facts, size.columns, pen)
        lines += [()] * divided.gap
        lines += _tables(page, divided, size.columns, pen)
        if page.dialog is not None:
            box = dialog_lines(page.dialog, size.columns, pen)[: len(lines) - divided.top]
            lines[divided.top : divided.top + len(box)] = box
        lines += _statuses(page, divided.statuses, size.columns, pen)
    lines += [()] * (size.rows - 1 - len(lines))
    if page.prompt is None:
        return Screen((*lines, pen.line(_hints(page, size.columns - 1, pen), size.columns - 1)))
    last, column = _prompt(page, page.prompt, size.columns - 1, pen)
    return Screen((*lines, last), cursor=(size.rows - 1, column))


def division_of(page: Page, size: Size) -> Geometry:
    """How the screen is divided for a page."""
    parts = Parts(
        lengths=[table.total for table in page.tables],
        statuses=len(page.statuses),
        facts=[width(fact.label) + 1 + width(fact.value.text) for fact in page.totals],
        roomy=page.roomy,
        banner=page.banner is not None,
        tabs=bool(page.tabs),
    )
    return geometry(size, parts)


def _banner(banner: Status, columns: int, pen: Pen) -> Line:
    style = Style.ALARM if banner.tone is Tone.BAD else Style.HEADING
    text = pen.span(f" {banner.tag}  {banner.text}", style)
    return pen.line([text], columns, fill=style)


def tab_cells(page: Page, columns: int, pen: Pen) -> Iterator[tuple[str, int]]:
    """The keys of the tabs with the cells each takes, as far as whole ones fit."""
    for tab in page.tabs:
        taken = width(pen.text(tab.key)) + width(pen.text(tab.name)) + 3
        columns -= taken
        if columns < 0:
            return
        yield tab.key, taken


def _tabs(page: Page, columns: int, pen: Pen) -> Line:
    """The names of the pages; brackets stand around the one that is shown."""
    spans: list[Span] = []
    for tab, _ in zip(page.tabs, tab_cells(page, columns, pen), strict=False):
        left, right = "[]" if tab.active else "  "
        style = Style.TITLE_STRONG if tab.active else Style.FAINT
        spans.append(pen.span(f"{left}{tab.key} {tab.name}{right}", style))
    return pen.line(spans, columns)


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


def _totals(page: Page, count: int, columns: int, pen: Pen) -> list[Line]:
    """As many facts as fit; half a number would be a wrong number.

    Only a sentence is longer than a line; half of it tells more than nothing.
    """
    lines: list[list[Span]] = [[]]
    taken = 0
    for fact in page.totals:
        label, value = pen.text(f"{fact.label} "), pen.text(fact.value.text)
        cells = width(label) + width(value)
        taken += cells + (2 if lines[-1] else 1)
        if taken > columns and lines[-1]:
            if len(lines) == count:
                break
            lines.append([])
            taken = cells + 1
        blank = "  " if lines[-1] else " "
        lines[-1] += [Span(blank), Span(label, Style.INFO)]
        lines[-1].append(Span(value, STYLE_OF[fact.value.tone]))
    lines += [[]] * (count - len(lines))
    return [pen.line(spans, columns) for spans in lines]


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
        tag = page.prompt.label.partition(" ")[0].upper()
        statuses[-1:] = [Status(tag, Tone.WARN, page.prompt.error)]
    for status in statuses:
        style = STYLE_OF[status.tone]
        tag = Style.ALARM if status.tone is Tone.BAD else style
        text = Style.FAINT if status.tone is Tone.GOOD else style
        spans = [pen.span(f" {status.tag} ", tag), pen.span(f" {status.text}", text)]
        yield pen.line(spans, columns)


def hint_cells(page: Page, columns: int, pen: Pen) -> Iterator[tuple[str, int]]:
    """The keys of the key bar as they are pressed, with the cells each takes."""
    for hint, spans in _hint_spans(page, columns, pen):
        yield pressed_as(hint.key), sum([width(span.text) for span in spans])


_PRESSED: Final = {
    "Enter": "enter",
    "Esc": "esc",
    "Tab": "tab",
    "Space": " ",
    "<>": ">",
    "N": "n",
    "←→": "right",
    "[]": "]",
    "+-": "+",
}
"""The names of the keys that the bar calls otherwise; ``↑↓`` and ``1-6`` are nobody's key."""


def pressed_as(shown: str) -> str:
    """The name of a key that a bar or a question shows."""
    return _PRESSED.get(shown, shown)


def _hint_spans(page: Page, columns: int, pen: Pen) -> Iterator[tuple[Hint, list[Span]]]:
    """The key bar, as far as whole keys fit."""
    for hint in page.hints:
        key, label = pen.text(f" {hint.key}"), pen.text(f"{hint.label:<6}")
        columns -= width(key) + width(label)
        if columns < 0:
            return
        yield hint, [Span(key, Style.KEY), Span(label, Style.HINT)]


def _hints(page: Page, columns: int, pen: Pen) -> Iterator[Span]:
    for _, spans in _hint_spans(page, columns, pen):
        yield from spans


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
