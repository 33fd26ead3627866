"""Who else works on this queue: hints whom to watch. Only a free lock proves a death."""

from __future__ import annotations

import os

from bgworker.engines.sqlite.locks import QueueFiles
from bgworker.engines.sqlite.queries import SQL
from bgworker.engines.sqlite.seat import SqliteSeat
from bgworker.engines.sqlite.store import Store


class Peers:
    """The other workers' process ids; rows are read only when the directory of locks changed."""

    def __init__(self, store: Store, files: QueueFiles) -> None:
        self._store = store
        self._files = files
        self._names: list[str] = []
        self._pids: frozenset[int] = frozenset()

    def pids(self, seat: SqliteSeat) -> frozenset[int]:
        """As they wrote them down: of this host, but perhaps as another container counts."""
        names = [name for name in os.listdir(self._files.workers) if name.endswith(".lock")]
        if names != self._names:
            rows = self._store.read(SQL["peers"], (seat.number,))
            self._pids = frozenset(pid for (pid,) in rows)
            # A worker locks its file before it writes its row.
            self._names = names if len(rows) >= len(names) - 1 else []
        return self._pids
