"""The named statements of ``queries.sql``, read once."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

_SIZES = (64, 16, 4, 1)
"""Rows one statement takes. SQLite compiles each size once; several rows in one statement cost a
third of as many statements."""


def _named(path: str) -> dict[str, str]:
    with open(path, encoding="utf-8") as file:
        parts = file.read().split("-- name: ")[1:]
    return {name.strip(): text.strip() for name, _, text in (p.partition("\n") for p in parts)}


_HERE = os.path.dirname(__file__)
SQL = _named(os.path.join(_HERE, "queries.sql"))


@functools.cache
def claim_sql(queues: int) -> str:
    """The claim over this many queues.

    One arm per queue lets SQLite merge the arms in order and read no more rows than it hands out;
    an ``IN`` list would sort every queued job.
    """
    return SQL["claim"].format(candidates=" UNION ALL ".join([SQL["queued_in"]] * queues))


def several(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """The rows in their order, in pieces of which each is one statement of :func:`rows_sql`."""
    start = 0
    for size in _SIZES:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


@functools.cache
def rows_sql(name: str, row: str, rows: int) -> str:
    """The named statement with its ``{rows}``: so many times ``row``, ``?`` being a parameter."""
    return SQL[name].format(rows=", ".join([row] * rows))


def schema() -> str:
    """The script that makes version 1."""
    with open(os.path.join(_HERE, "schema.sql"), encoding="utf-8") as file:
        return file.read()
