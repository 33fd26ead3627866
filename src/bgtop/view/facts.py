"""Numbers with their names, for the lines above the tables."""

from __future__ import annotations

from bgtop.model import AgeKind, Frame, QueueReading, Rates, WorkerState
from bgtop.page import Cell, Fact, Tone
from bgtop.state.derived import derived
from bgtop.state.totals import Totals, totals_of
from bgtop.view.columns import STATE_TONES
from bgtop.view.text import AT_LEAST, ESTIMATE, UNKNOWN, duration, number, rate, spark
from bgtop.view.ui import Ui

_LEAST_CHANGE = 0.02
"""The part by which a sum has to change within a minute to rise or fall."""
_TREND_CELLS = 24


def sum_fact(
    label: str, value: int | None, tone: Tone = Tone.STRONG, sign: str = "", before: str = ""
) -> Fact:
    """A count between two signs; ``tone`` is for those above zero."""
    return Fact(label, Cell(before + number(value) + sign, tone if value else Tone.FAINT))


def speed_fact(label: str, value: float | None, sign: str = "", before: str = "") -> Fact:
    """Events per second."""
    if value is None:
        return Fact(label, Cell(UNKNOWN, Tone.FAINT))
    return Fact(label, Cell(before + rate(value) + sign, Tone.STRONG if value else Tone.FAINT))


def text_fact(label: str, text: str, tone: Tone = Tone.STRONG) -> Fact:
    """A word or two."""
    return Fact(label, Cell(text, tone))


def trend_facts(frame: Frame, ui: Ui, row: tuple[str, str], **series: str) -> list[Fact]:
    """How these series of a queue or a worker went, by their labels; on a screen only."""
    if frame.trends is None or ui.size is None:
        return []
    known = [(label, frame.trends.of(*row, name)) for label, name in series.items()]
    return [
        text_fact(f"{label}~", spark(values, _TREND_CELLS), Tone.INFO)
        for label, values in known
        if any(value is not None for value in values)
    ]


def total_facts(frame: Frame) -> tuple[Fact, ...]:
    """Sums over everything; the most important first: what does not fit is left out at the end."""
    totals: Totals = derived(frame, "totals", lambda: totals_of(frame))
    lost = {
        state: count
        for state, count in totals.workers_by_state.items()
        if state in {WorkerState.DEAD, WorkerState.UNKNOWN}
    }
    at_least = {name: AT_LEAST for name in totals.at_least if getattr(totals, name) is not None}

    def summed(name: str, tone: Tone = Tone.STRONG, sign: str = "") -> Fact:
        value = getattr(totals, name)
        return sum_fact(name.capitalize(), value, tone, sign, at_least.get(name, ""))

    def speed(label: str, name: str, series: str) -> Fact:
        value = getattr(totals, name)
        before = at_least.get(name, ESTIMATE if totals.estimated else "")
        return speed_fact(label, value, _arrow(frame, series, value), before)

    return (
        sum_fact("Queues", totals.queues),
        summed("depth", sign=_arrow(frame, "depth", totals.depth)),
        summed("unacked"),
        *([summed("scheduled")] * _is_known_of_a_whole(frame, "scheduled")),
        summed("running"),
        _failed(totals),
        sum_fact("Workers", totals.workers),
        *(
            sum_fact(state.value.capitalize(), count, STATE_TONES[state])
            for state, count in lost.items()
        ),
        speed("In/s", "in_per_second", "in"),
        speed("Out/s", "out_per_second", "out"),
    )


def _failed(totals: Totals) -> Fact:
    """What the page of failures lists, and how much of it is dead: tables tell them apart."""
    before = AT_LEAST if "failures" in totals.at_least and totals.failures is not None else ""
    dead = f" ({number(totals.dead)} dead)" if totals.dead else ""
    return sum_fact("Failed", totals.failures, Tone.BAD, dead, before)


def _is_known_of_a_whole(frame: Frame, name: str) -> bool:
    """Whether a source tells a sum that no row of its queues does."""
    readings = (source.reading for source in frame.snapshot.sources)
    return any(name in reading.totals for reading in readings if reading is not None)


def _arrow(frame: Frame, series: str, now: float | None) -> str:
    """Whether a sum rises or falls."""
    trends = frame.trends
    if trends is None or now is None:
        return ""
    change: float | None = derived(frame, ("change", series), lambda: trends.change(series))
    if change is None or abs(change) <= _LEAST_CHANGE * max(abs(now), abs(now - change)):
        return ""
    return "↑" if change > 0 else "↓"


def queue_facts(queue: QueueReading, rates: Rates) -> tuple[Fact, ...]:
    """What is known of one queue."""
    oldest = queue.oldest
    sign = AT_LEAST if oldest and oldest.kind is AgeKind.AT_LEAST else ""
    drain = ESTIMATE if rates.drain_is_estimate else ""
    about = ESTIMATE if rates.are_estimates else ""
    return (
        sum_fact("Depth", queue.depth),
        *_priorities(queue),
        sum_fact("Unacked", queue.unacked),
        sum_fact("Running", queue.running),
        sum_fact("Scheduled", queue.scheduled),
        sum_fact("Deferred", queue.deferred),
        sum_fact("Failed", queue.failed, Tone.BAD),
        sum_fact("Dead", queue.dead, Tone.BAD),
        text_fact("Oldest", sign + duration(oldest.seconds if oldest else None)),
        speed_fact("In/s", rates.in_per_second, before=about),
        speed_fact("Out/s", rates.out_per_second, before=about),
        text_fact("Mean", duration(queue.runtime_mean_seconds)),
        *([text_fact("Drain", drain + duration(rates.drain_seconds))] * bool(rates.drain_seconds)),
        sum_fact("Consumers", queue.consumers),
    )


def _priorities(queue: QueueReading) -> list[Fact]:
    """Depths of the priorities, where there is more than one."""
    depths = queue.by_priority or {}
    shown = [f"{priority}:{depths[priority]}" for priority in sorted(depths)]
    return [text_fact("Priorities", " ".join(shown))] if len(shown) > 1 else []
