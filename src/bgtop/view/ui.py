"""What the user did to the screen, as frozen values; keys change them in :mod:`bgtop.view.keys`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeAlias

from bgtop.actions import Action
from bgtop.contracts import Size
from bgtop.page import RowId, Status
from bgworker.values import dataclass, field, replace

OVERVIEW: Final = "overview"

LONGEST_LINE: Final = 500
"""Letters one can type."""


@dataclass(frozen=True, slots=True)
class Pane:
    """One table as the user left it.

    The selection holds on to a row's id; ``index`` is where that row was last, and what counts
    when it is gone. ``filter`` is the last text that was one. ``sort`` is the key of a column and
    whether the largest come first; ``None`` is the order of the page. ``follow`` keeps the
    selection at the first row, whichever that is.
    """

    selected: RowId | None = None
    index: int = 0
    top: int = 0
    filter: str = ""
    sort: tuple[str, bool] | None = None
    marks: frozenset[RowId] = frozenset()
    follow: bool = False


_FRESH: Final = Pane()


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A page, what it is about if it is about one thing, and its tables as the user left them.

    An empty ``focus`` is the first table. ``limit`` is how many jobs of each state are listed.
    """

    page: str = OVERVIEW
    subject: RowId | None = None
    focus: str = ""
    limit: int = 100
    panes: Mapping[str, Pane] = field(default_factory=dict)

    def pane(self, key: str) -> Pane:
        """The state of a table by its key."""
        return self.panes.get(key, _FRESH)

    def with_pane(self, key: str, pane: Pane) -> Visit:
        """The same with another state of one table."""
        return replace(self, panes={**self.panes, key: pane})


@dataclass(frozen=True, slots=True)
class Editing:
    """A line being typed, and what to go back to on Esc. ``what`` is ``filter`` or ``go``."""

    text: str
    before: str = ""
    what: str = "filter"


@dataclass(frozen=True, slots=True)
class Perform:
    """Carry this out at the source with this key."""

    source: str
    action: Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A question before something is done: what it says, and what follows a yes.

    ``signals`` are offered for jobs that are stopped while they run.
    """

    title: str
    lines: tuple[str, ...]
    deeds: tuple[Perform, ...]
    signals: bool = False


@dataclass(frozen=True, slots=True)
class Replay:
    """Which moment of a recording is shown, of what it holds, and how fast it is played.

    The moments are in the zone they are to be told in.
    """

    at: datetime
    begin: datetime
    end: datetime
    speed: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ui:
    """The state of one screen. Without a ``size`` a page holds every row.

    ``stack`` is the way here: the page to go back to is before the last. ``kept`` are the first
    pages as they were left, by their names.
    """

    size: Size | None = None
    interval: float | None = None
    stack: tuple[Visit, ...] = (Visit(),)
    kept: Mapping[str, Visit] = field(default_factory=dict)
    editing: Editing | None = None
    asking: Asking | None = None
    help: bool = False
    help_top: int = 0
    paused: bool = False
    read_only: bool = False
    detail: bool = False
    """Whether each source has a status line of its own, as ``--verbose`` asks for."""
    drawing_seconds: float = 0.0
    """How long the last picture took to be written, where the terminal keeps us waiting."""
    replay: Replay | None = None
    """Where a recording is shown instead of sources."""
    notice: Status | None = None
    """What the last key or action came to; the next key takes it away."""

    @property
    def visit(self) -> Visit:
        """The page that is shown."""
        return self.stack[-1]

    def at(self, visit: Visit) -> Ui:
        """The same with this in place of the page that is shown."""
        return replace(self, stack=(*self.stack[:-1], visit))

    def pane(self, key: str) -> Pane:
        """The state of a table of the page that is shown."""
        return self.visit.pane(key)

    def with_pane(self, key: str, pane: Pane) -> Ui:
        """The same with another state of one table."""
        return self.at(self.visit.with_pane(key, pane))

    def first_page(self, name: str) -> Ui:
        """The same at one of the first pages, as it was left."""
        kept = {**self.kept, self.stack[0].page: self.stack[0]}
        return replace(self, stack=(kept.get(name, Visit(page=name)),), kept=kept)


@dataclass(frozen=True, slots=True)
class Quit:
    """The user wants to leave."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Poll so often from now on, and once at once, whatever a source was waiting for."""

    interval: float


@dataclass(frozen=True, slots=True)
class Copy:
    """Put this text where the terminal's user can paste it."""

    text: str


@dataclass(frozen=True, slots=True)
class Seek:
    """Show another moment of the recording: so many seconds on, or back."""

    seconds: float


Effect: TypeAlias = Quit | Pace | Copy | Perform | Seek
Result: TypeAlias = tuple[Ui, tuple[Effect, ...]]
