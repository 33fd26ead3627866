"""What happened in a queue since it was looked at last: who entered, and who ended how.

Ids tell who entered. Who ended is found by when: a run that ended may be written down later than
one that ended after it, so each look begins a little before the end of the last one, and further
back when the queue's own counters say that something was overlooked. All of it walks an index.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from bgworker.inspector import Inspector
from bgworker.model import Millis
from bgworker.states import JobState
from bgworker.values import dataclass

MOST_PER_LOOK: Final = 20_000
"""Jobs that entered, and jobs that ended, that one look takes; the next one goes on."""

OVERLAP: Final = 2_000
LONGEST_OVERLAP: Final = 600_000
"""Milliseconds that a look goes back."""

_PAGE: Final = 5_000
_REMEMBERED: Final = 50_000
"""Ended jobs that are known to be counted."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A job that ended; ``wait_ms`` and ``run_ms`` are of its last run, if it had one.

    ``retried`` and ``crashed`` are its runs before that, by what became of them. ``error`` is the
    type of the exception.
    """

    task: str
    queue: str
    state: JobState
    retried: int
    crashed: int
    wait_ms: Millis | None
    run_ms: Millis | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """What is new: the (task, queue) of each job that entered, and the jobs that ended.

    ``overlooked`` is how many more have ended by the counters of the queue, so far.
    """

    entered: Sequence[tuple[str, str]]
    ended: Sequence[Ending]
    overlooked: int


class Trail:
    """Follows a queue from the first :meth:`step` on, which tells nothing yet."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector
        self._entered = -1
        self._from: tuple[Millis, int] = (0, 0)
        self._next: tuple[Millis, int] | None = None
        """Where a look that was cut short goes on."""
        self._since = 0
        self._total = 0
        self._counted = 0
        self._overlap = OVERLAP
        self._known: OrderedDict[tuple[int, Millis], None] = OrderedDict()
        self._forgotten_until = 0

    def step(self, now: Millis) -> Step:
        """What has happened until ``now``; raises what :meth:`Inspector.stats` raises."""
        if self._entered < 0:
            self._entered = self._number("last_place")
            self._since = now - OVERLAP
            self._from = (now, 0)
            self._read_ended()
            self._total = self._number("ended_total")
            return Step((), (), 0)
        # Counted first: what ends meanwhile is then one too many at most, and not one too few.
        total = self._number("ended_total") - self._total
        entered, ended = self._read_entered(), self._read_ended()
        self._counted += len(ended)
        overlooked = max(0, total - self._counted)
        self._overlap = min(self._overlap * 8, LONGEST_OVERLAP) if overlooked else OVERLAP
        return Step(entered, ended, overlooked)

    def _number(self, query: str) -> int:
        [(number,)] = self._inspector.rows(query)
        return int(number)

    def _read_entered(self) -> list[tuple[str, str]]:
        last = min(self._number("last_place"), self._entered + MOST_PER_LOOK)
        # A job that ends in between is in both, and never in none.
        alive = self._inspector.rows("entered_alive", self._entered, last)
        ended = self._inspector.rows("entered_ended", self._entered, last)
        self._entered = last
        found = {id_: (task, queue) for id_, task, queue in (*alive, *ended)}
        return list(found.values())

    def _read_ended(self) -> list[Ending]:
        found: list[Ending] = []
        begin = self._from[0] - self._overlap
        place = self._next or (max(begin, self._forgotten_until, self._since) - 1, 0)
        newest, self._next = self._from, None
        for _ in range(0, MOST_PER_LOOK, _PAGE):
            rows = self._inspector.rows("ended_since", *place, _PAGE)
            for row in rows:
                key = (row[0], row[6])
                if key not in self._known:
                    self._know(key)
                    found.append(_ending(row))
            if rows:
                place = (rows[-1][6], rows[-1][0])
                newest = max(newest, place)
            if len(rows) < _PAGE:
                break
        else:
            self._next = place
        self._from = newest
        return found

    def _know(self, key: tuple[int, Millis]) -> None:
        self._known[key] = None
        if len(self._known) > _REMEMBERED:
            (_, finished_at), _ = self._known.popitem(last=False)
            self._forgotten_until = max(self._forgotten_until, finished_at + 1)


def _ending(row: tuple[Any, ...]) -> Ending:
    _, task, queue, state, run_at, started_at, finished_at, attempts, retries, crashes, error = row
    # The run that used up the budget of crashes is the last one, and no other.
    last_crashed = state == "dead" and crashes > 0 and attempts == retries + crashes
    return Ending(
        task=task,
        queue=queue,
        state=JobState(state),
        retried=retries,
        crashed=crashes - last_crashed,
        wait_ms=None if started_at is None else max(0, started_at - run_at),
        run_ms=None if started_at is None else max(0, finished_at - started_at),
        error=error,
    )
