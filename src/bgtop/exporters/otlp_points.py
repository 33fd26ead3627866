"""Measures as the OpenTelemetry SDK passes them to its exporters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bgtop import __version__
from bgtop.state.measures import Family, Kind, shown
from bgtop.task_events import BUCKETS, HistogramReading

if TYPE_CHECKING:
    from collections.abc import Iterable

_SINCE_THE_START: Final = AggregationTemporality.CUMULATIVE


def metrics_data(families: Iterable[Family], began: int, now: int) -> MetricsData:
    """Everything told now; times in nanoseconds of the epoch, ``began`` of all counts."""
    metrics = [_metric(shown(family), began, now) for family in families]
    scope = ScopeMetrics(InstrumentationScope("bgtop", __version__), metrics, "")
    resource = Resource.create({"service.name": "bgtop", "service.version": __version__})
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _metric(family: Family, began: int, now: int) -> Metric:
    spec = family.spec
    unit = "s" if spec.name.endswith("_seconds") else "1"
    data: Gauge | Sum | Histogram
    if spec.kind is Kind.GAUGE:
        data = Gauge(_numbers(family, now, now))
    elif spec.kind is Kind.COUNTER:
        data = Sum(_numbers(family, began, now), _SINCE_THE_START, is_monotonic=True)
    else:
        data = Histogram(_histograms(family, began, now), _SINCE_THE_START)
    return Metric(spec.name.replace("_", ".", 1), spec.words, unit, data)


def _numbers(family: Family, began: int, now: int) -> list[NumberDataPoint]:
    return [
        NumberDataPoint(_attributes(family, labels), began, now, float(value))
        for labels, value in family.rows
        if not isinstance(value, HistogramReading)
    ]


def _histograms(family: Family, began: int, now: int) -> list[HistogramDataPoint]:
    return [
        HistogramDataPoint(
            _attributes(family, labels),
            began,
            now,
            count=value.total,
            sum=value.seconds,
            bucket_counts=value.counts,
            explicit_bounds=[float(bound) for bound in BUCKETS],
            min=None,  # type: ignore[arg-type]  # nobody knows, and the protocol allows it
            max=None,  # type: ignore[arg-type]
        )
        for labels, value in family.rows
        if isinstance(value, HistogramReading)
    ]


def _attributes(family: Family, labels: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(family.spec.labels, labels, strict=True))
