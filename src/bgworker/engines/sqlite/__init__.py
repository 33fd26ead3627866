"""The engine that keeps jobs in one SQLite file."""

from bgworker.engines.sqlite.engine import SqliteEngine

__all__ = ["SqliteEngine"]
