"""One job, whole: everything its system keeps of it, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from bgtop.model import Frame, JobReading, Source
from bgtop.page import Fact, Tone
from bgtop.state.filters import Facts
from bgtop.state.records import JobRow, runtime_of
from bgtop.view.facts import text_fact
from bgtop.view.fields import Field, column, text_field
from bgtop.view.job_columns import JOB, JOB_TONES, why_no_jobs
from bgtop.view.specs import PageSpec, TableSpec, sources_of
from bgtop.view.subjects import interest_in, job_of, whole_job
from bgtop.view.text import age, clean, duration, seconds_since, width
from bgtop.view.ui import Ui, Visit

if TYPE_CHECKING:
    from bgtop.page import RowId

DETAILS: Final = "details"

_LONGEST_TEXT: Final = 20_000
_MOST_LINES: Final = 500
_FEWEST_CELLS: Final = 16
_BESIDE_TEXT: Final = 18
"""Cells of a line that are not text: the name of the field, the gap and the margins."""


class LineRow(NamedTuple):
    """A line about a job; ``link`` is the id of the job it names."""

    source: Source
    at: int
    label: str
    text: str
    link: str | None = None
    tone: Tone = Tone.PLAIN

    @property
    def id(self) -> RowId:
        """What a selection holds on to."""
        return self.source.key, f"{self.at} {self.label}"

    @property
    def copied(self) -> str:
        """What is worth copying: of the first line that is the id of the job."""
        return self.text


def _rows(frame: Frame, ui: Ui) -> Sequence[LineRow]:
    row = job_of(frame, ui.visit)
    if row is None:
        return ()
    cells = max(_FEWEST_CELLS, ui.size.columns - _BESIDE_TEXT) if ui.size else 200
    lines: list[LineRow] = []
    for label, text, link, tone in _entries(row):
        for number, part in enumerate(wrapped(text, cells)):
            name = "" if number else label
            lines.append(LineRow(row.source, len(lines), name, part, link, tone))
    return lines[:_MOST_LINES]


def wrapped(text: str, cells: int) -> Iterator[str]:
    """A text as harmless lines of at most so many cells; at least one line."""
    for line in text[:_LONGEST_TEXT].expandtabs(4).splitlines() or [""]:
        rest = clean(line, _LONGEST_TEXT)
        while width(rest) > cells:
            cut = cells
            while width(rest[:cut]) > cells:
                cut -= 1
            yield rest[:cut]
            rest = rest[cut:]
        yield rest


_Entry = tuple[str, str, "str | None", Tone]


def _entries(row: JobRow) -> Iterator[_Entry]:
    job = row.job
    now = row.source.reading.taken_at if row.source.reading else None
    for label, text in (
        ("id", job.id),
        ("task", job.name),
        ("queue", job.queue),
        ("priority", None if job.priority is None else str(job.priority)),
        ("worker", job.worker),
        ("arguments", job.args),
        ("named", job.kwargs),
    ):
        if text is not None:
            yield label, text, None, Tone.PLAIN
    yield "state", job.state.value, None, JOB_TONES[job.state]
    for label, moment in (
        ("enqueued", job.enqueued_at),
        ("due", job.due_at),
        ("started", job.started_at),
        ("ended", job.ended_at),
    ):
        if moment is not None:
            yield label, _moment(moment, now), None, Tone.PLAIN
    ran = runtime_of(row)
    if ran is not None:
        yield "ran", duration(ran), None, Tone.PLAIN
    if job.attempts is not None:
        left = "" if job.attempts_left is None else f", {job.attempts_left} left"
        yield "attempts", f"{job.attempts}{left}", None, Tone.PLAIN
    yield from _ending(job)


def _ending(job: JobReading) -> Iterator[_Entry]:
    if job.malformed:
        yield "warning", "the stored message is not what the system writes", None, Tone.WARN
    if job.result is not None:
        yield "result", job.result, None, Tone.PLAIN
    if job.error is not None:
        yield "error", job.error, None, Tone.BAD
    for label, ids in (("parent", job.parents), ("child", job.children)):
        for other in ids:
            yield label, other, other, Tone.INFO
    for label, text in job.facts:
        yield clean(label), text, None, Tone.PLAIN
    if job.traceback:
        yield "traceback", job.traceback, None, Tone.PLAIN


def _moment(moment: datetime, now: datetime | None) -> str:
    text = moment.strftime("%Y-%m-%d %H:%M:%S UTC")
    if now is None:
        return text
    if moment > now:
        return f"{text} (in {age((moment - now).total_seconds())})"
    return f"{text} ({age(seconds_since(moment, now))} ago)"


def _facts(frame: Frame, ui: Ui, _now: datetime) -> Sequence[Fact]:
    row = job_of(frame, ui.visit)
    if row is None:
        return (text_fact("Job", clean(ui.visit.subject[1] if ui.visit.subject else "")),)
    return (
        text_fact("State", row.job.state.value, JOB_TONES[row.job.state]),
        text_fact("Task", clean(row.job.name or row.job.id)),
        text_fact("Queue", clean(row.job.queue or "–")),
    )


def _empty(frame: Frame, ui: Ui) -> str:
    words = why_no_jobs(sources_of(frame, ui.visit), whole_job(ui.visit), "single jobs")
    return "this job is not there (any more)" if words == "no single jobs" else words


def _open(row: LineRow) -> Visit | None:
    return None if row.link is None else Visit(page=JOB, subject=(row.source.key, row.link))


FIELDS: Final[tuple[Field[LineRow], ...]] = (
    text_field(
        column("field", "FIELD", 10),
        "what it is; Enter follows parent and child",
        lambda r: r.label,
    ),
    text_field(
        column("text", "VALUE", 16),
        "what the system keeps of it",
        lambda r: r.text,
        tone=lambda r: r.tone,
        grows=400,
    ),
)

FACTS: Final[Facts[LineRow]] = {"name": lambda row: f"{row.label} {row.text}"}

PAGE: Final = PageSpec(
    name=JOB,
    words="one job, whole",
    tables=(
        TableSpec(key=DETAILS, fields=FIELDS, facts=FACTS, rows=_rows, empty=_empty, opens=_open),
    ),
    facts=_facts,
    interest=interest_in(whole_job),
)
