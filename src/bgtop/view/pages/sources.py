"""The sources: how each is, and what looking at it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bgtop.model import Frame
from bgtop.page import Tone
from bgtop.source_url import redacted
from bgtop.state.filters import quoted
from bgtop.state.places import titles_of
from bgtop.state.records import SOURCE_FACTS, SourceRow, source_state
from bgtop.view.facts import total_facts
from bgtop.view.fields import Field, column, count_field, since_field, span_field, text_field
from bgtop.view.pages.overview import QUEUES, WORKERS
from bgtop.view.specs import PageSpec, TableSpec
from bgtop.view.ui import Pane, Ui, Visit

_TONES: Final = {"down": Tone.BAD, "waiting": Tone.INFO, "ok": Tone.GOOD}


def _broker(row: SourceRow) -> str:
    version = row.source.reading.broker_version if row.source.reading else None
    return f"{row.source.info.broker} {version or ''}".rstrip()


def _words(row: SourceRow) -> str | None:
    """Why it cannot be read, else what it warns of."""
    if row.source.failure is not None:
        return row.source.failure.message
    warnings = row.source.reading.warnings if row.source.reading else ()
    return " · ".join(warnings) or None


def _word_tone(row: SourceRow) -> Tone:
    return Tone.BAD if row.source.failure is not None else Tone.WARN


FIELDS: Final[tuple[Field[SourceRow], ...]] = (
    text_field(column("name", "SOURCE", 12), "its name", lambda r: r.title, grows=60, name=True),
    text_field(
        column("state", "STATE", 7),
        "ok, waiting, down",
        lambda r: source_state(r.source),
        tone=lambda r: _TONES[source_state(r.source)],
    ),
    text_field(
        column("system", "SYSTEM", 8, 2), "its job system", lambda r: r.source.info.system, grows=16
    ),
    text_field(column("broker", "BROKER", 8, 3), "where it lives", _broker, grows=24),
    since_field(
        column("age", "AGE", 6, 1),
        "since it was read",
        lambda r: r.source.reading.taken_at if r.source.reading else None,
    ),
    span_field(
        column("ms", "READ", 6, 2), "how long a poll takes", lambda r: r.source.poll_seconds
    ),
    count_field(
        column("trips", "TRIPS", 5, 6),
        "round trips of a poll",
        lambda r: r.source.reading.round_trips if r.source.reading else None,
    ),
    count_field(
        column("commands", "CMDS", 6, 5),
        "commands of a poll",
        lambda r: r.source.reading.commands if r.source.reading else None,
    ),
    count_field(
        column("queues", "QUEUES", 6, 7),
        "queues seen there",
        lambda r: len(r.source.reading.queues) if r.source.reading else None,
    ),
    count_field(
        column("workers", "WORKERS", 7, 8),
        "workers seen there",
        lambda r: len(r.source.reading.workers) if r.source.reading else None,
    ),
    text_field(
        column("words", "ERROR OR WARNING", 16, 4),
        "why it cannot be read, or what it warns of",
        _words,
        tone=_word_tone,
        grows=120,
    ),
    text_field(
        column("url", "URL", 12, 11), "its address", lambda r: redacted(r.source.info.url), grows=60
    ),
)


def _rows(frame: Frame, _ui: Ui) -> Sequence[SourceRow]:
    sources = frame.snapshot.sources
    titles = titles_of(sources)
    return [SourceRow(source, titles.get(source.key, source.name)) for source in sources]


def _open(row: SourceRow) -> Visit:
    """The overview of this source."""
    chosen = f"source:{quoted(row.source.name)}"
    if row.source.info.system is not None:
        chosen += f" system:{quoted(row.source.info.system)}"
    return Visit(panes={key: Pane(filter=chosen) for key in (QUEUES, WORKERS)})


PAGE: Final = PageSpec(
    name="sources",
    words="what is watched, and its cost",
    tables=(
        TableSpec(
            key="sources",
            fields=FIELDS,
            facts=SOURCE_FACTS,
            rows=_rows,
            empty=lambda _frame, _ui: "no sources",
            opens=_open,
        ),
    ),
    facts=lambda frame, _ui, _now: total_facts(frame),
)
