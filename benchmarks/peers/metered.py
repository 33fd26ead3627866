"""Programs of bgworker whose transactions are metered, in the file that $BENCH_METER names.

    metered.py run …      the worker, with the options of `bgworker run`
    metered.py produce    enqueue one job after the other, until killed

With $BENCH_STATEMENTS the statements are counted too, which costs a little.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from typing import Any

from meter import Field, Meter

from bgworker.engines.sqlite import retention, store

_SLOW_SWEEP = 5_000_000  # ns
_meter = Meter(os.environ["BENCH_METER"])
_sweeping = False


class MeteredTransaction(store.Transaction):
    """Takes the time of what it does."""

    __slots__ = ("_asked", "_began")

    def __enter__(self) -> sqlite3.Connection:
        self._asked = time.monotonic_ns()
        db = super().__enter__()
        self._began = time.monotonic_ns()
        return db

    def __exit__(self, *what: object) -> None:
        try:
            super().__exit__(*what)  # type: ignore[arg-type]
        finally:
            self._note(time.monotonic_ns())

    def _note(self, over: int) -> None:
        held = over - self._began
        _meter.add(Field.CALLS)
        _meter.note(Field.LONGEST_CALL, over - self._asked)
        _meter.note(Field.LONGEST_HOLD, held)
        if _sweeping:
            _meter.add(Field.SWEEPS)
            _meter.note(Field.LONGEST_SWEEP, held)
            if held > _SLOW_SWEEP:
                _meter.add(Field.SLOW_SWEEPS)


class MeteredBroom(retention.Broom):
    """Says when a transaction is one that deletes."""

    def _delete(self, before: int) -> int:
        global _sweeping  # noqa: PLW0603 - the one thread of a worker that writes
        _sweeping = True
        try:
            return super()._delete(before)
        finally:
            _sweeping = False


def _count(statement: str) -> None:
    _meter.add(Field.STATEMENTS)
    if not statement.startswith("PRAGMA"):
        _meter.add(Field.TABLES)


def _install() -> None:
    store.Transaction = MeteredTransaction  # type: ignore[misc]
    connect = store.connect

    def counted(*args: Any, **options: Any) -> sqlite3.Connection:
        db = connect(*args, **options)
        db.set_trace_callback(_count)
        return db

    if "BENCH_STATEMENTS" in os.environ:
        store.connect = counted
    from bgworker.engines.sqlite import engine

    engine.Broom = MeteredBroom  # type: ignore[misc]


def _produce() -> None:
    from bgworker_app import enqueue

    while True:
        enqueue(0)


def main() -> int:
    _install()
    if sys.argv[1:] == ["produce"]:
        _produce()
    from bgworker.cli import main as bgworker

    return bgworker(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
