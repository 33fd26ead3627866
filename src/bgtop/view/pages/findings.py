"""What the doctor says: what is wrong, what shows it, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final

from bgtop.model import Finding, Frame, Severity
from bgtop.page import Fact, Tone
from bgtop.state.filters import Facts
from bgtop.state.findings import Case, findings_of
from bgtop.view.facts import text_fact, total_facts
from bgtop.view.fields import Field, column, source_field, system_field, text_field
from bgtop.view.listed import listed
from bgtop.view.specs import PageSpec, TableSpec, first_reading_missing
from bgtop.view.text import clean
from bgtop.view.ui import Ui, Visit
from bgworker.values import replace

_LONGEST: Final = 400
"""Letters of a text that may be longer than the screen is wide."""


_TONES: Final = {Severity.ERROR: Tone.BAD, Severity.WARNING: Tone.WARN, Severity.INFO: Tone.INFO}

FIELDS: Final[tuple[Field[Case], ...]] = (
    text_field(
        column("subject", "ABOUT", 12),
        "what it is about",
        attrgetter("finding.subject"),
        grows=40,
        name=True,
    ),
    text_field(
        column("severity", "HOW BAD", 7, 2),
        "error, warning, info",
        lambda r: r.finding.severity.value,
        tone=lambda r: _TONES[r.finding.severity],
    ),
    source_field(6),
    system_field(5),
    text_field(
        column("words", "FINDING", 20, 1),
        "what is wrong",
        attrgetter("finding.words"),
        grows=100,
    ),
    text_field(
        column("evidence", "EVIDENCE", 10, 4),
        "what shows it",
        attrgetter("finding.evidence"),
        grows=80,
    ),
    text_field(
        column("mend", "WHAT MENDS IT", 14, 3),
        "what to do or to run; y copies it",
        attrgetter("finding.mend"),
        grows=100,
    ),
)

FACTS: Final[Facts[Case]] = {
    "name": lambda row: f"{row.finding.subject} {row.finding.words}",
    "severity": lambda row: row.finding.severity.value,
    "subject": lambda row: row.finding.subject,
    "source": lambda row: row.source.name,
    "system": lambda row: row.source.info.system,
}


def _rows(frame: Frame, _ui: Ui) -> Sequence[Case]:
    if first_reading_missing(frame):
        return ()
    return findings_of((*frame.earlier, frame))


def _empty(frame: Frame, _ui: Ui) -> str:
    return "nothing read yet" if first_reading_missing(frame) else "nothing found to be wrong"


def _open(row: Case) -> Visit | None:
    """The queue or the worker it is about."""
    reading = row.source.reading
    subject = (row.source.key, row.finding.subject)
    if reading and any(queue.name == subject[1] for queue in reading.queues):
        return Visit(page="queue", subject=subject)
    if reading and any(worker.name == subject[1] for worker in reading.workers):
        return Visit(page="worker", subject=subject)
    return None


TABLE: Final = TableSpec(
    key="findings", fields=FIELDS, facts=FACTS, rows=_rows, empty=_empty, opens=_open
)


def _facts(frame: Frame, ui: Ui, _now: datetime) -> Sequence[Fact]:
    """The selected finding as a whole; a row has seldom room for it."""
    table = listed(TABLE, frame, ui)
    if not table.rows:
        return total_facts(frame)
    chosen: Finding = table.rows[table.position(ui.pane(TABLE.key))].finding
    return (
        text_fact(clean(chosen.subject), chosen.words, _TONES[chosen.severity]),
        text_fact("Seen:", clean(chosen.evidence, _LONGEST), Tone.PLAIN),
        text_fact("Mend:", clean(chosen.mend, _LONGEST), Tone.PLAIN),
    )


PAGE: Final = PageSpec(
    name="findings",
    words="what is probably wrong",
    tables=(TABLE,),
    facts=_facts,
    roomy=True,
    interest=lambda _visit, _source, usual: replace(usual, checkup=True),
)
