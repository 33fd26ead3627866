"""Who else works on this queue: hints whom to watch. Only a free lock proves a death."""

from __future__ import annotations

from bgworker.engines.sqlite.queries import SQL
from bgworker.engines.sqlite.seat import SqliteSeat
from bgworker.engines.sqlite.store import Store
from bgworker.listing import Listing


class Peers:
    """The other workers' process ids; rows are read only when the directory of locks changed."""

    def __init__(self, store: Store, locks: Listing) -> None:
        self._store = store
        self._locks = locks
        self._names: tuple[str, ...] = ()
        self._pids: frozenset[int] = frozenset()

    def pids(self, seat: SqliteSeat) -> frozenset[int]:
        """As they wrote them down: of this host, but perhaps as another container counts."""
        names = self._locks.names()
        if names is not self._names:
            rows = self._store.read(SQL["peers"], (seat.number,))
            self._pids = frozenset(pid for (pid,) in rows)
            # A worker locks its file before it writes its row.
            locks = sum(name.endswith(".lock") for name in names)
            self._names = names if len(rows) >= locks - 1 else ()
        return self._pids
