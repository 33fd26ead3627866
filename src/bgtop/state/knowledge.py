"""Everything known about all sources, and how one more sample changes it."""

from __future__ import annotations

from collections.abc import Mapping

from bgtop.model import Rates, Snapshot
from bgtop.state.fold import Polled, Sample, fold
from bgtop.state.history import History, rates_of, remember, task_rates_of
from bgtop.state.intake import Selection, take_in
from bgtop.state.steps import Steps, at_once
from bgtop.state.trends import Memory, keep
from bgtop.state.work import WHOLE, Work, completed, note, speeds_of
from bgworker.values import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """The newest snapshot, what is remembered of older ones, and the rates that follow."""

    snapshot: Snapshot
    history: History = field(default_factory=History)
    work: Work = field(default_factory=Work)
    rates: Mapping[tuple[str, str], Rates] = field(default_factory=dict)
    source_rates: Mapping[str, Rates] = field(default_factory=dict)
    task_rates: Mapping[tuple[str, str], Rates] = field(default_factory=dict)
    trends: Memory = field(default_factory=Memory)


def learn(known: Knowledge, sample: Sample, selection: Selection) -> Knowledge:
    """What is known after this sample."""
    return at_once(learning(known, sample, selection))


def learning(known: Knowledge, sample: Sample, selection: Selection) -> Steps[Knowledge]:
    """What is known after this sample, found in steps; ``known`` stays as it was."""
    if not isinstance(sample, Polled):
        return replace(known, snapshot=fold(known.snapshot, sample))
    work = note(known.work, sample)  # also of what is not to be shown
    yield
    sample = replace(sample, reading=take_in(sample.reading, selection))
    snapshot = fold(known.snapshot, sample)
    yield
    history, trends = known.history, known.trends
    if _counts_anew(known.snapshot, sample):
        history = history.without_tasks(sample.source)
    history = remember(history, sample)
    yield
    known = known_of(snapshot, history, work)
    yield
    places = history.points[sample.source][-1].places
    return replace(known, trends=keep(trends, sample, known.rates, places))


def known_of(snapshot: Snapshot, history: History, work: Work) -> Knowledge:
    """What follows from a snapshot and from what is remembered; no trends."""
    speeds = speeds_of(work)
    return Knowledge(
        snapshot=snapshot,
        history=history,
        work=work,
        rates=completed(rates_of(history, snapshot), speeds),
        source_rates={source: rates for (source, name), rates in speeds.items() if name == WHOLE},
        task_rates=task_rates_of(history),
    )


def _counts_anew(before: Snapshot, sample: Polled) -> bool:
    """Whether events are followed from another moment on than those of the last reading."""
    last = next((one.reading for one in before.sources if one.key == sample.source), None)
    if last is None or last.events is None or sample.reading.events is None:
        return False
    return last.events.since != sample.reading.events.since
