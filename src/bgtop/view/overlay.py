"""The box above the tables as lines: terms and what they mean, in two columns if need be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from bgtop.contracts import Size
from bgtop.page import Dialog, Overlay, Tone
from bgtop.view.spans import Line, Pen, Span, Style
from bgtop.view.text import width

_TWO_COLUMNS_FROM: Final = 76

Pair: TypeAlias = tuple[str, str]

_GAP: Final[Pair] = ("", "")


def overlay_lines(overlay: Overlay, size: Size, pen: Pen) -> list[Line]:
    """Exactly ``size.rows`` lines; what does not fit is said to be missing."""
    heading = pen.span(f" {overlay.title}", Style.HEADING)
    lines = [pen.line([heading], size.columns, fill=Style.HEADING)]
    height = size.rows - 1
    beside = len(overlay.rows) > height and size.columns >= _TWO_COLUMNS_FROM
    columns = size.columns // 2 if beside else size.columns
    blocks = _blocks(list(overlay.rows)[overlay.first :], height, 2 if beside else 1)
    term = max([width(pen.text(key)) for key, _ in overlay.rows], default=0)
    for index in range(height):
        spans: list[Span] = []
        for block in blocks:
            key, words = block[index] if index < len(block) else _GAP
            part = [pen.field(f"  {key}", term + 4, Style.KEY), pen.span(words)]
            spans += pen.line(part, columns, fill=Style.PLAIN)
        lines.append(pen.line(spans, size.columns))
    return lines


def dialog_lines(dialog: Dialog, columns: int, pen: Pen) -> list[Line]:
    """A question over the whole width: what is asked, and below it how to answer."""
    style = Style.ALARM if dialog.tone is Tone.BAD else Style.HEADING
    lines = [pen.line([pen.span(f" {dialog.title}", style)], columns, fill=style)]
    lines += [
        pen.line([pen.span(f"   {text}", Style.WARN)], columns, fill=Style.PLAIN)
        for text in dialog.lines
    ]
    answers: list[Span] = [Span("  ")]
    for _, spans in _answers(dialog, pen):
        answers += spans
    lines += [(), pen.line(answers, columns, fill=Style.PLAIN)]
    lines.append(pen.line([pen.span("─" * columns, Style.FAINT)], columns))
    return lines


def answer_at(dialog: Dialog, column: int, line: int, pen: Pen) -> str:
    """The answer at this cell of the question's lines, by its key; none where there is none."""
    if line != len(dialog.lines) + 2 or column < 2:
        return ""
    end = 2
    for key, spans in _answers(dialog, pen):
        end += sum([width(span.text) for span in spans])
        if column < end:
            return key
    return ""


def _answers(dialog: Dialog, pen: Pen) -> Iterator[tuple[str, tuple[Span, Span]]]:
    for hint in dialog.answers:
        yield hint.key, (pen.span(f" {hint.key}", Style.KEY), pen.span(f" {hint.label} "))


def _blocks(rows: list[Pair], height: int, most: int) -> list[list[Pair]]:
    """The rows in blocks of a height, no block beginning with a gap."""
    blocks: list[list[Pair]] = []
    while rows and len(blocks) < most:
        if rows[0] == _GAP:
            rows = rows[1:]
        blocks.append(rows[:height])
        rows = rows[height:]
    if rows and height:
        blocks[-1][-1] = ("", "more below: j, PgDn")
    return blocks
