"""What runs by the clock: the rule, the last run, the next one, and what is late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bgtop.model import Capability, Frame
from bgtop.page import Cell, Status, Tone
from bgtop.state.records import SCHEDULE_FACTS, ScheduleRow, late_by
from bgtop.view.facts import total_facts
from bgtop.view.fields import (
    Field,
    Scene,
    column,
    faint_if,
    since_field,
    source_field,
    system_field,
    text_field,
)
from bgtop.view.specs import PageSpec, TableSpec, cannot, why_nothing
from bgtop.view.text import UNKNOWN, age
from bgtop.view.ui import Ui, Visit
from bgworker.values import replace

_LATE_FROM: Final = 5.0
"""Seconds a schedule may take to be noticed before it is called late."""


def _next(row: ScheduleRow, scene: Scene) -> Cell:
    moment = row.schedule.next_at
    if moment is None:
        return Cell(UNKNOWN, Tone.FAINT)
    wait = (moment - scene.now).total_seconds()
    return Cell(f"in {age(wait + 0.999)}") if wait > 0 else Cell("due")


def _note(row: ScheduleRow, _scene: Scene) -> Cell:
    if row.schedule.enabled is False:
        return Cell("off", Tone.FAINT)
    late = late_by(row)
    if late is None or late < _LATE_FROM:
        return faint_if(True, "")
    return Cell(f"late {age(late)}", Tone.WARN)


FIELDS: Final[tuple[Field[ScheduleRow], ...]] = (
    text_field(
        column("name", "SCHEDULE", 14),
        "its name",
        lambda r: r.schedule.name,
        grows=100,
        name=True,
    ),
    source_field(7),
    system_field(6),
    text_field(column("rule", "RULE", 10, 1), "when it runs", lambda r: r.schedule.rule, grows=30),
    Field(
        column=column("next", "NEXT", 9),
        words="until it runs next",
        cell=_next,
        value=lambda r: r.schedule.next_at,
        descends=False,
    ),
    since_field(column("last", "LAST", 6, 3), "since it ran last", lambda r: r.schedule.last_at),
    Field(
        column=column("note", "NOTE", 11, 2, right=False),
        words="late; off",
        cell=_note,
        value=late_by,
    ),
    text_field(
        column("task", "TASK", 8, 4),
        "what it runs",
        lambda r: r.schedule.task,
        grows=60,
        name=True,
    ),
    text_field(
        column("queue", "QUEUE", 8, 5),
        "and where",
        lambda r: r.schedule.queue,
        grows=30,
        name=True,
    ),
)


def _rows(frame: Frame, _ui: Ui) -> Sequence[ScheduleRow]:
    return [
        ScheduleRow(source, schedule)
        for source in frame.snapshot.sources
        for schedule in (source.reading.schedules or () if source.reading else ())
    ]


def _empty(frame: Frame, _ui: Ui) -> str:
    return why_nothing(
        frame.snapshot.sources,
        Capability.SCHEDULES,
        "schedules",
        lambda source: source.reading is not None and source.reading.schedules is not None,
    )


def _open(row: ScheduleRow) -> Visit | None:
    """The queue that its jobs go to."""
    queue, reading = row.schedule.queue, row.source.reading
    if reading is None or all(queue != one.name for one in reading.queues):
        return None
    return Visit(page="queue", subject=(row.source.key, queue or ""))


def _notes(frame: Frame, _ui: Ui) -> Sequence[Status]:
    """Whose schedules are not among those listed; where none are, the table says why."""
    infos = [source.info for source in frame.snapshot.sources if source.reading]
    blind = {info.system for info in infos if cannot(info, Capability.SCHEDULES) and info.system}
    if not blind or all(cannot(info, Capability.SCHEDULES) for info in infos):
        return ()
    return (Status("NOTE", Tone.INFO, f"schedules of {', '.join(sorted(blind))} cannot be told"),)


PAGE: Final = PageSpec(
    name="schedules",
    words="what runs by the clock",
    tables=(
        TableSpec(
            key="schedules",
            fields=FIELDS,
            facts=SCHEDULE_FACTS,
            rows=_rows,
            empty=_empty,
            opens=_open,
        ),
    ),
    facts=lambda frame, _ui, _now: total_facts(frame),
    interest=lambda _visit, _source, usual: replace(usual, schedules=True),
    notes=_notes,
)
