"""What a page and a table are made of, as data: a new page is one small file of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bgtop.contracts import Interest
from bgtop.model import BackendInfo, Capability, Frame, Source
from bgtop.page import Fact, Status
from bgtop.view.fields import Field
from bgtop.view.ui import Ui, Visit
from bgworker.values import dataclass

if TYPE_CHECKING:
    from bgtop.state.filters import Facts

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec(Generic[R]):
    """A table: where its rows come from, what is shown of them, and where Enter leads.

    ``rows`` are in the order the table has until somebody sorts it. They follow from the frame,
    the subject of the visit and the size alone. ``limit`` is how many are shown.
    """

    key: str
    fields: tuple[Field[R], ...]
    facts: Facts[R]
    rows: Callable[[Frame, Ui], Sequence[R]]
    empty: Callable[[Frame, Ui], str]
    opens: Callable[[R], Visit | None] = lambda _row: None
    limit: Callable[[Frame], int | None] = lambda _frame: None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSpec:
    """A page; a module of :mod:`bgtop.view.pages` has one.

    ``interest`` says what has to be fetched from a source, given what is configured.
    """

    name: str
    words: str
    tables: tuple[TableSpec[Any], ...]
    facts: Callable[[Frame, Ui, datetime], Sequence[Fact]]
    interest: Callable[[Visit, str, Interest], Interest] = lambda _visit, _source, usual: usual
    roomy: bool = False
    """Whether its facts may take several lines."""
    notes: Callable[[Frame, Ui], Sequence[Status]] = lambda _frame, _ui: ()


def first_reading_missing(frame: Frame) -> bool:
    """Whether no source was read yet."""
    return all(source.reading is None for source in frame.snapshot.sources)


def sources_of(frame: Frame, visit: Visit) -> tuple[Source, ...]:
    """The source a visit is about, or all."""
    if visit.subject is None or not visit.subject[0]:
        return frame.snapshot.sources
    return tuple([s for s in frame.snapshot.sources if s.key == visit.subject[0]])


def cannot(info: BackendInfo, capability: Capability) -> bool:
    """Whether a system can never tell this."""
    return capability not in info.capabilities


def why_nothing(
    sources: Sequence[Source],
    capability: Capability,
    words: str,
    answered: Callable[[Source], bool],
) -> str:
    """Why there are no rows: being read, cannot be told, or really none."""
    if not sources:
        return "the source is gone"
    able = [s for s in sources if s.reading is None or not cannot(s.info, capability)]
    if not able:
        systems = {source.info.system or source.info.broker for source in sources}
        return f"{', '.join(sorted(systems))} cannot tell {words}"
    if all(source.failure is not None and not answered(source) for source in able):
        return "cannot be read at the moment"
    if not all(answered(source) or source.failure is not None for source in able):
        return "reading…"
    return f"no {words}"
