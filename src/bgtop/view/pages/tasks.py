"""Jobs by the name of their task, and the kinds of failure they ended with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bgtop.model import Capability, Frame, Source
from bgtop.page import Cell, Tone
from bgtop.state.filters import quoted
from bgtop.state.records import ERROR_FACTS, TYPE_FACTS, ErrorRow, TypeRow
from bgtop.state.task_figures import type_rows
from bgtop.view.facts import total_facts
from bgtop.view.fields import (
    Field,
    Scene,
    any_known,
    column,
    count_field,
    faint_if,
    rate_field,
    since_field,
    source_field,
    span_field,
    system_field,
    text_field,
)
from bgtop.view.specs import PageSpec, TableSpec, why_nothing
from bgtop.view.text import UNKNOWN
from bgtop.view.ui import Pane, Ui, Visit
from bgworker.values import replace

TYPES: Final = "types"
ERRORS: Final = "errors"


def failure_share(row: TypeRow) -> float | None:
    """Which part of the jobs that ended did so badly."""
    failed, succeeded = row.type.failed, row.type.succeeded
    if failed is None or succeeded is None or failed + succeeded <= 0:
        return None
    return failed / (failed + succeeded)


def _share(row: TypeRow, _scene: Scene) -> Cell:
    share = failure_share(row)
    if not share:
        return faint_if(True, UNKNOWN if share is None else "0%")
    return Cell("<1%" if share < 0.01 else f"{share:.0%}", Tone.BAD)


TYPE_FIELDS: Final[tuple[Field[TypeRow], ...]] = (
    text_field(column("name", "TASK", 16), "its name", lambda r: r.type.name, grows=200, name=True),
    source_field(7),
    system_field(6),
    count_field(column("wait", "WAIT", 6, 5), "jobs waiting", lambda r: r.type.waiting),
    count_field(column("run", "RUN", 4, 3), "jobs running", lambda r: r.type.running),
    rate_field(
        column("in", "IN/S", 6, 6),
        "jobs received a second",
        lambda r: r.rates.in_per_second,
        needed=any_known(lambda r: r.rates.in_per_second),
    ),
    rate_field(
        column("out", "OUT/S", 6, 4),
        "jobs ending a second, well or not",
        lambda r: r.rates.out_per_second,
        needed=any_known(lambda r: r.rates.out_per_second),
    ),
    count_field(column("ok", "OK", 7, 2), "jobs that succeeded", lambda r: r.type.succeeded),
    count_field(
        column("failed", "FAILED", 6, 1), "jobs that failed", lambda r: r.type.failed, tone=Tone.BAD
    ),
    Field(
        column=column("share", "FAIL%", 5, 2),
        words="which part of those that ended",
        cell=_share,
        value=failure_share,
    ),
    span_field(
        column("mean", "MEAN", 6, 4), "mean time a job runs", lambda r: r.type.runtime_mean_seconds
    ),
    span_field(
        column("p50", "P50", 6, 11),
        "half of them run no longer; ~ estimated",
        lambda r: r.type.runtime_p50_seconds,
        is_estimate=lambda r: r.type.percentiles_are_estimates,
    ),
    span_field(
        column("p95", "P95", 6, 3),
        "95 of 100 run no longer; ~ estimated",
        lambda r: r.type.runtime_p95_seconds,
        is_estimate=lambda r: r.type.percentiles_are_estimates,
    ),
    since_field(
        column("last", "LAST", 6, 12), "since one ended last", lambda r: r.type.last_ended_at
    ),
    count_field(
        column("of", "OF", 6, 13),
        "ended jobs the figures are made of",
        lambda r: r.type.sampled,
        needed=any_known(lambda r: r.type.sampled),
    ),
)

ERROR_FIELDS: Final[tuple[Field[ErrorRow], ...]] = (
    text_field(
        column("error", "EXCEPTION", 16),
        "the kind of failure",
        lambda r: r.error,
        tone=lambda _: Tone.BAD,
        grows=100,
    ),
    count_field(column("count", "JOBS", 6), "how many ended so", lambda r: r.jobs, tone=Tone.BAD),
    text_field(
        column("task", "TASK", 12, 1), "of which task", lambda r: r.task, grows=100, name=True
    ),
    source_field(3),
    system_field(2),
)


def _errors(frame: Frame, _ui: Ui) -> Sequence[ErrorRow]:
    rows = [
        ErrorRow(row.source, row.type.name, error, count)
        for row in type_rows(frame)
        for error, count in (row.type.exceptions or {}).items()
    ]
    return sorted(rows, key=lambda row: -row.jobs)


def _answered(source: Source) -> bool:
    reading = source.reading
    return reading is not None and (reading.task_types is not None or reading.events is not None)


def _empty(words: str, frame: Frame) -> str:
    sources = frame.snapshot.sources
    told = any(Capability.EVENTS in source.info.capabilities for source in sources)
    capability = Capability.EVENTS if told else Capability.TASK_TYPES
    return why_nothing(sources, capability, words, _answered)


def failures_of(row: TypeRow | ErrorRow) -> Visit:
    """The page of failures: those that the row counts, not those of tasks with longer names."""
    terms = [f"task={quoted(row.task)}"]
    if isinstance(row, ErrorRow):
        terms.append(f"error:{quoted(row.error)}")
    terms.append(f"source={quoted(row.source.name)}")
    if row.source.info.system is not None:
        terms.append(f"system={quoted(row.source.info.system)}")
    pane = Pane(filter=" ".join(terms))
    return Visit(page="failures", panes={"failures": pane})


PAGE: Final = PageSpec(
    name="tasks",
    words="jobs by task, and how they fail",
    tables=(
        TableSpec(
            key=TYPES,
            fields=TYPE_FIELDS,
            facts=TYPE_FACTS,
            rows=lambda frame, _: type_rows(frame),
            empty=lambda frame, _: _empty("figures by task", frame),
            opens=failures_of,
        ),
        TableSpec(
            key=ERRORS,
            fields=ERROR_FIELDS,
            facts=ERROR_FACTS,
            rows=_errors,
            empty=lambda frame, _: _empty("failures", frame),
            opens=failures_of,
        ),
    ),
    facts=lambda frame, _ui, _now: total_facts(frame),
    interest=lambda _visit, _source, usual: replace(usual, task_types=True, events=True),
)
