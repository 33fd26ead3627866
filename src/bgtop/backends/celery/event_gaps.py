"""How many events of Celery's workers at least did not reach us: pure.

The logical clock in each event proves nothing by itself: it also counts heartbeats heard from other
workers, commands of remote control, and jumps to the clock of whoever is ahead (gaps of 1 to 77
between neighbours of which none was missing). What proves it is a worker's own ``processed``, the
number of tasks it has started: when that grew by more than we were told of, over a time in which
we were deaf, the rest was missed; and no more than there were ticks of the clock to tell it.

A worker that starts more than it tells while we hear well has tasks it does not tell of
(``send_events = False``), or did not always tell events; no more is concluded about it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from bgworker.values import dataclass

MOST_WORKERS: Final = 20_000


class _Beat(NamedTuple):
    """A heartbeat, and what was heard of its worker until then."""

    processed: int
    clock: int | None
    started: int
    heard: int
    outages: int


@dataclass(slots=True)
class _Worker:
    started: int = 0
    heard: int = 0
    first: int | None = None
    """What it had started when we heard its first heartbeat."""
    quiet: bool = False
    """Whether it starts tasks without a word."""
    before: _Beat | None = None
    last: _Beat | None = None


class Gaps:
    """A fold over what is heard; starts may be told up to one heartbeat late."""

    def __init__(self) -> None:
        self.missed = 0
        """Starts of tasks that were not heard; only grows."""
        self._workers: dict[str, _Worker] = {}
        self._outages = 0

    def deaf(self) -> None:
        """Note that we may not have heard everything just now."""
        self._outages += 1

    def hear(self, worker: str, *, started: bool) -> None:
        """One event of a worker."""
        one = self._workers.get(worker)
        if one is None:
            one = self._meet(worker)
        one.heard += 1
        one.started += started

    def beat(self, worker: str, processed: int, clock: int | None) -> bool:
        """A heartbeat, already heard; whether it is of a new process that follows the last one."""
        one = self._workers.get(worker) or self._meet(worker)
        beat = _Beat(processed, clock, one.started, one.heard, self._outages)
        if one.last is not None and processed < one.last.processed:
            self._workers[worker] = _Worker(last=beat._replace(started=0, heard=0))
            return True
        one.first = processed if one.first is None else one.first
        if one.before is not None and one.last is not None:
            self._judge(one, one.before, one.last)
        one.before, one.last = one.last, beat
        return False

    def _meet(self, worker: str) -> _Worker:
        if len(self._workers) >= MOST_WORKERS:
            self._workers.clear()
        one = self._workers[worker] = _Worker()
        return one

    def mute(self) -> dict[str, int]:
        """By worker how many tasks it has started while we listened, without a word of any."""
        return {
            worker: one.last.processed - one.first
            for worker, one in self._workers.items()
            if not one.started and one.last is not None and one.first is not None
            if one.last.processed > one.first
        }

    def forget(self, worker: str) -> None:
        """It is gone."""
        self._workers.pop(worker, None)

    def _judge(self, one: _Worker, before: _Beat, last: _Beat) -> None:
        """What was missed between two heartbeats, as known at the one after."""
        untold = (last.processed - before.processed) - (one.started - before.started)
        if untold <= 0:
            return
        if self._outages == before.outages:
            one.quiet = True
        elif before.started and not one.quiet:
            self.missed += min(untold, max(0, _ticks(before, last)))


def _ticks(before: _Beat, last: _Beat) -> int:
    """By how much the clock went on beyond what was heard."""
    if before.clock is None or last.clock is None:
        return 0
    return (last.clock - before.clock) - (last.heard - before.heard)
