"""The Celery backend for RabbitMQ: one poll is two round trips, or one without management API."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bgtop.backends.celery.event_demand import events_on_rabbit
from bgtop.backends.celery.rabbit_actions import answer, perform
from bgtop.backends.celery.rabbit_mailbox import mailboxes_of
from bgtop.backends.celery.rabbit_workers import Workers
from bgtop.backends.celery.verbs import ON_RABBITMQ, WITH_RESULTS, unsupported
from bgtop.backends.local_processes import LocalProcesses
from bgtop.backends.rabbit_queues import (
    DRAMATIQ,
    holds_delayed_tasks,
    is_brokers_own,
    is_celerys_own,
    mailbox_of,
    node_of,
    systems_of,
)
from bgtop.backends.rabbit_watch import Watch
from bgtop.contracts import Interest
from bgtop.model import BackendInfo, Capability, JobList, QueueReading, Reading, WorkerReading
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bgtop.actions import Action, Outcome
    from bgtop.backends.celery.options import Options
    from bgtop.backends.celery.rabbit_mailbox import RabbitMailbox
    from bgtop.backends.celery.task_results import Results
    from bgtop.backends.rabbit_queues import ListedQueue
    from bgtop.backends.rabbit_url import RabbitAddress
    from bgtop.backends.rabbit_watch import Look, SeenQueue
    from bgtop.contracts import Settings

ALWAYS = frozenset(
    {
        Capability.DEPTH,
        Capability.CONSUMERS,
        Capability.WORKERS,
        Capability.HEARTBEATS,
        Capability.EVENTS,
    }
)
WITH_MANAGEMENT = ALWAYS | {Capability.UNACKED}

DEFAULT_QUEUE = "celery"
DELAYS = tuple(f"celery_delayed_{level}" for level in range(28))
"""Celery declares all of them together, so any one tells of all."""


class CeleryOnRabbit:
    """Implements :class:`bgtop.contracts.Backend`; watching, it writes its own event queue only."""

    def __init__(
        self, address: RabbitAddress, settings: Settings, options: Options | None = None
    ) -> None:
        self._watch = Watch(address, settings, guesses=(DEFAULT_QUEUE, DELAYS[-1]))
        self._workers = Workers(self._watch.link)
        self._events = events_on_rabbit(address, settings)
        self._dead_after = settings.dead_after
        self._processes = LocalProcesses("celery")
        self._results = _results(options, settings)
        self._ask_workers = options is not None and options.ask_workers
        self._mailboxes: tuple[str, ...] | None = None
        """The queues of all workers, where they can be listed."""
        self._has_delays = False
        self._polled = False
        self.info = self._describe()

    def _describe(self) -> BackendInfo:
        """What can be told, as the first look found it."""
        capabilities = WITH_MANAGEMENT if self._watch.has_management else ALWAYS
        if self._has_delays:
            capabilities |= {Capability.SCHEDULED}
        verbs = ON_RABBITMQ
        if self._results is not None or self._ask_workers:
            capabilities |= {Capability.JOBS}
        if self._results is not None:
            verbs |= WITH_RESULTS
        address = self._watch.address
        return BackendInfo(
            system="celery",
            broker="rabbitmq",
            url=address.url,
            capabilities=capabilities,
            verbs=verbs,
        )

    def close(self) -> None:
        """Free all connections; safe from another thread, twice, and during a poll."""
        self._watch.close()
        self._events.close()
        if self._results is not None:
            self._results.close()

    def poll(self, interest: Interest) -> Reading:
        """One look; raises :class:`bgtop.contracts.BackendError`."""
        before, workers = self._spent, self._workers
        tick, now = time.monotonic(), time.time()
        workers.drain(now)
        look = self._watch.look(
            tick, lambda queues: _chosen(queues, interest.internal), workers.probes(now, tick)
        )
        mailboxes = [queue.name for queue in look.queues if queue.exclusive]
        names = (queue.name for queue in look.queues)
        self._mailboxes = tuple(filter(node_of, names)) if look.listed else None
        workers.absorb(look, mailboxes, now, tick)
        anyone = bool(mailboxes) or any(queue.consumers for queue in look.queues)
        workers.listen(now, tick, anyone)
        scheduled, all_counted = self._scheduled(look)
        if not self._polled:
            self._polled = True
            self.info = self._describe()
        events = self._events.answer(interest.events, tick)
        warnings = look.warnings + workers.troubles + self._events.troubles
        jobs, more = self._look_inside(interest)
        spent = self._spent
        return Reading(
            taken_at=datetime.fromtimestamp(now, timezone.utc),
            queues=tuple(self._readings(look.queues, interest.internal)),
            workers=self._processes.measured(workers.readings(now, self._dead_after), tick),
            totals={} if scheduled is None else {"scheduled": scheduled},
            broker_version=self._watch.link.version,
            round_trips=spent[0] - before[0],
            commands=spent[1] - before[1],
            warnings=warnings + more,
            complete=workers.is_sure(tick, anyone) and all_counted,
            counted=all_counted,
            jobs=jobs,
            events=events,
            told=self._events.told(interest.told),
            findings=self._events.findings(tick) if interest.checkup else (),
        )

    def _look_inside(self, interest: Interest) -> tuple[JobList | None, tuple[str, ...]]:
        """The jobs asked for, where there is anybody to ask, and what kept some from being told."""
        if interest.jobs is None or (self._results is None and not self._ask_workers):
            return None, ()
        return answer(
            interest.jobs, self._results, self._mailboxes_now() if self._ask_workers else []
        )

    @property
    def _spent(self) -> tuple[int, int]:
        round_trips, commands = self._watch.spent
        if self._results is not None:
            link = self._results.link
            return round_trips + link.round_trips, commands + link.commands
        return round_trips, commands

    def perform(self, action: Action) -> Outcome:
        """Carry out an action; raises :class:`bgtop.contracts.BackendError`."""
        if action.verb not in self.info.verbs:
            raise unsupported(action)
        from bgtop.backends.celery.steering import Crew

        reading = self._knowing(getattr(action, "worker", None), self.poll(Interest()))
        crew = Crew(self._mailboxes_now(), reading, self._dead_after)
        return perform(action, self._watch.link, crew, self._results)

    def _knowing(self, worker: str | None, reading: Reading) -> Reading:
        """With a worker that nothing lists and nobody heard yet, if its mailbox is there."""
        known = {one.name for one in reading.workers}
        if worker is None or worker in known or self._mailboxes is not None:
            return reading
        box = mailbox_of(worker)
        sizes = self._watch.link.sizes([], [box])
        refused = sizes.refused.get(box)
        if box in sizes.found or (refused is not None and not refused.missing):
            more = WorkerReading(name=worker)
            return replace(reading, workers=(*reading.workers, more))
        return replace(reading, complete=True)

    def _mailboxes_now(self) -> list[RabbitMailbox]:
        return mailboxes_of(self._watch.link, self._mailboxes)

    def _scheduled(self, look: Look) -> tuple[int | None, bool]:
        """Tasks the broker keeps until they are due, and whether all its queues were looked at.

        ``None`` where it does not keep them.
        """
        counts = [queue.ready for queue in look.queues if holds_delayed_tasks(queue.name)]
        if not counts:
            return None, True
        if not self._has_delays:
            self._has_delays = True
            self._watch.suspect(DELAYS)
            if not look.listed:
                return None, False  # only the one that was guessed has been asked for
        known = [count for count in counts if count is not None]
        return (sum(known) if len(known) == len(counts) else None), True

    def _readings(self, queues: Iterable[SeenQueue], internal: bool) -> Iterable[QueueReading]:
        for queue in queues:
            own = queue.exclusive or queue.holds_results or is_celerys_own(queue.name)
            if internal or not own:
                yield QueueReading(
                    name=queue.name,
                    depth=queue.ready,
                    unacked=queue.unacked if self._watch.has_management else None,
                    consumers=queue.consumers,
                    internal=own,
                )


def _results(options: Options | None, settings: Settings) -> Results | None:
    """The results of tasks, where the address names them and they are on Redis."""
    if options is None or options.result_backend is None:
        return None
    from bgtop.backends.celery.task_results import Results
    from bgtop.backends.redis_link import RedisLink

    link = RedisLink(
        options.result_backend,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
    )
    return Results(link, own=True)


def _chosen(queues: list[ListedQueue], internal: bool) -> list[ListedQueue]:
    """Celery's queues and those nobody else claims; of its own ones what is needed to know more."""
    systems = systems_of(queues)
    return [
        queue
        for queue in queues
        if systems[queue.name] != DRAMATIQ
        and (
            internal
            or node_of(queue.name) is not None
            or holds_delayed_tasks(queue.name)
            or not (is_celerys_own(queue.name) or is_brokers_own(queue))
        )
    ]
