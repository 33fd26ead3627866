"""Styled texts, and the pen that cuts them to a width."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

from bgtop.page import Tone
from bgtop.view.text import ascii_only, clean, fit, width
from bgworker.values import dataclass


class Style(str, Enum):
    """How a text looks: a tone, or its part in the frame around the tables."""

    PLAIN = "plain"
    FAINT = "faint"
    STRONG = "strong"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    INFO = "info"
    TITLE = "title"
    TITLE_STRONG = "title strong"
    HEADING = "heading"
    HEADING_AWAY = "heading away"
    """The heading of a table without the focus."""
    SELECTED = "selected"
    ALARM = "alarm"
    KEY = "key"
    HINT = "hint"


STYLE_OF: Final = {tone: Style(tone.value) for tone in Tone}


class Span(NamedTuple):
    """A text in one style."""

    text: str
    style: Style = Style.PLAIN


Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Pen:
    """Writes spans in the letters the terminal has."""

    ascii: bool = False

    def text(self, text: str) -> str:
        """The text in harmless letters of this terminal."""
        if not text.isprintable():
            text = clean(text)
        return ascii_only(text) if self.ascii else text

    def span(self, text: str, style: Style = Style.PLAIN) -> Span:
        """A span as long as its text."""
        return Span(self.text(text), style)

    def field(
        self,
        text: str,
        columns: int,
        style: Style = Style.PLAIN,
        *,
        right: bool = False,
        tail: int = 0,
    ) -> Span:
        """A span of exactly this many cells."""
        text = fit(self.text(text), columns, right=right, mark=self.mark, tail=tail)
        return Span(text, style)

    @property
    def mark(self) -> str:
        """The sign where a text was cut."""
        return "~" if self.ascii else "…"

    def line(self, spans: Iterable[Span], columns: int, fill: Style | None = None) -> Line:
        """The spans cut to so many cells; ``fill`` pads the rest in a style that shows."""
        kept = list(spans)
        # Measured as one: nearly every line fits, and has a dozen spans.
        left = columns - width("".join([text for text, _ in kept]))
        if left < 0:
            kept = self._cut(kept, columns)
        elif fill is not None and left > 0:
            kept.append(Span(" " * left, fill))
        return _joined(kept)

    def _cut(self, spans: Iterable[Span], columns: int) -> list[Span]:
        """The spans up to the one that does not fit, and its beginning."""
        kept: list[Span] = []
        for text, style in spans:
            taken = width(text)
            if taken > columns:
                return [*kept, Span(fit(text, columns, mark=self.mark), style)]
            kept.append(Span(text, style))
            columns -= taken
        return kept


def _joined(spans: Iterable[Span]) -> Line:
    """Neighbours of one style as one span: fewer calls for whoever draws them."""
    joined: list[Span] = []
    texts: list[str] = []
    last: Style | None = None
    for text, style in spans:
        if style is last:
            texts.append(text)
        elif text:
            if last is not None:
                joined.append(Span("".join(texts), last))
            texts, last = [text], style
    if last is not None:
        joined.append(Span("".join(texts), last))
    return tuple(joined)
