"""Measures as ``prometheus_client`` writes them down."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.utils import floatToGoString

from bgtop.state.measures import Family, Kind, Spec, Value, shown
from bgtop.task_events import BUCKETS, HistogramReading

if TYPE_CHECKING:
    from collections.abc import Sequence


def metric_of(family: Family) -> Metric:
    """One family, for a collector to yield."""
    family = shown(family)
    spec = family.spec
    names = list(spec.labels)
    if spec.kind is Kind.HISTOGRAM:
        return _histogram(family, names)
    if spec.kind is Kind.SUMMARY:
        return _summary(family, names)
    made: GaugeMetricFamily | CounterMetricFamily
    if spec.kind is Kind.COUNTER:
        made = CounterMetricFamily(spec.name, spec.words, labels=names)
    else:
        made = GaugeMetricFamily(spec.name, spec.words, labels=names)
    for labels, value in family.rows:
        if not isinstance(value, HistogramReading):
            made.add_metric(labels, value)
    return made


def _histogram(family: Family, names: Sequence[str]) -> Metric:
    made = HistogramMetricFamily(family.spec.name, family.spec.words, labels=names)
    for labels, value in family.rows:
        if isinstance(value, HistogramReading):
            made.add_metric(labels, buckets_of(family.spec, value), value.seconds)
    return made


def buckets_of(spec: Spec, value: Value) -> list[tuple[str, float]]:
    """Cumulative counts by the upper bounds that this measure tells."""
    if not isinstance(value, HistogramReading):
        return []
    cumulative = list(accumulate(value.counts))
    below = dict(zip(BUCKETS, cumulative, strict=False))
    told = [(_text(bound), float(below[bound])) for bound in spec.buckets]
    return [*told, ("+Inf", float(cumulative[-1]))]


def _text(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]


def _summary(family: Family, names: Sequence[str]) -> Metric:
    made = SummaryMetricFamily(family.spec.name, family.spec.words, labels=names)
    for labels, value in family.rows:
        if isinstance(value, HistogramReading):
            made.add_metric(labels, count_value=value.total, sum_value=value.seconds)
    return made
