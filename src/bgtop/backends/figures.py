"""Figures of tasks that are made of single runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Runtimes(NamedTuple):
    """Mean and percentiles in seconds; ``None`` where nothing ran."""

    mean: float | None
    p50: float | None
    p95: float | None


def runtimes(seconds: Sequence[float]) -> Runtimes:
    """What these durations amount to; a percentile is a duration that occurred (nearest rank)."""
    if not seconds:
        return Runtimes(None, None, None)
    ranked = sorted(seconds)
    return Runtimes(sum(ranked) / len(ranked), _percentile(ranked, 50), _percentile(ranked, 95))


def _percentile(ranked: Sequence[float], percent: int) -> float:
    return ranked[-(-percent * len(ranked) // 100) - 1]
