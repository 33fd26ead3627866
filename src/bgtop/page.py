"""A page: everything one screen shows, as data that any renderer can draw.

Texts are meant for people and already harmless: no control characters, whatever the watched
system calls its queues. Positions, sizes and colours are the renderer's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from bgworker.values import dataclass

RowId = tuple[str, str]
"""(source, name): what a selection holds on to while rows come, go and move."""


class Tone(str, Enum):
    """What a text means. Never the only carrier of a meaning: the words say it too."""

    PLAIN = "plain"
    FAINT = "faint"
    """Zero, unknown or stale."""
    STRONG = "strong"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    INFO = "info"


class Cell(NamedTuple):
    """One field of a row; a tuple, because a page has hundreds of them."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How a column is headed and how wide it may be, in cells of the screen.

    A column gets between ``least`` and ``most``. When a table does not fit, the column with the
    highest ``rank`` goes first; rank 0 always stays. A ``name`` that is too long may be cut in its
    middle, where only the ends tell the rows apart, and those ``among`` which they are found.
    """

    key: str
    title: str
    least: int
    most: int
    rank: int = 0
    right: bool = True
    name: bool = False
    among: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One queue, worker or job; ``stale`` when its source cannot be read at the moment.

    ``cells`` may be made when they are looked at: few screens have room for all columns.
    """

    id: RowId
    cells: Sequence[Cell]
    stale: bool = False
    marked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A part of a longer list: ``rows`` are those from ``first`` on, of ``total``.

    ``selected`` is an index into the whole list; ``empty`` says in words why there are no rows.
    ``sort`` is the key of the column the rows are ordered by, and whether the largest come first.
    """

    key: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...] = ()
    first: int = 0
    total: int = 0
    selected: int | None = None
    focused: bool = False
    note: str = ""
    empty: str = ""
    sort: tuple[str, bool] | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """A number of the totals line and what it counts."""

    label: str
    value: Cell


@dataclass(frozen=True, slots=True)
class Status:
    """One line about the sources: a word such as ``DOWN``, what it means, and the text."""

    tag: str
    tone: Tone
    text: str


@dataclass(frozen=True, slots=True)
class Hint:
    """A key and what it does, for the key bar."""

    key: str
    label: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The line being typed; ``error`` says what is wrong with it."""

    label: str
    text: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Overlay:
    """A box above the tables: pairs of a term and its explanation; an empty pair is a gap."""

    title: str
    rows: tuple[tuple[str, str], ...]
    first: int = 0
    """How far it was scrolled."""


@dataclass(frozen=True, slots=True)
class Tab:
    """A page one key away: that key, its name, and whether it is the one shown."""

    key: str
    name: str
    active: bool = False


@dataclass(frozen=True, slots=True)
class Dialog:
    """A question in a box above the tables: what is asked, and the keys that answer it."""

    title: str
    lines: tuple[str, ...]
    answers: tuple[Hint, ...]
    tone: Tone = Tone.WARN


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One screen. ``banner`` is a line above all others: an alert, or that time stands still.

    A ``roomy`` page may take several lines for its totals.
    """

    title: tuple[Cell, ...]
    corner: str = ""
    tabs: tuple[Tab, ...] = ()
    banner: Status | None = None
    totals: tuple[Fact, ...] = ()
    roomy: bool = False
    tables: tuple[Table, ...] = ()
    statuses: tuple[Status, ...] = ()
    hints: tuple[Hint, ...] = ()
    prompt: Prompt | None = None
    overlay: Overlay | None = None
    dialog: Dialog | None = None
