"""When old jobs are deleted: in small steps, between which everybody else has a turn."""

from __future__ import annotations

from bgworker.clock import Clock
from bgworker.contracts import Engine
from bgworker.errors import QueueUnavailable
from bgworker.log import Log

DEFAULT_RETENTION_DAYS = 30.0
DEFAULT_INTERVAL_HOURS = 1.0
_BREATH = 0.02
"""Seconds between two steps: a tenth of the writer's lock at most."""
_DAY = 86_400_000  # ms


class Upkeep:
    """The cleaning of one worker; ``due`` is an instant of the monotonic clock."""

    def __init__(
        self,
        engine: Engine,
        log: Log,
        clock: Clock,
        *,
        retention_days: float | None = DEFAULT_RETENTION_DAYS,
        interval_hours: float = DEFAULT_INTERVAL_HOURS,
    ) -> None:
        self._engine = engine
        self._log = log
        self._clock = clock
        self._kept = None if retention_days is None else round(retention_days * _DAY)
        self._interval = interval_hours * 3600
        self._deleted = 0
        self._began = 0.0
        self.due = clock.monotonic() if self._kept is not None else float("inf")

    def step(self) -> None:
        """One step, if it is time for one; the last of a cleaning that found something is told."""
        now = self._clock.monotonic()
        if now < self.due or self._kept is None:
            return
        if not self._deleted:
            self._began = now
        try:
            deleted = self._engine.expire(self._clock.now() - self._kept)
        except QueueUnavailable:  # the worker tells by itself, and tries again sooner than this
            self.due = now + 60
            return
        if deleted:
            self._deleted += deleted
            self.due = self._clock.monotonic() + _BREATH
            return
        if self._deleted:
            self._log.emit("cleanup", deleted=self._deleted, duration=now - self._began)
        self._deleted = 0
        self.due = now + self._interval
