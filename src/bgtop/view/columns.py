"""The columns of queues and workers: adding one is one line."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from bgtop.model import AgeKind, Frame, WorkerState
from bgtop.page import Cell, Column, Tone
from bgtop.state.records import QueueRow, WorkerRow, queue_state, worker_state
from bgtop.state.trends import worker_key
from bgtop.view.fields import (
    Field,
    Scene,
    any_known,
    bytes_field,
    column,
    count_field,
    faint_if,
    rate_field,
    since_field,
    source_field,
    system_field,
    text_field,
)
from bgtop.view.text import AT_LEAST, ESTIMATE, UNKNOWN, bar, duration, spark

TREND_CELLS: Final = 12
_BAR_CELLS: Final = 6

WIDEST_NAME: Final = 200

_NOTE_TONES: Final = {
    "": Tone.PLAIN,
    "malformed": Tone.BAD,
    "paused": Tone.WARN,
    "no consumer": Tone.BAD,
}

STATE_TONES: Final = {
    WorkerState.ACTIVE: Tone.GOOD,
    WorkerState.IDLE: Tone.PLAIN,
    WorkerState.DEAD: Tone.BAD,
    WorkerState.UNKNOWN: Tone.WARN,
}


def _queue_tone(row: QueueRow) -> Tone:
    return _NOTE_TONES[queue_state(row.queue)]


def _state_tone(row: WorkerRow) -> Tone:
    return STATE_TONES[row.worker.state or WorkerState.UNKNOWN]


def _dead_tone(row: WorkerRow) -> Tone:
    return Tone.BAD if row.worker.state is WorkerState.DEAD else Tone.PLAIN


def _oldest(row: QueueRow, _scene: Scene) -> Cell:
    oldest = row.queue.oldest
    if oldest is None:
        return Cell(UNKNOWN, Tone.FAINT)
    sign = AT_LEAST if oldest.kind is AgeKind.AT_LEAST else ""
    return Cell(sign + duration(oldest.seconds))


def _drain(row: QueueRow, _scene: Scene) -> Cell:
    seconds = row.rates.drain_seconds
    sign = ESTIMATE if row.rates.drain_is_estimate else ""
    return faint_if(seconds is None, UNKNOWN if seconds is None else sign + duration(seconds))


def _drains(frame: Frame, _rows: Sequence[QueueRow]) -> bool:
    return any(rates.drain_seconds is not None for rates in frame.rates.values())


def _has_trend(frame: Frame, _rows: Sequence[object]) -> bool:
    return frame.trends is not None


def _depth_trend(row: QueueRow, scene: Scene) -> Cell:
    trends = scene.frame.trends
    values = trends.of(row.source.key, row.queue.name, "depth") if trends else ()
    return Cell(spark(values, TREND_CELLS), Tone.INFO)


def _run_trend(row: WorkerRow, scene: Scene) -> Cell:
    trends = scene.frame.trends
    values = trends.of(row.source.key, worker_key(row.worker.name), "running") if trends else ()
    return Cell(spark(values, TREND_CELLS), Tone.INFO)


def load_of(row: WorkerRow) -> float | None:
    """Which part of a worker is busy."""
    running, room = row.worker.running, row.worker.concurrency
    return running / room if running is not None and room else None


def _load(row: WorkerRow, _scene: Scene) -> Cell:
    load = load_of(row)
    if load is None:
        return Cell(UNKNOWN, Tone.FAINT)
    return Cell(bar(load, _BAR_CELLS), Tone.WARN if load >= 1 else Tone.GOOD)


def _cpu(row: WorkerRow, _scene: Scene) -> Cell:
    cpu = row.worker.cpu_percent
    return faint_if(not cpu, UNKNOWN if cpu is None else f"{min(cpu, 99999):.0f}%")


def _since_oldest(row: QueueRow) -> float | None:
    return row.queue.oldest.seconds if row.queue.oldest else None


def _noted(_: Frame, rows: Sequence[QueueRow]) -> bool:
    queues = [row.queue for row in rows]
    if True in map(attrgetter("malformed"), queues) or True in map(attrgetter("paused"), queues):
        return True
    # Of ten thousand queues each is looked at only where one of them has no consumer.
    return 0 in map(attrgetter("consumers"), queues) and any(map(queue_state, queues))


QUEUE_FIELDS: Final[tuple[Field[QueueRow], ...]] = (
    text_field(
        column("name", "QUEUE", 12),
        "its name",
        attrgetter("queue.name"),
        tone=_queue_tone,
        grows=WIDEST_NAME,
        name=True,
    ),
    source_field(2),
    system_field(2),
    count_field(column("depth", "DEPTH", 7, 1), "jobs waiting", lambda r: r.queue.depth),
    Field(
        column=column("trend", "TREND", TREND_CELLS, 12),
        words="depth over the last minutes",
        cell=_depth_trend,
        value=lambda r: r.queue.depth,
        needed=_has_trend,
        chart=True,
    ),
    count_field(
        column("unacked", "UNACKED", 7, 5), "delivered, not acknowledged", lambda r: r.queue.unacked
    ),
    rate_field(
        column("in", "IN/S", 6, 6),
        "jobs coming a second",
        lambda r: r.rates.in_per_second,
        is_estimate=lambda r: r.rates.are_estimates,
    ),
    rate_field(
        column("out", "OUT/S", 6, 3),
        "jobs ending a second",
        lambda r: r.rates.out_per_second,
        is_estimate=lambda r: r.rates.are_estimates,
    ),
    Field(
        column=column("oldest", "OLDEST", 8, 2),
        words="wait of the oldest job",
        cell=_oldest,
        value=_since_oldest,
    ),
    Field(
        column=column("mean", "MEAN", 6, 8),
        words="mean time a job runs",
        cell=lambda r, _: faint_if(
            r.queue.runtime_mean_seconds is None, duration(r.queue.runtime_mean_seconds)
        ),
        value=lambda r: r.queue.runtime_mean_seconds,
    ),
    since_field(
        column("last", "LAST", 6, 9),
        "since a job completed last",
        lambda r: r.queue.last_completed_at,
    ),
    Field(
        column=column("drain", "DRAIN", 7, 10),
        words="until empty; ~ estimated",
        cell=_drain,
        value=lambda r: r.rates.drain_seconds,
        needed=_drains,
    ),
    Field(
        column=Column(key="note", title="NOTE", least=6, most=11, rank=2, right=False),
        words="paused; no consumer; malformed",
        cell=lambda r, _: Cell(queue_state(r.queue), _queue_tone(r)),
        value=lambda r: queue_state(r.queue) or None,
        needed=_noted,
        descends=False,
    ),
)

WORKER_FIELDS: Final[tuple[Field[WorkerRow], ...]] = (
    text_field(
        column("name", "WORKER", 16),
        "its name",
        lambda r: r.worker.name,
        tone=_dead_tone,
        grows=WIDEST_NAME,
        name=True,
    ),
    source_field(2),
    system_field(4),
    text_field(
        column("state", "STATE", 7),
        "active, idle, dead, unknown",
        lambda r: worker_state(r.worker),
        tone=_state_tone,
    ),
    since_field(
        column("beat", "BEAT", 6, 2),
        "since its last heartbeat",
        lambda r: r.worker.last_heartbeat_at,
    ),
    count_field(column("run", "RUN", 4, 1), "jobs it runs now", lambda r: r.worker.running),
    Field(
        column=column("load", "LOAD", _BAR_CELLS, 11),
        words="which part of it is busy",
        cell=_load,
        value=load_of,
        needed=any_known(load_of),
        chart=True,
    ),
    count_field(
        column("done", "DONE", 7, 3), "jobs it has processed", lambda r: r.worker.processed
    ),
    Field(
        column=column("cpu", "CPU", 5, 12),
        words="processor time it uses; 100% is one processor",
        cell=_cpu,
        value=lambda r: r.worker.cpu_percent,
        needed=any_known(lambda r: r.worker.cpu_percent),
    ),
    bytes_field(
        column("rss", "RSS", 6, 13),
        "memory it holds",
        lambda r: r.worker.rss_bytes,
        needed=any_known(lambda r: r.worker.rss_bytes),
    ),
    Field(
        column=column("trend", "TREND", TREND_CELLS, 14),
        words="jobs it ran over the last minutes",
        cell=_run_trend,
        value=lambda r: r.worker.running,
        needed=_has_trend,
        chart=True,
    ),
)
