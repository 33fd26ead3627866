"""What a run found, as a table for people and as one JSON document."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bars import Bar
from queue_subjects import BARE, OURS, Subject

JUDGED = f"{OURS} full"
_WIDTHS = (24, 8, 11, 9, 8, 8, 8, 8, 5, 8, 8, 7)
_HEADS = (
    *("", "drain/s", "enqueue/s", "bulk/s"),
    *("p50 ms", "p95", "p99", "max", "n", "idle %", "PSS MB", "procs"),
)


def percentile(values: Sequence[float], percent: float) -> float | None:
    """By nearest rank; ``None`` of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


@dataclass(slots=True)
class Findings:
    """Of one subject. Rates have one value per round; ``latency`` has one list (ms) per round."""

    drain: list[float] = field(default_factory=list)
    enqueue: list[float] = field(default_factory=list)
    bulk: list[float] = field(default_factory=list)
    latency: list[list[float]] = field(default_factory=list)
    pss: list[float] = field(default_factory=list)
    uss: list[float] = field(default_factory=list)
    processes: int | None = None
    idle_cpu: float | None = None
    void: list[str] = field(default_factory=list)

    def rate(self, kind: str) -> float | None:
        """The median of ``drain``, ``enqueue``, ``bulk``, ``pss`` or ``uss``."""
        values = getattr(self, kind)
        return statistics.median(values) if values else None

    def started_after(self, percent: float) -> float | None:
        """A percentile of the latencies of all rounds, in ms."""
        return percentile([ms for one in self.latency for ms in one], percent)

    def samples(self) -> int:
        """How many latencies there are."""
        return sum(map(len, self.latency))


BARS: tuple[tuple[str, Bar, Callable[[Findings], float | None]], ...] = (
    ("full", Bar("drain", 30_000, "jobs/s", False, 52_000), lambda f: f.rate("drain")),
    ("full", Bar("enqueue", 6_000, "jobs/s", False, 8_300), lambda f: f.rate("enqueue")),
    ("full", Bar("map", 150_000, "jobs/s", False, 495_000), lambda f: f.rate("bulk")),
    ("full", Bar("latency p50", 1.0, "ms", True, 1.06), lambda f: f.started_after(50)),
    ("full", Bar("latency p99", 3.0, "ms", True, 1.8), lambda f: f.started_after(99)),
    ("full", Bar("idle CPU", 0.1, "%", True), lambda f: f.idle_cpu),
    ("full", Bar("PSS", 26, "MB", True), lambda f: f.rate("pss")),
    ("process", Bar("drain", 40_000, "jobs/s", False, 93_000), lambda f: f.rate("drain")),
    ("process", Bar("enqueue", 25_000, "jobs/s", False, 51_800), lambda f: f.rate("enqueue")),
    ("process", Bar("latency p50", 0.6, "ms", True, 0.42), lambda f: f.started_after(50)),
    ("process", Bar("latency p99", 3.0, "ms", True, 1.5), lambda f: f.started_after(99)),
)
"""What ours is held to with each durability, and what was found there of a bare queue."""


def table(
    subjects: Sequence[Subject], found: Mapping[str, Findings], missing: Mapping[str, str]
) -> str:
    """One line per subject, also of those that are missing."""
    rows = [_line(_HEADS)]
    for subject in subjects:
        f = found[subject.name]
        rows.append(
            _line(
                (
                    subject.name,
                    *(_rate(f.rate(kind)) for kind in ("drain", "enqueue", "bulk")),
                    *(_ms(f.started_after(percent)) for percent in (50, 95, 99, 100)),
                    str(f.samples()),
                    _dash(f.idle_cpu, ".2f"),
                    _dash(f.rate("pss"), ".1f"),
                    _dash(f.processes, "d"),
                )
            )
        )
    gone = [f"{name:<{_WIDTHS[0]}}  missing: {why}" for name, why in missing.items()]
    promises = [f"  {subject.name}: {subject.promise}" for subject in subjects]
    voids = [f"  VOID {s.name}: {why}" for s in subjects for why in found[s.name].void]
    return "\n".join([*rows, *gone, "", *promises, *voids])


def ratios(
    subjects: Sequence[Subject], found: Mapping[str, Findings], floor: Mapping[str, float]
) -> str:
    """How many times better ours is than each peer, and how near to the bare database."""
    mine = found[JUDGED]
    lines = [f"{JUDGED}, times better than     drain  enqueue     bulk  latency p50"]
    for subject in subjects:
        if not subject.ours:
            theirs = found[subject.name]
            cells = [
                *(_times(mine.rate(k), theirs.rate(k)) for k in ("drain", "enqueue", "bulk")),
                _times(theirs.started_after(50), mine.started_after(50)),
            ]
            lines.append(f"  {subject.name:<28}" + "".join(f"{cell:>9}" for cell in cells))
    commits = floor["commits_per_second"]
    cells = [
        *(_times(mine.rate(kind), commits) for kind in ("drain", "enqueue", "bulk")),
        _times(floor["rested_commit_p50_ms"], mine.started_after(50)),
    ]
    lines.append(f"  {'a bare commit per job':<28}" + "".join(f"{cell:>9}" for cell in cells))
    return "\n".join(lines)


def bars(found: Mapping[str, Findings]) -> list[dict[str, Any]]:
    """Each bar with what was found of ours and of the bare queue."""
    nothing = Findings()
    return [
        bar.judge(
            value(found.get(f"{OURS} {durability}", nothing)),
            value(found.get(f"{BARE} {durability}", nothing)),
        )
        | {"subject": f"{OURS} {durability}"}
        for durability, bar, value in BARS
    ]


def as_json(subjects: Sequence[Subject], found: Mapping[str, Findings]) -> dict[str, Any]:
    """Every subject's medians, and the rounds they come from."""
    return {subject.name: _subject_json(subject, found[subject.name]) for subject in subjects}


def _subject_json(subject: Subject, found: Findings) -> dict[str, Any]:
    percents = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    return {
        "promise": subject.promise,
        "drain_per_second": found.rate("drain"),
        "enqueue_per_second": found.rate("enqueue"),
        "bulk_per_second": found.rate("bulk"),
        "latency_ms": {name: found.started_after(p) for name, p in percents.items()},
        "latency_samples": found.samples(),
        "idle_cpu_percent": found.idle_cpu,
        "pss_mb": found.rate("pss"),
        "uss_mb": found.rate("uss"),
        "processes": found.processes,
        "void": found.void,
        "rounds": {
            "drain_per_second": found.drain,
            "enqueue_per_second": found.enqueue,
            "bulk_per_second": found.bulk,
            "latency_ms": found.latency,
            "pss_mb": found.pss,
            "uss_mb": found.uss,
        },
    }


def _line(cells: Sequence[str]) -> str:
    first, *rest = zip(cells, _WIDTHS, strict=True)
    return f"{first[0]:<{first[1]}}" + "".join(f"{cell:>{width}}" for cell, width in rest)


def _dash(value: float | None, spec: str) -> str:
    return "–" if value is None else format(value, spec)


def _rate(value: float | None) -> str:
    return _dash(value, ",.0f" if value is None or value >= 100 else ".1f")


def _ms(value: float | None) -> str:
    return _dash(value, ".0f" if value is not None and value >= 100 else ".2f")


def _times(ours: float | None, theirs: float | None) -> str:
    if not ours or not theirs:
        return "–"
    ratio = ours / theirs
    return f"{ratio:,.0f}x" if ratio >= 100 else f"{ratio:.2g}x" if ratio < 10 else f"{ratio:.0f}x"
