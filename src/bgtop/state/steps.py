"""Work that is done in steps, so that whoever does it can see to something else in between."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Steps: TypeAlias = Generator[None, None, T]
"""Of thousands of queues each step takes a few milliseconds; what comes of all is returned."""


def at_once(steps: Steps[T]) -> T:
    """All of them, one right after the other."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
