"""What is held to a limit, and how a verdict reads. Nobody fails by it: a run measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit; ``ceiling`` is whether what is found must stay below it.

    ``bare`` is what the bare queue did on the machine for which the limit was set.
    """

    name: str
    limit: float
    unit: str
    ceiling: bool
    bare: float | None = None

    def judge(self, found: float | None, bare: float | None = None) -> dict[str, Any]:
        """The verdict; ``met`` is ``None`` when nothing was found.

        With what the ``bare`` queue did in this run there is a second one, on the limit as far
        from that as it was there.
        """
        side = "at_most" if self.ceiling else "at_least"
        verdict = {
            "name": self.name,
            "unit": self.unit,
            "found": found,
            side: self.limit,
            "met": self._is_met(found, self.limit),
        }
        if self.bare is not None and bare is not None:
            here = self.limit * bare / self.bare
            verdict["here"] = {side: here, "met": self._is_met(found, here)}
        return verdict

    def _is_met(self, found: float | None, limit: float) -> bool | None:
        if found is None:
            return None
        return found <= limit if self.ceiling else found >= limit


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
        value = "–" if bar["found"] is None else f"{bar['found']:,.2f}"
        line = f"  {bar['name']:<34}{value:>12}  {_limit(bar, ',g')} {bar['unit']:<7} {_word(bar)}"
        if "here" in bar:
            line += f"; by the bare queue {_limit(bar['here'], ',.3g')} {_word(bar['here'])}"
        found.append(line)
    return "\n".join(found)


def _limit(bar: dict[str, Any], spec: str) -> str:
    sign, limit = ("<=", bar["at_most"]) if "at_most" in bar else (">=", bar["at_least"])
    return f"{sign} {limit:>8{spec}}"


def _word(bar: dict[str, Any]) -> str:
    return {True: "OK", False: "missed", None: "not measured"}[bar["met"]]
