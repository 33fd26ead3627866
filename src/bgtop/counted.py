"""Counts in words, for lines that people read."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """``1 queue``, ``2 queues``; also ``1 more queue`` and whatever else ends in its noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
