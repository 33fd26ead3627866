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
