"""Everything known about all sources, and how one more sample changes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bgtop.model import Rates, Snapshot
from bgtop.state.fold import Polled, Sample, fold
from bgtop.state.history import History, rates_of, remember
from bgtop.state.intake import Selection, take_in
from bgtop.state.trends import Memory, keep


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """The newest snapshot, what is remembered of older ones, and the rates that follow."""

    snapshot: Snapshot
    history: History = field(default_factory=History)
    rates: Mapping[tuple[str, str], Rates] = field(default_factory=dict)
    trends: Memory = field(default_factory=Memory)


def learn(known: Knowledge, sample: Sample, selection: Selection) -> Knowledge:
    """What is known after this sample."""
    if not isinstance(sample, Polled):
        return replace(known, snapshot=fold(known.snapshot, sample))
    sample = replace(sample, reading=take_in(sample.reading, selection))
    snapshot = fold(known.snapshot, sample)
    history = remember(known.history, sample)
    rates = rates_of(history, snapshot)
    places = history.points[sample.source][-1].places
    trends = keep(known.trends, sample, rates, places)
    return Knowledge(snapshot=snapshot, history=history, rates=rates, trends=trends)
