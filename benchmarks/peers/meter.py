"""What the transactions of one process cost, in memory shared with the benchmark."""

from __future__ import annotations

import mmap
from enum import IntEnum


class Field(IntEnum):
    """What is counted; times are in ns.

    A ``CALL`` is a transaction as its caller sees it, from asking for the writer's mutex until
    COMMIT is over; a ``HOLD`` is the part of it in which others have to wait. ``SWEEP`` is the
    hold of a transaction that deletes old jobs. ``TABLES`` counts statements that read a table.
    """

    CALLS = 0
    LONGEST_CALL = 1
    LONGEST_HOLD = 2
    SWEEPS = 3
    LONGEST_SWEEP = 4
    SLOW_SWEEPS = 5
    STATEMENTS = 6
    TABLES = 7


class Meter:
    """One process counts, another reads; ``path`` is a file in memory."""

    def __init__(self, path: str) -> None:
        with open(path, "a+b") as file:
            file.truncate(len(Field) * 8)
            self._view = memoryview(mmap.mmap(file.fileno(), len(Field) * 8)).cast("q")

    def add(self, field: Field) -> None:
        """One more."""
        self._view[field] += 1

    def note(self, field: Field, ns: int) -> None:
        """A time, of which the longest is kept."""
        self._view[field] = max(self._view[field], ns)

    def ms(self, field: Field) -> float:
        """A longest time."""
        return self._view[field] / 1e6

    def count(self, field: Field) -> int:
        """How many."""
        return self._view[field]

    def reset(self) -> None:
        """Begin anew."""
        for field in Field:
            self._view[field] = 0
