"""The named statements of ``queries.sql``, read once."""

from __future__ import annotations

import os


def _named(path: str) -> dict[str, str]:
    with open(path, encoding="utf-8") as file:
        parts = file.read().split("-- name: ")[1:]
    return {name.strip(): text.strip() for name, _, text in (p.partition("\n") for p in parts)}


_HERE = os.path.dirname(__file__)
SQL = _named(os.path.join(_HERE, "queries.sql"))


def claim_sql(queues: int) -> str:
    """The claim over this many queues.

    One arm per queue lets SQLite merge the arms in order and read no more rows than it hands out;
    an ``IN`` list would sort every queued job.
    """
    return SQL["claim"].format(candidates=" UNION ALL ".join([SQL["queued_in"]] * queues))


def schema() -> str:
    """The script that makes version 1."""
    with open(os.path.join(_HERE, "schema.sql"), encoding="utf-8") as file:
        return file.read()
