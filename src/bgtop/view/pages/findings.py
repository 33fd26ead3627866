"""What is probably wrong, with the evidence and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from bgtop.model import Frame, Source
from bgtop.page import RowId, Tone
from bgtop.state.filters import Facts
from bgtop.view.facts import total_facts
from bgtop.view.fields import Field, column, source_field, system_field, text_field
from bgtop.view.specs import PageSpec, TableSpec, first_reading_missing
from bgtop.view.ui import Ui, Visit


class FindingRow(NamedTuple):
    """One finding: how bad, about what, and the words of the doctor."""

    source: Source
    severity: str
    subject: str
    words: str
    mend: str = ""
    queue: str | None = None

    @property
    def id(self) -> RowId:
        """What a selection holds on to."""
        return self.source.key, f"{self.subject}\0{self.words}"


def findings_of(frame: Frame) -> Sequence[FindingRow]:
    """What the doctor says of this frame."""
    return [
        FindingRow(source, "warning", "source", warning)
        for source in frame.snapshot.sources
        for warning in (source.reading.warnings if source.reading else ())
    ]


_TONES: Final = {"error": Tone.BAD, "warning": Tone.WARN}

FIELDS: Final[tuple[Field[FindingRow], ...]] = (
    text_field(column("subject", "ABOUT", 12), "what it is about", lambda r: r.subject, grows=40),
    text_field(
        column("severity", "HOW BAD", 7, 2),
        "error, warning",
        lambda r: r.severity,
        tone=lambda r: _TONES.get(r.severity, Tone.PLAIN),
    ),
    source_field(5),
    system_field(4),
    text_field(
        column("words", "FINDING", 20, 1),
        "what is wrong, and the evidence",
        lambda r: r.words,
        grows=160,
    ),
    text_field(
        column("mend", "WHAT MENDS IT", 14, 3),
        "what to do or to run",
        lambda r: r.mend or None,
        grows=100,
        needed=lambda _, rows: any(row.mend for row in rows),
    ),
)

FACTS: Final[Facts[FindingRow]] = {
    "name": lambda row: f"{row.subject} {row.words}",
    "severity": lambda row: row.severity,
    "subject": lambda row: row.subject,
    "source": lambda row: row.source.name,
    "system": lambda row: row.source.info.system,
}


def _rows(frame: Frame, _ui: Ui) -> Sequence[FindingRow]:
    return findings_of(frame)


def _empty(frame: Frame, _ui: Ui) -> str:
    return "nothing read yet" if first_reading_missing(frame) else "nothing found to be wrong"


def _open(row: FindingRow) -> Visit | None:
    """The queue it is about."""
    return None if row.queue is None else Visit(page="queue", subject=(row.source.key, row.queue))


PAGE: Final = PageSpec(
    name="findings",
    words="what is probably wrong",
    digit="6",
    tables=(
        TableSpec(
            key="findings", fields=FIELDS, facts=FACTS, rows=_rows, empty=_empty, opens=_open
        ),
    ),
    facts=lambda frame, _ui, _now: total_facts(frame),
)
