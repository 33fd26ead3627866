"""What follows from a frame is computed once for it, however many keys and drawings ask."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, TypeVar

from bgtop.model import Frame

T = TypeVar("T")

_MOST: Final = 64
"""Answers kept for one frame: while time stands still somebody may type a long filter."""


def derived(frame: Frame, key: Hashable, compute: Callable[[], T]) -> T:
    """The answer for this key; ``compute`` may depend on the frame and the key alone."""
    kept = frame.derived
    if key not in kept:
        if len(kept) >= _MOST:
            kept.clear()
        kept[key] = compute()
    answer: T = kept[key]
    return answer
