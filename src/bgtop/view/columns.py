"""The columns of the two tables: adding one is one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, NamedTuple, TypeVar

from bgtop.model import AgeKind, QueueReading, Rates, Source, WorkerReading, WorkerState
from bgtop.page import Cell, Column, RowId, Tone
from bgtop.view.text import (
    AT_LEAST,
    ESTIMATE,
    UNKNOWN,
    age,
    clean,
    duration,
    number,
    rate,
    seconds_since,
)


class QueueRow(NamedTuple):
    """What the cells of a queue are made of."""

    source: Source
    queue: QueueReading
    rates: Rates
    now: datetime

    @property
    def id(self) -> RowId:
        """What a selection holds on to."""
        return self.source.key, self.queue.name


class WorkerRow(NamedTuple):
    """What the cells of a worker are made of."""

    source: Source
    worker: WorkerReading
    now: datetime

    @property
    def id(self) -> RowId:
        """What a selection holds on to."""
        return self.source.key, self.worker.name


R = TypeVar("R", QueueRow, WorkerRow)


@dataclass(frozen=True, slots=True)
class Field(Generic[R]):
    """A column, what it means in words, and the cell it gives a row."""

    column: Column
    words: str
    cell: Callable[[R], Cell]


def _column(key: str, title: str, cells: int, rank: int) -> Column:
    return Column(key=key, title=title, least=cells, most=cells, rank=rank)


def _text_column(key: str, title: str, least: int, rank: int = 0) -> Column:
    return Column(key=key, title=title, least=least, most=least, rank=rank, right=False)


def _faint_if(dull: bool, text: str) -> Cell:
    return Cell(text, Tone.FAINT if dull else Tone.PLAIN)


def _count(value: int | None) -> Cell:
    return _faint_if(not value, number(value))


def _rate(value: float | None) -> Cell:
    return _faint_if(not value, rate(value))


def _span(text: str) -> Cell:
    return _faint_if(text == UNKNOWN, text)


def system_of(source: Source) -> str:
    """The name of its job system, made harmless."""
    return UNKNOWN if source.info.system is None else clean(source.info.system)


def note_of(queue: QueueReading) -> str:
    """What keeps the jobs of a queue from being taken, in a word or two."""
    if queue.paused:
        return "paused"
    return "no consumer" if queue.consumers == 0 and queue.depth else ""


def _system(row: QueueRow | WorkerRow) -> Cell:
    return Cell(system_of(row.source))


def _queue_name(row: QueueRow) -> Cell:
    return Cell(clean(row.queue.name), _NOTE_TONES[note_of(row.queue)])


def _note(row: QueueRow) -> Cell:
    note = note_of(row.queue)
    return Cell(note, _NOTE_TONES[note])


_NOTE_TONES: Final = {"": Tone.PLAIN, "paused": Tone.WARN, "no consumer": Tone.BAD}


def _oldest(row: QueueRow) -> Cell:
    oldest = row.queue.oldest
    if oldest is None:
        return Cell(UNKNOWN, Tone.FAINT)
    sign = AT_LEAST if oldest.kind is AgeKind.AT_LEAST else ""
    return Cell(sign + duration(oldest.seconds))


def _drain(row: QueueRow) -> Cell:
    seconds = row.rates.drain_seconds
    sign = ESTIMATE if row.rates.drain_is_estimate else ""
    return _span(UNKNOWN if seconds is None else sign + duration(seconds))


STATE_TONES: Final = {
    WorkerState.ACTIVE: Tone.GOOD,
    WorkerState.IDLE: Tone.PLAIN,
    WorkerState.DEAD: Tone.BAD,
    WorkerState.UNKNOWN: Tone.WARN,
}


def _state(row: WorkerRow) -> Cell:
    state = row.worker.state or WorkerState.UNKNOWN
    return Cell(state.value, STATE_TONES[state])


def _worker_name(row: WorkerRow) -> Cell:
    dead = row.worker.state is WorkerState.DEAD
    return Cell(clean(row.worker.name), Tone.BAD if dead else Tone.PLAIN)


SOURCE: Final = "source"
"""The column that only sources at several places need."""

SYSTEM: Final = "system"
"""The column that only several job systems need."""

DRAIN: Final = "drain"
"""The column that only queues getting shorter need."""

NOTE: Final = "note"
"""The column that only queues in trouble need."""

QUEUE_FIELDS: Final[tuple[Field[QueueRow], ...]] = (
    Field(_text_column("name", "QUEUE", 12), "its name", _queue_name),
    Field(
        _text_column(SOURCE, "SOURCE", 8, 4), "where it lives", lambda r: Cell(clean(r.source.name))
    ),
    Field(_text_column(SYSTEM, "SYSTEM", 6, 3), "its job system", _system),
    Field(_column("depth", "DEPTH", 7, 1), "jobs waiting", lambda r: _count(r.queue.depth)),
    Field(
        _column("unacked", "UNACKED", 7, 5),
        "delivered, not acknowledged",
        lambda r: _count(r.queue.unacked),
    ),
    Field(
        _column("in", "IN/S", 6, 6), "jobs coming a second", lambda r: _rate(r.rates.in_per_second)
    ),
    Field(
        _column("out", "OUT/S", 6, 3),
        "jobs ending a second",
        lambda r: _rate(r.rates.out_per_second),
    ),
    Field(_column("oldest", "OLDEST", 8, 2), "wait of the oldest job", _oldest),
    Field(
        _column("mean", "MEAN", 6, 8),
        "mean time a job runs",
        lambda r: _span(duration(r.queue.runtime_mean_seconds)),
    ),
    Field(
        _column("last", "LAST", 6, 9),
        "since a job completed last",
        lambda r: _span(age(seconds_since(r.queue.last_completed_at, r.now))),
    ),
    Field(_column(DRAIN, "DRAIN", 7, 10), "until empty; ~ estimated", _drain),
    Field(
        Column(key=NOTE, title="NOTE", least=6, most=11, rank=7, right=False),
        "paused; no consumer",
        _note,
    ),
)

WORKER_FIELDS: Final[tuple[Field[WorkerRow], ...]] = (
    Field(_text_column("name", "WORKER", 16), "its name", _worker_name),
    Field(
        _text_column(SOURCE, "SOURCE", 8, 5), "where it lives", lambda r: Cell(clean(r.source.name))
    ),
    Field(_text_column(SYSTEM, "SYSTEM", 6, 4), "its job system", _system),
    Field(
        _text_column("state", "STATE", 7),
        "active, idle, dead, unknown",
        _state,
    ),
    Field(
        _column("beat", "BEAT", 6, 2),
        "since its last heartbeat",
        lambda r: _span(age(seconds_since(r.worker.last_heartbeat_at, r.now))),
    ),
    Field(_column("run", "RUN", 4, 1), "jobs it runs now", lambda r: _count(r.worker.running)),
    Field(
        _column("done", "DONE", 7, 3), "jobs it has processed", lambda r: _count(r.worker.processed)
    ),
)
