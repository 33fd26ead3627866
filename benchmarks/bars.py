"""What is held to a limit, and how a verdict reads. Nobody fails by it: a run measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit; ``ceiling`` is whether what is found must stay below it."""

    name: str
    limit: float
    unit: str
    ceiling: bool

    def judge(self, found: float | None) -> dict[str, Any]:
        """The verdict; ``met`` is ``None`` when nothing was found."""
        return {
            "name": self.name,
            "unit": self.unit,
            "found": found,
            "at_most" if self.ceiling else "at_least": self.limit,
            "met": None if found is None else self._is_met(found),
        }

    def _is_met(self, found: float) -> bool:
        return found <= self.limit if self.ceiling else found >= self.limit


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything: ``rows`` of history, ``seconds`` of each load."""

    folder: str
    rows: int
    seconds: float
    quick: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """What one measurement found: a table whose first row is its heads, and the verdicts."""

    title: str
    rows: Sequence[Sequence[str]]
    verdicts: Sequence[dict[str, Any]]
    numbers: dict[str, Any]

    def text(self) -> str:
        """For people."""
        widths = [max(map(len, column)) + 2 for column in zip(*self.rows, strict=True)]
        table = [
            f"{row[0]:<{widths[0]}}"
            + "".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
            for row in self.rows
        ]
        return "\n".join([self.title, *(f"  {line}" for line in table), lines("", self.verdicts)])

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {"title": self.title, **self.numbers, "bars": list(self.verdicts)}


def lines(title: str, judged: Sequence[dict[str, Any]]) -> str:
    """Verdicts for people."""
    found = [title]
    for bar in judged:
        sign, limit = ("<=", bar["at_most"]) if "at_most" in bar else (">=", bar["at_least"])
        verdict = {True: "OK", False: "missed", None: "not measured"}[bar["met"]]
        value = "–" if bar["found"] is None else f"{bar['found']:,.2f}"
        found.append(
            f"  {bar['name']:<34}{value:>12}  {sign} {limit:>8,g} {bar['unit']:<7} {verdict}"
        )
    return "\n".join(found)
