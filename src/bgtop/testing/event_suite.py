# ruff: noqa: S101  # assertions are what a conformance suite is made of
"""What every backend has to hold that tells what happens to jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from bgtop.contracts import Interest
from bgtop.model import Capability
from bgtop.testing.hooks import BackendHooks, needs
from bgtop.testing.waiting import wait_until

if TYPE_CHECKING:
    from bgtop.contracts import Backend
    from bgtop.task_events import EventsReading


class EventSuite(BackendHooks):
    """A part of :class:`bgtop.testing.BackendSuite`."""

    @needs(Capability.EVENTS)
    def test_what_is_done_is_counted_once_it_is_asked_for(self, backend: Backend) -> None:
        """By kinds that are declared; nothing is in flight at rest, and no count goes back."""
        assert backend.poll(Interest()).events is None

        def events() -> EventsReading | None:
            return backend.poll(Interest(events=True)).events

        def done() -> EventsReading | None:
            found = events()
            return found if found and _count(found) and _in_flight(found) == 0 else None

        events()
        with self.telling_worker("alpha"):
            wait_until(events, seconds=self.patience, why="somebody tells")
            self.fill("alpha", 2)
            first = wait_until(done, seconds=self.patience, why="something was done")
            self.fill("alpha", 1)
            last = wait_until(
                lambda: found if _count(found := done()) > _count(first) else None,
                seconds=self.patience,
                why="more was done",
            )

        assert last.since == first.since
        assert last.since.utcoffset() == timedelta(0)
        assert {kind for series in last.series for kind in series.counts} <= last.kinds
        names = [(series.task or "", series.queue or "") for series in last.series]
        assert names == sorted(set(names))


def _count(events: EventsReading | None) -> int:
    series = () if events is None else events.series
    return sum(sum(one.counts.values()) for one in series)


def _in_flight(events: EventsReading) -> int:
    return sum(one.in_flight or 0 for one in events.series)
