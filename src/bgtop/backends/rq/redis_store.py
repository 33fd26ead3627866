"""The RQ backend: one poll is four round trips.

Looking at single jobs, tasks or schedules adds up to four each while somebody does.

First the names of workers and queues, and which keys exist; then the workers, who name queues too;
then the numbers of each queue; then what single jobs tell: when they were put in, when they ran.
Each module asks its part of a trip: :mod:`names` and :mod:`queues`, :mod:`workers`, and
:mod:`scheduler` for the jobs of rq-scheduler. All state belongs to the thread that polls.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from hiredis import ReplyError

from bgtop.actions import Verb
from bgtop.backends.local_processes import LocalProcesses
from bgtop.backends.raw_names import labels
from bgtop.backends.redis_errors import code_of, refused_command
from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.redis_search import first_steps
from bgtop.backends.rq.names import MOST_QUEUES, Search
from bgtop.backends.rq.queues import Queues
from bgtop.backends.rq.scheduler import SchedulerJobs
from bgtop.backends.rq.troubles import Troubles
from bgtop.backends.rq.verbs import WHY_NOT
from bgtop.backends.rq.wire import QUEUE, QUEUES, SUSPENDED, WORKERS
from bgtop.backends.rq.workers import Shown, Workers
from bgtop.contracts import Interest, NotPermitted
from bgtop.model import BackendInfo, Capability, JobList, QueueReading, Reading
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from bgtop.actions import Action, Outcome
    from bgtop.backends.redis_connection import Reply, Request
    from bgtop.backends.redis_link import Part
    from bgtop.backends.redis_search import Command
    from bgtop.backends.redis_url import RedisAddress
    from bgtop.backends.rq.queues import Row
    from bgtop.backends.rq.tasks import Figures
    from bgtop.backends.worker_sums import WorkerSums
    from bgtop.contracts import Settings
    from bgtop.model import Finding


COMMANDS_PER_TRIP = 50_000
"""All questions about the queues of one trip, and then some. The answers are short."""

_PACKED_AT_ONCE = 500
_TOO_MANY = f"there are more than {MOST_QUEUES:,} queues: some are left out"

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
        Capability.WORKER_LIST,
        Capability.HEARTBEATS,
        Capability.CURRENT_TASKS,
        Capability.JOBS,
        Capability.TASK_TYPES,
        Capability.SCHEDULES,
        Capability.EVENTS,
    }
)


class _Known:
    """What the first trip tells: the server's clock, and names."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds since the epoch, by the server's clock if it may be asked."""
        self.paused: bool | None = None
        self.queues: tuple[bytes, ...] = ()
        self.workers: list[bytes] = []
        self._listed = 0
        self._nameless = 0

    def commands(self) -> list[Command]:
        return [("TIME",), ("EXISTS", SUSPENDED), ("SMEMBERS", QUEUES), ("SMEMBERS", WORKERS)]

    def absorb(self, replies: Sequence[Reply], troubles: Troubles) -> None:
        clock, suspended, queues, workers = replies
        self.now = time.time()
        match clock:
            case [bytes(seconds), bytes(micros)]:
                self.now = int(seconds) + int(micros) / 1_000_000
        number = troubles.number(SUSPENDED, suspended)
        self.paused = None if number is None else number > 0
        if isinstance(queues, ReplyError) and code_of(queues) == "NOPERM":
            command = refused_command(queues)
            by = f" (not permitted: {command})" if command else ""
            raise NotPermitted(f"the server does not let us read the key 'rq:queues'{by}")
        keys = troubles.members(QUEUES, queues) or []
        # Ten thousand names would be in memory twice.
        digest = hash(tuple(keys))
        if digest != self._listed:
            self._listed = digest
            found = (key[len(QUEUE) :] for key in keys if key.startswith(QUEUE))
            self.queues = tuple(name for name in found if name)
            self._nameless = len(keys) - len(self.queues)
        if self._nameless:
            troubles.say(f"{self._nameless} members of 'rq:queues' name no queue")
        self.workers = troubles.members(WORKERS, workers) or []


class _Shared(NamedTuple):
    """What all queues are read with: ten thousand rows are built anew only where one changed."""

    paused: bool | None
    consumers: Mapping[bytes, int] | None
    delayed: Mapping[bytes, int] | None
    lost: Mapping[bytes, int]

    def reading(self, row: Row, label: str, now: float) -> QueueReading:
        """What is shown of one queue; ``now`` in seconds since the epoch."""
        name = row.name
        row.changed = False
        row.reading = QueueReading(
            name=label,
            depth=row.depth,
            scheduled=_sum(
                row.scheduled, None if self.delayed is None else self.delayed.get(name, 0)
            ),
            deferred=row.deferred,
            running=_less(row.running, self.lost.get(name, 0)),
            failed=row.failed,
            oldest=row.oldest(now),
            runtime_mean_seconds=row.runtime_mean_seconds,
            last_completed_at=row.last_completed_at,
            consumers=None if self.consumers is None else self.consumers.get(name, 0),
            paused=self.paused,
            malformed=row.malformed,
        )
        return row.reading


class RqOnRedis:
    """Implements :class:`bgtop.contracts.Backend`; polls with read-only commands."""

    def __init__(self, address: RedisAddress, settings: Settings) -> None:
        self.info = BackendInfo(
            system="rq",
            broker="redis",
            url=address.url,
            capabilities=CAPABILITIES,
            verbs=frozenset(Verb) - WHY_NOT.keys(),
        )
        self._link = RedisLink(
            address,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
        )
        self._search = Search(settings.shared)
        self._scheduler = SchedulerJobs()
        self._queues = Queues()
        self._known = _Known()
        self._shared: _Shared | None = None
        self._shown: dict[bytes, Shown] = {}
        self._asked_workers: tuple[int, Sequence[Request]] = 0, ()
        self._processes = LocalProcesses("rq")
        self._labels: Mapping[bytes, str] = {}
        self._told: tuple[Collection[bytes], ...] = (), (), ()
        self._with_commas: list[bytes] = []
        self._served: set[bytes] = set()
        self._are_too_many = False

    @cached_property
    def _sums(self) -> WorkerSums:
        from bgtop.backends.worker_sums import WorkerSums

        return WorkerSums()

    def close(self) -> None:
        """Free the connection; safe from another thread, twice, and during a poll."""
        self._link.close()

    def poll(self, interest: Interest) -> Reading:
        """One look; raises :class:`bgtop.contracts.BackendError`."""
        before = self._link.round_trips, self._link.commands
        if not self._link.connected:
            self._search.start_over()
        self._search.listen()
        for _ in first_steps(lambda: self._search.is_done_asking, time.monotonic()):
            self._ask()
        taken_at = datetime.now(timezone.utc)
        troubles, known, workers = Troubles(), self._known, Workers(self._shown)
        self._look(troubles, known, workers)
        queues, totals = self._queue_readings(troubles, known, workers)
        self._explain(troubles)
        reading = Reading(
            taken_at=taken_at,
            queues=queues,
            workers=self._processes.measured(workers.readings(), time.monotonic()),
            totals=totals,
            broker_version=self._link.version,
            warnings=troubles.lines(),
            complete=self._search.complete and not self._scheduler.pending,
        )
        if interest.events:
            reading = replace(reading, events=self._sums.look(reading.workers, taken_at))
        if interest.checkup:
            reading = replace(reading, findings=self._checked(known))
        if interest.jobs is not None or interest.task_types or interest.schedules:
            reading = self._looked_inside(reading, interest, known.now)
        return replace(
            reading,
            round_trips=self._link.round_trips - before[0],
            commands=self._link.commands - before[1],
        )

    def perform(self, action: Action, /) -> Outcome:
        """Do this by scripts and commands of RQ's; raises what :mod:`control` raises."""
        from bgtop.backends.rq import control

        acting = control.Control(self._link)
        acting.check(action)
        if not self._labels:
            self.poll(Interest())  # which queues there are
        return acting.perform(action, self._labels)

    # What only a look inside or an action needs is loaded for it: watching does without.

    @cached_property
    def _figures(self) -> Figures:
        from bgtop.backends.rq.tasks import Figures

        return Figures()

    def _checked(self, known: _Known) -> tuple[Finding, ...]:
        from bgtop.backends.rq.checkup import findings

        rows = sorted(self._queues.rows, key=lambda row: not row.holds_jobs)
        names = [row.name for row in rows]
        return tuple(findings(self._exchange, self.info.url, names, known.workers, known.now))

    def _looked_inside(self, reading: Reading, interest: Interest, now: float) -> Reading:
        from bgtop.backends.rq import jobs
        from bgtop.backends.rq.schedules import schedules
        from bgtop.backends.rq.whole import whole

        ask, query, found = self._exchange, interest.jobs, None
        # Not all of ten thousand queues are looked into: those first that hold jobs.
        rows = sorted(self._queues.rows, key=lambda row: not row.holds_jobs)
        labels = {row.name: self._labels[row.name] for row in rows}
        if query is not None and query.id is not None:
            found = JobList(query=query, rows=whole(ask, query.id, labels))
        elif query is not None:
            delayed = self._scheduler.firsts(query, labels)
            found = jobs.JobLook(ask, query, labels, now).rows(delayed)
        wanted, workers = interest.task_types, reading.workers
        types = self._figures.readings(ask, [*labels], workers) if wanted else None
        clock = schedules(ask, now) if interest.schedules else None
        return replace(reading, jobs=found, task_types=types, schedules=clock)

    def _exchange(self, commands: Sequence[Command]) -> list[Reply]:
        return self._link.exchange(pack(*commands)) if commands else []

    def _look(self, troubles: Troubles, known: _Known, workers: Workers) -> None:
        """The four trips."""
        queues, scheduler = self._queues, self._scheduler
        self._ask(
            _part(known.commands(), lambda replies: known.absorb(replies, troubles)),
            _part(scheduler.commands(), lambda replies: scheduler.absorb(replies, troubles)),
            *queues.presence(),
        )
        workers.learn(known.workers, troubles)
        self._ask(
            (self._about(workers), lambda replies: workers.absorb(replies, troubles)),
            _part(scheduler.origin_commands(), scheduler.absorb_origins),
        )
        if self._plan(known, workers, troubles):
            self._link.ask(*queues.presence(), at_once=COMMANDS_PER_TRIP)
        self._ask(
            *queues.parts(known.now),
            _part(
                workers.job_commands(known.now),
                lambda replies: workers.absorb_jobs(replies, troubles),
            ),
        )
        queues.settle(troubles)
        self._ask(
            _part(queues.job_commands(), lambda replies: queues.absorb_jobs(replies, troubles)),
            _part(workers.last_commands(), workers.absorb_last),
        )

    def _about(self, workers: Workers) -> Sequence[Request]:
        """The questions about workers, packed anew where they are others than at the last poll."""
        if self._asked_workers[0] != workers.questions:
            self._asked_workers = workers.questions, _packed(workers.commands())
        return self._asked_workers[1]

    def _ask(self, *parts: Part) -> None:
        """One trip for all parts, and for the next step of the search for queues."""
        tick = time.monotonic()
        step = self._search.commands(tick)
        search = _part(step, lambda replies: self._search.learn(replies, tick))
        self._link.ask(*parts, search, at_once=COMMANDS_PER_TRIP)

    def _plan(self, known: _Known, workers: Workers, troubles: Troubles) -> bool:
        """Decide which queues are measured, in the order in which they are shown; whether anew."""
        told = known.queues, self._search.found, self._scheduler.queues
        # Ten thousand names are put together only where one of these is another than it was.
        news = any(one is not before for one, before in zip(told, self._told, strict=True))
        if news:
            self._told = told
            self._with_commas = [name for names in told for name in names if b"," in name]
        served = workers.read_queues(self._with_commas)
        if news or served != self._served:
            self._served = served
            return self._measure_all({*served, *told[0], *told[1], *told[2]}, troubles)
        if self._are_too_many:
            troubles.say(_TOO_MANY)
        return False

    def _measure_all(self, names: set[bytes], troubles: Troubles) -> bool:
        self._are_too_many = len(names) > MOST_QUEUES
        if self._are_too_many:
            troubles.say(_TOO_MANY)
            names = set(sorted(names)[:MOST_QUEUES])
        if names == self._labels.keys():
            return False
        self._labels = labels(names)
        self._queues.plan(sorted(names, key=self._labels.__getitem__))
        return True

    def _queue_readings(
        self, troubles: Troubles, known: _Known, workers: Workers
    ) -> tuple[tuple[QueueReading, ...], dict[str, int]]:
        delayed = self._scheduler.by_queue(troubles)
        shared = _Shared(known.paused, workers.consumers(), delayed, workers.lost)
        same, self._shared = shared == self._shared, shared
        now, shown = known.now, []
        for row in self._queues.rows:
            reading = row.reading
            if reading is None or row.changed or not same:
                reading = shared.reading(row, self._labels[row.name], now)
            elif reading.oldest is not None:
                reading = row.reading = reading.aged(row.oldest(now))
            shown.append(reading)
        readings = tuple(shown)
        if delayed is not None or self._scheduler.total is None:
            return readings, {}
        registered = sum(row.scheduled or 0 for row in self._queues.rows)
        return readings, {"scheduled": registered + self._scheduler.total}

    def _explain(self, troubles: Troubles) -> None:
        if not self._search.complete:
            troubles.say(f"still looking for queues nobody announced: {self._search.progress}")
        if self._search.refusal is not None:
            troubles.say("queues nobody announced are missing: we may not list the server's keys")
        # Without TIME the clock of this machine does.
        for line in self._link.not_permitted("TIME"):
            troubles.say(line)


def _part(commands: Iterable[Command], absorb: Callable[[Sequence[Reply]], object]) -> Part:
    return _packed(commands), absorb


def _packed(commands: Iterable[Command]) -> Sequence[Request]:
    """In pieces, so that the words of thousands are not in memory beside their bytes."""
    rest = iter(commands)
    return [pack(*some) for some in iter(lambda: [*islice(rest, _PACKED_AT_ONCE)], [])]


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


def _less(running: int | None, lost: int) -> int | None:
    """Started jobs, less those whose worker is dead: RQ keeps them for up to 90 s."""
    return None if running is None else max(0, running - lost)
