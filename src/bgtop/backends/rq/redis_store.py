"""The RQ backend: one poll is four round trips, whatever Redis holds.

First the names of workers and queues; then the workers, who name queues too; then the numbers of
each queue; then what single jobs tell: when they were put in, when they ran. Each module asks its
part of a trip: :mod:`names` and :mod:`queues`, :mod:`workers`, and :mod:`scheduler` for the jobs of
rq-scheduler. All state belongs to the thread that polls.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.raw_names import labels
from bgtop.backends.redis_errors import code_of
from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.rq.names import MOST_QUEUES, Search
from bgtop.backends.rq.queues import Queues
from bgtop.backends.rq.scheduler import SchedulerJobs
from bgtop.backends.rq.troubles import Troubles
from bgtop.backends.rq.wire import QUEUE, QUEUES, SUSPENDED, WORKERS
from bgtop.backends.rq.workers import Workers
from bgtop.contracts import NotPermitted
from bgtop.model import BackendInfo, Capability, QueueReading, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_link import Part
    from bgtop.backends.redis_search import Command
    from bgtop.backends.redis_url import RedisAddress
    from bgtop.backends.rq.queues import Row
    from bgtop.contracts import Interest, Settings


COMMANDS_PER_TRIP = 50_000
"""All questions about the queues of one trip, and then some. The answers are short."""

CAPABILITIES = frozenset(
    {
        Capability.DEPTH,
        Capability.SCHEDULED,
        Capability.DEFERRED,
        Capability.RUNNING,
        Capability.FAILED,
        Capability.OLDEST_AGE,
        Capability.RUNTIME,
        Capability.LAST_COMPLETED,
        Capability.CONSUMERS,
        Capability.WORKERS,
        Capability.HEARTBEATS,
        Capability.CURRENT_TASKS,
    }
)


class _Known:
    """What the first trip tells: the server's clock, and names."""

    def __init__(self) -> None:
        self.now = time.time()
        """Seconds since the epoch, by the server's clock if it may be asked."""
        self.paused: bool | None = None
        self.queues: set[bytes] = set()
        self.workers: list[bytes] = []

    def commands(self) -> list[Command]:
        return [("TIME",), ("EXISTS", SUSPENDED), ("SMEMBERS", QUEUES), ("SMEMBERS", WORKERS)]

    def absorb(self, replies: Sequence[Reply], troubles: Troubles) -> None:
        clock, suspended, queues, workers = replies
        match clock:
            case [bytes(seconds), bytes(micros)]:
                self.now = int(seconds) + int(micros) / 1_000_000
        number = troubles.number(SUSPENDED, suspended)
        self.paused = None if number is None else number > 0
        if isinstance(queues, ReplyError) and code_of(queues) == "NOPERM":
            raise NotPermitted("the server does not let us read the key 'rq:queues'")
        keys = troubles.members(QUEUES, queues) or []
        self.queues = {key[len(QUEUE) :] for key in keys if key.startswith(QUEUE)} - {b""}
        if len(self.queues) < len(keys):
            troubles.say(f"{len(keys) - len(self.queues)} members of 'rq:queues' name no queue")
        self.workers = troubles.members(WORKERS, workers) or []


class RqOnRedis:
    """Implements :class:`bgtop.contracts.Backend` with read-only commands."""

    def __init__(self, address: RedisAddress, settings: Settings) -> None:
        self.info = BackendInfo(
            system="rq", broker="redis", url=address.url, capabilities=CAPABILITIES
        )
        self._link = RedisLink(
            address,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
        )
        self._search = Search()
        self._scheduler = SchedulerJobs()
        self._queues = Queues()
        self._planned: frozenset[bytes] = frozenset()
        self._labels: Mapping[bytes, str] = {}

    def close(self) -> None:
        """Free the connection; safe from another thread, twice, and during a poll."""
        self._link.close()

    def poll(self, interest: Interest) -> Reading:
        """One look; raises :class:`bgtop.contracts.BackendError`."""
        del interest  # RQ keeps no queues of its own
        before = self._link.round_trips, self._link.commands
        if not self._link.connected:
            self._search.start_over()
        taken_at = datetime.now(timezone.utc)
        troubles, known, workers = Troubles(), _Known(), Workers()
        self._look(troubles, known, workers)
        queues, totals = self._queue_readings(troubles, known, workers)
        self._explain(troubles)
        return Reading(
            taken_at=taken_at,
            queues=queues,
            workers=tuple(workers.readings()),
            totals=totals,
            broker_version=self._link.version,
            round_trips=self._link.round_trips - before[0],
            commands=self._link.commands - before[1],
            warnings=troubles.lines(),
            complete=self._search.complete and not self._scheduler.pending,
        )

    def _look(self, troubles: Troubles, known: _Known, workers: Workers) -> None:
        """The four trips."""
        queues, scheduler = self._queues, self._scheduler
        self._ask(
            _part(known.commands(), lambda replies: known.absorb(replies, troubles)),
            _part(scheduler.commands(), lambda replies: scheduler.absorb(replies, troubles)),
        )
        workers.learn(known.workers, troubles)
        self._ask(
            _part(workers.commands(), lambda replies: workers.absorb(replies, troubles)),
            _part(scheduler.origin_commands(), scheduler.absorb_origins),
        )
        self._plan(known, workers, troubles)
        self._ask(
            (queues.requests(known.now), lambda replies: queues.absorb(replies, troubles)),
            _part(
                workers.job_commands(known.now),
                lambda replies: workers.absorb_jobs(replies, troubles),
            ),
        )
        self._ask(
            _part(queues.job_commands(), lambda replies: queues.absorb_jobs(replies, troubles)),
            _part(workers.last_commands(), workers.absorb_last),
        )
        queues.tell_spans()

    def _ask(self, *parts: Part) -> None:
        """One trip for all parts, and for the next step of the search for queues."""
        tick = time.monotonic()
        step = self._search.commands(tick)
        search = _part(step, lambda replies: self._search.learn(replies, tick))
        self._link.ask(*parts, search, at_once=COMMANDS_PER_TRIP)

    def _plan(self, known: _Known, workers: Workers, troubles: Troubles) -> None:
        """Decide which queues are measured, in the order in which they are shown."""
        names = {*known.queues, *self._search.found, *self._scheduler.queues}
        names |= workers.read_queues(names)
        if len(names) > MOST_QUEUES:
            troubles.say(f"there are more than {MOST_QUEUES:,} queues: some are left out")
            names = set(sorted(names)[:MOST_QUEUES])
        if names != self._planned:
            self._planned = frozenset(names)
            self._labels = labels(names)
            self._queues.plan(sorted(names, key=self._labels.__getitem__))

    def _queue_readings(
        self, troubles: Troubles, known: _Known, workers: Workers
    ) -> tuple[tuple[QueueReading, ...], dict[str, int]]:
        consumers, delayed = workers.consumers(), self._scheduler.by_queue(troubles)
        readings = tuple(
            QueueReading(
                name=self._labels[row.name],
                depth=row.numbers.depth,
                scheduled=_sum(
                    row.numbers.scheduled, None if delayed is None else delayed.get(row.name, 0)
                ),
                deferred=row.numbers.deferred,
                running=_less(row, workers.lost),
                failed=row.numbers.failed,
                oldest=row.oldest(known.now),
                runtime_mean_seconds=row.runtime_mean_seconds,
                last_completed_at=row.last_completed_at,
                consumers=None if consumers is None else consumers.get(row.name, 0),
                paused=known.paused,
            )
            for row in self._queues.rows
        )
        if delayed is not None or self._scheduler.total is None:
            return readings, {}
        registered = sum(row.numbers.scheduled or 0 for row in self._queues.rows)
        return readings, {"scheduled": registered + self._scheduler.total}

    def _explain(self, troubles: Troubles) -> None:
        if not self._search.complete:
            troubles.say(f"still looking for queues nobody announced: {self._search.progress}")
        if self._search.refusal is not None:
            troubles.say("queues nobody announced are missing: we may not list the server's keys")


def _part(commands: Sequence[Command], absorb: Callable[[Sequence[Reply]], object]) -> Part:
    return [pack(*commands)] if commands else [], absorb


def _sum(*numbers: int | None) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _less(row: Row, lost: Mapping[bytes, int]) -> int | None:
    """Started jobs, less those whose worker is dead: RQ keeps them for up to 90 s."""
    running = row.numbers.running
    return None if running is None else max(0, running - lost.get(row.name, 0))
