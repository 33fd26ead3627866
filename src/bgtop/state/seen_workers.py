"""What workers say of themselves beside their numbers: how often they speak, and how much. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, Final

from bgworker.values import dataclass, field

if TYPE_CHECKING:
    from bgtop.task_events import ToldEvent

_MOST_WORKERS: Final = 5000
_BEATS: Final = 4
"""Of so many events the moments are kept."""


@dataclass(slots=True)
class SeenWorker:
    """One worker since it was heard first; ``counts`` are its events by their kind.

    ``freq`` is the seconds between its heartbeats, as it says, and ``software`` how it calls what
    it runs; ``moments`` are of its own clock.
    """

    freq: float | None = None
    software: str | None = None
    clock: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    moments: deque[float] = field(default_factory=lambda: deque(maxlen=_BEATS))


class SeenWorkers:
    """Remembers the workers of all sources; of too many the one that was silent longest goes."""

    def __init__(self) -> None:
        self._workers: OrderedDict[tuple[str, str], SeenWorker] = OrderedDict()

    def get(self, source: str, name: str) -> SeenWorker | None:
        """One worker of a source (its key), if it was heard."""
        return self._workers.get((source, name))

    def take(self, source: str, told: ToldEvent) -> None:
        """Learn an event; who only sends tasks is no worker."""
        key = source, told.teller
        worker = self._workers.get(key)
        if worker is None:
            if told.kind == "task-sent":
                return
            worker = self._workers[key] = SeenWorker()
        self._workers.move_to_end(key)
        worker.counts[told.kind] += 1
        worker.moments.append(told.at)
        worker.clock = worker.clock if told.clock is None else told.clock
        freq, software = told.facts.get("freq"), told.facts.get("sw_ident")
        if isinstance(freq, (int, float)):
            worker.freq = float(freq)
        if isinstance(software, str):
            worker.software = software
        if len(self._workers) > _MOST_WORKERS:
            self._workers.popitem(last=False)
