"""A worker's part in running schedules: when to ask the engine, and what to tell of it."""

from __future__ import annotations

from bgworker.clock import Clock, iso
from bgworker.contracts import Engine, Membership
from bgworker.log import Log
from bgworker.model import Millis


class Scheduler:
    """Knows when the next tick is due, and asks for nothing before: idle, no table is read."""

    def __init__(self, engine: Engine, seat: Membership, log: Log, clock: Clock) -> None:
        self._engine = engine
        self._seat = seat
        self._log = log
        self._clock = clock
        self._next_at: Millis | None = None
        self._outdated = True
        self._seen = clock.now()

    def look_again(self) -> None:
        """Somebody wrote to the queue: the next tick may be another one."""
        self._outdated = True

    def is_due(self) -> bool:
        """Whether :meth:`run` has something to do: also after the wall clock was put back."""
        now = self._clock.now()
        self._outdated = self._outdated or now < self._seen
        self._seen = now
        return self._outdated or (self._next_at is not None and self._next_at <= now)

    def run(self) -> bool:
        """Have the engine enqueue what is due; whether it did.

        Raises:
            QueueUnavailable: the queue cannot be written now.
        """
        fired = self._engine.fire(self._seat)
        self._outdated = False
        self._next_at = fired.next_at
        for tick in fired.ticks:
            said = {"schedule": tick.expression, "fire_at": iso(tick.fire_at)}
            self._log.emit("cron_enqueued", tick.task, tick.job, **said)
        return bool(fired.ticks)

    def patience(self) -> float | None:
        """Seconds until the next tick, if there is one."""
        return None if self._next_at is None else (self._next_at - self._clock.now()) / 1000
