"""Bringing a file to the schema this version reads. Runs under the writer mutex."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from bgworker.engines.sqlite.queries import schema
from bgworker.errors import NewerSchema
from bgworker.model import Millis

VERSION = 1
OLDEST_SQLITE = (3, 37, 0)
"""STRICT tables."""


def version_of(db: sqlite3.Connection) -> int:
    """The schema version in the file; 0 when it has none of our tables."""
    found = db.execute(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'bgworker_migration'"
    ).fetchone()
    if found is None:
        return 0
    return int(db.execute("SELECT max(version) FROM bgworker_migration").fetchone()[0])


def migrate(db: sqlite3.Connection, path: str, now: Millis) -> None:
    """Apply what is missing, each version in one transaction.

    Raises:
        NewerSchema: the file was written by a newer bgworker.
    """
    found = version_of(db)
    refuse_newer(found, path)
    for version, script in enumerate(_scripts()[found:], start=found + 1):
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in _statements(script):
                db.execute(statement)
            db.execute("INSERT INTO bgworker_migration VALUES (?, ?)", (version, now))
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def refuse_newer(version: int, path: str) -> None:
    """Raise :class:`NewerSchema` for a schema this version does not know."""
    if version > VERSION:
        raise NewerSchema(
            f"{path} has schema version {version}, this bgworker knows up to {VERSION}: "
            "upgrade bgworker (pip install -U bgtop)"
        )


def _scripts() -> Sequence[str]:
    return (schema(),)


def _statements(script: str) -> Sequence[str]:
    """The script's statements: ``executescript`` would commit what is open."""
    statements: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
