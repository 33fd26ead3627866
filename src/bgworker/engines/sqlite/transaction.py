"""``BEGIN IMMEDIATE`` under the mutex … ``COMMIT``, or nothing at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from bgworker.engines.sqlite.store import Store

T = TypeVar("T")


class Transaction:
    """``with store.write() as db`` in a process whose signals raise nothing: a worker."""

    __slots__ = ("_db", "_durable", "_store", "_vital")

    def __init__(self, store: Store, *, durable: bool, vital: bool) -> None:
        self._store = store
        self._durable = durable
        self._vital = vital

    def __enter__(self) -> sqlite3.Connection:
        self._db = self._store.enter(durable=self._durable, vital=self._vital)
        return self._db

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._store.leave(self._db, error)


def transact(store: Store, work: Callable[[sqlite3.Connection], T]) -> T:
    """What ``work`` returns; for what applications call, where an exception may come at any moment.

    Ctrl-C, or a soft timeout, raised as ``__exit__`` begins is past the ``with`` statement before
    anything was undone: the transaction would stay open, and the file locked for everybody. So
    there is a second one to clean up, who finds nothing to do nearly always.
    """
    outermost = not store.guard.is_held()
    try:
        with store.write() as db:
            return work(db)
    except BaseException:
        if outermost:
            store.let_go()
        raise
