"""How a column is described: its place on the screen, its meaning, its cells, and its order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, Generic, NamedTuple, TypeVar

from bgtop.model import Frame
from bgtop.page import Cell, Column, Tone
from bgtop.view.table import LUXURY
from bgtop.view.text import (
    ESTIMATE,
    UNKNOWN,
    age,
    clean,
    duration,
    number,
    rate,
    seconds_since,
    size,
    width,
)
from bgworker.values import dataclass, replace

R = TypeVar("R")


class Scene(NamedTuple):
    """What cells may look at beside their row."""

    frame: Frame
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Field(Generic[R]):
    """A column, what it means in words, the cell it gives a row, and what it is sorted by.

    ``value`` is ``None`` where it is unknown; ``needed`` says whether these rows need the column.
    ``grows`` is how many cells a long text may widen the column to. A ``chart`` is for screens.
    """

    column: Column
    words: str
    cell: Callable[[R, Scene], Cell]
    value: Callable[[R], Any]
    needed: Callable[[Frame, Sequence[R]], bool] | None = None
    grows: int = 0
    descends: bool = True
    """Whether the largest come first when the column is chosen."""
    chart: bool = False
    spare: Callable[[Frame], bool] | None = None
    """Whether another column tells the same here, so that this one goes before a name is cut."""

    told: bool = False
    """Whether a page about one thing says it in its title, for all its rows."""
    among: Callable[[Frame], tuple[str, ...]] | None = None
    """What it has to be told apart from, also where no row shows it."""

    def ranked(self, frame: Frame) -> Field[R]:
        """The same, with the rank it has in this frame."""
        if self.among is not None:
            return replace(self, column=replace(self.column, among=self.among(frame)))
        if self.spare is None or not self.spare(frame):
            return self
        return replace(self, column=replace(self.column, rank=LUXURY))

    def fitted(self, rows: Sequence[R], least: int = 0) -> Field[R]:
        """The same, as wide as its texts want it."""
        if not self.grows:
            return self
        texts = [text for text in map(self.value, rows) if isinstance(text, str)]
        plain = "".join(texts).isascii()
        wide = map(len, texts) if plain else (width(clean(text)) for text in texts)
        longest = max(wide, default=0)
        most = max(self.column.least, min(max(longest, least), self.grows))
        return replace(self, column=replace(self.column, most=most))


def column(key: str, title: str, cells: int, rank: int = 0, *, right: bool = True) -> Column:
    """A column of one width."""
    return Column(key=key, title=title, least=cells, most=cells, rank=rank, right=right)


def faint_if(dull: bool, text: str) -> Cell:
    """A cell that steps back when there is nothing to see."""
    return Cell(text, Tone.FAINT if dull else Tone.PLAIN)


def words_cell(text: str | None, tone: Tone = Tone.PLAIN) -> Cell:
    """A text of the watched system, made harmless."""
    return Cell(UNKNOWN, Tone.FAINT) if text is None else Cell(clean(text), tone)


def text_field(
    place: Column,
    words: str,
    value: Callable[[R], str | None],
    *,
    tone: Callable[[R], Tone] = lambda _row: Tone.PLAIN,
    grows: int = 0,
    needed: Callable[[Frame, Sequence[R]], bool] | None = None,
    spare: Callable[[Frame], bool] | None = None,
    name: bool = False,
) -> Field[R]:
    """A column of words, which begin at the left."""
    return Field(
        column=replace(place, right=False, name=name),
        words=words,
        cell=lambda row, _scene: words_cell(value(row), tone(row)),
        value=value,
        grows=grows,
        needed=needed,
        spare=spare,
        descends=False,
    )


def count_field(
    place: Column,
    words: str,
    value: Callable[[R], int | None],
    *,
    tone: Tone = Tone.PLAIN,
    needed: Callable[[Frame, Sequence[R]], bool] | None = None,
) -> Field[R]:
    """A column of numbers; ``tone`` is for those above zero."""

    def cell(row: R, _scene: Scene) -> Cell:
        known = value(row)
        return Cell(number(known), tone if known else Tone.FAINT)

    return Field(column=place, words=words, cell=cell, value=value, needed=needed)


def rate_field(
    place: Column,
    words: str,
    value: Callable[[R], float | None],
    *,
    needed: Callable[[Frame, Sequence[R]], bool] | None = None,
    is_estimate: Callable[[R], bool] = lambda _: False,
) -> Field[R]:
    """A column of events per second."""

    def cell(row: R, _scene: Scene) -> Cell:
        known = value(row)
        sign = ESTIMATE if known is not None and is_estimate(row) else ""
        return faint_if(not known, sign + rate(known))

    return Field(column=place, words=words, cell=cell, value=value, needed=needed)


def span_field(
    place: Column,
    words: str,
    value: Callable[[R], float | None],
    *,
    tone: Tone = Tone.PLAIN,
    is_estimate: Callable[[R], bool] = lambda _: False,
) -> Field[R]:
    """A column of time spans, to two digits or so."""

    def cell(row: R, _scene: Scene) -> Cell:
        known = value(row)
        text = duration(known)
        if known is not None and is_estimate(row):
            # What would not fit is no part of an estimate: ``~10h`` of ``10h05m``.
            text = ESTIMATE + (text[:-3] if len(text) > 5 else text)
        return Cell(text, Tone.FAINT if known is None else tone)

    return Field(column=place, words=words, cell=cell, value=value)


def since_field(place: Column, words: str, value: Callable[[R], datetime | None]) -> Field[R]:
    """A column of seconds since a moment; sorted, the latest moment comes first."""

    def cell(row: R, scene: Scene) -> Cell:
        text = age(seconds_since(value(row), scene.now))
        return faint_if(text == UNKNOWN, text)

    return Field(column=place, words=words, cell=cell, value=value)


def bytes_field(
    place: Column,
    words: str,
    value: Callable[[R], int | None],
    *,
    needed: Callable[[Frame, Sequence[R]], bool] | None = None,
) -> Field[R]:
    """A column of sizes of memory."""

    def cell(row: R, _scene: Scene) -> Cell:
        text = size(value(row))
        return faint_if(text == UNKNOWN, text)

    return Field(column=place, words=words, cell=cell, value=value, needed=needed)


def any_known(value: Callable[[R], Any]) -> Callable[[Frame, Sequence[R]], bool]:
    """A column is needed when some row has something to say in it."""
    return lambda _frame, rows: any(value(row) is not None for row in rows)


def system_of(source: Any) -> str:
    """The name of its job system, made harmless."""
    return UNKNOWN if source.info.system is None else clean(source.info.system)


def _several_sources(frame: Frame, _rows: Sequence[Any]) -> bool:
    return len({source.name for source in frame.snapshot.sources}) > 1


def _source_names(frame: Frame) -> tuple[str, ...]:
    return tuple([clean(source.name) for source in frame.snapshot.sources])


def _several_systems(frame: Frame, _rows: Sequence[Any]) -> bool:
    return len({source.info.system for source in frame.snapshot.sources}) > 1


def _is_told_by_source(frame: Frame) -> bool:
    names = [source.name for source in frame.snapshot.sources]
    return len({*names}) == len(names)


_WIDEST_SOURCE: Final = 24


def source_field(rank: int) -> Field[Any]:
    """The column that only sources at several places need."""
    field = text_field(
        column("source", "SOURCE", 8, rank),
        "where it lives",
        lambda row: str(row.source.name),
        grows=_WIDEST_SOURCE,
        needed=_several_sources,
        name=True,
    )
    return replace(field, told=True, among=_source_names)


def system_field(rank: int) -> Field[Any]:
    """The column that only several job systems need."""
    field = text_field(
        column("system", "SYSTEM", 6, rank),
        "its job system",
        lambda row: row.source.info.system,
        grows=_WIDEST_SOURCE,
        needed=_several_systems,
        spare=_is_told_by_source,
    )
    return replace(field, told=True)
