"""The Celery backend for Redis: one poll is one to three round trips, whatever the broker holds.

The state is split by what it knows: :mod:`discovery` and its catalog the names, :mod:`depths` the
waiting messages, :mod:`ages` how long they wait, :mod:`deliveries` the unacknowledged ones,
:mod:`redelivery` whether some of these come back, :mod:`heartbeats` the workers. All of it belongs
to the thread that polls.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING

from bgtop.backends.celery.ages import Ages
from bgtop.backends.celery.catalog import Catalog
from bgtop.backends.celery.deliveries import Deliveries, told_apart
from bgtop.backends.celery.depths import Depths
from bgtop.backends.celery.discovery import Discovery
from bgtop.backends.celery.event_demand import events_on_redis
from bgtop.backends.celery.heartbeats import Listener
from bgtop.backends.celery.options import Options
from bgtop.backends.celery.redelivery import Redelivery
from bgtop.backends.celery.rows import Found, Row, Rows, refusals_in_words
from bgtop.backends.celery.verbs import ON_REDIS, unsupported
from bgtop.backends.local_processes import LocalProcesses
from bgtop.backends.redis_link import RedisLink, RedisSubscription, pack
from bgtop.backends.redis_search import first_steps
from bgtop.contracts import Absent, Interest
from bgtop.model import Age, AgeKind, BackendInfo, Capability, Reading
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bgtop.actions import Action, Outcome
    from bgtop.backends.celery.checkup import Checkup
    from bgtop.backends.celery.completions import Completions
    from bgtop.backends.celery.deliveries import Split
    from bgtop.backends.celery.redbeat import RedBeat
    from bgtop.backends.celery.redis_jobs import Jobs
    from bgtop.backends.celery.redis_mailbox import RedisMailbox
    from bgtop.backends.celery.stored_messages import Head
    from bgtop.backends.celery.task_results import Results
    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_link import Part
    from bgtop.backends.redis_url import RedisAddress
    from bgtop.contracts import Settings
    from bgtop.model import Finding, JobList, QueueReading, ScheduleReading


CAPABILITIES = frozenset(
    {
        Capability.DEPTH,
        Capability.PRIORITIES,
        Capability.UNACKED,
        Capability.SCHEDULED,
        Capability.OLDEST_AGE,
        Capability.WORKERS,
        Capability.HEARTBEATS,
        Capability.JOBS,
        Capability.EVENTS,
    }
)

SECONDS_TO_FIND_QUEUES = 5.0
"""How long an action waits until all queues have been found once."""


class CeleryOnRedis:
    """Implements :class:`bgtop.contracts.Backend`; only ``perform`` writes."""

    def __init__(
        self, address: RedisAddress, settings: Settings, options: Options | None = None
    ) -> None:
        options = options or Options()
        results = options.result_backend
        told = set() if results is None else {Capability.LAST_COMPLETED}
        told |= set() if options.redbeat_key_prefix is None else {Capability.SCHEDULES}
        self.info = BackendInfo(
            system="celery",
            broker="redis",
            url=address.url,
            capabilities=CAPABILITIES | told,
            verbs=ON_REDIS,
        )
        waits = {"connect_timeout": settings.connect_timeout, "read_timeout": settings.read_timeout}
        self._link = RedisLink(address, **waits)
        self._channels = RedisSubscription(address, **waits)
        self._dead_after = settings.dead_after
        self._catalog = catalog = Catalog()
        self._discovery = Discovery(catalog, settings.shared)
        topic = self._event_topic = options.event_topic(address.db)
        self._listener = Listener(self._channels, topic)
        self._checkup_link = RedisSubscription(address, **waits)
        self._events = events_on_redis(address, topic, settings, catalog)
        self._completions = None if results is None else _completions(results, settings, catalog)
        self._results_link = None if results is None else RedisLink(results, **waits)
        self._topic = options.topic(address.db)
        self._ask_workers = options.ask_workers
        self._schedule_key = options.schedule_key
        self._has_schedule = None if options.redbeat_key_prefix is None else True
        self._processes = LocalProcesses("celery")
        self._depths, self._ages = Depths(), Ages()
        self._visibility_timeout = options.visibility_timeout
        self._deliveries: dict[bytes, Deliveries] = {}
        self._redelivery: dict[bytes, Redelivery] = {}
        self._planned: tuple[int, bool] | None = None
        self._shown = Rows()
        self._news = False

    def close(self) -> None:
        """Free all connections; safe from another thread, twice, and during a poll."""
        self._link.close()
        self._channels.close()
        self._checkup_link.close()
        self._events.close()
        if self._results_link is not None:
            self._results_link.close()
        if self._completions is not None:
            self._completions.link.close()

    def poll(self, interest: Interest) -> Reading:
        """One look; raises :class:`bgtop.contracts.BackendError`."""
        before = self._spent()
        tick = time.monotonic()
        if not self._link.connected:
            self._discovery.search.start_over()
        self._discovery.show_internal(interest.internal)
        self._discovery.listen(self._depths.waiting)
        for _ in first_steps(lambda: self._discovery.is_done_asking, tick):
            self._ask(tick)
        now = time.time()
        splits = self._measure(interest.internal, tick, lambda: self._hear(now, tick))
        self._listener.roster.announce(self._catalog.nodes, now)
        queues = self._queues(splits, now, tick)
        findings = self._checked(now) if interest.checkup else ()
        jobs = self._look_inside(interest)
        schedules = self._scheduled(interest)
        counted = self._discovery.complete and not any(one.pending for one in splits.values())
        round_trips, commands = self._spent()
        return Reading(
            taken_at=datetime.fromtimestamp(now, timezone.utc),
            queues=queues,
            workers=self._processes.measured(self._listener.workers(tick, self._dead_after), tick),
            totals=_totals(splits.values()),
            broker_version=self._link.version,
            round_trips=round_trips - before[0],
            commands=commands - before[1],
            warnings=self._warnings(splits.values(), now) + self._warnings_inside(interest),
            findings=findings,
            own_names=self._shown.own_names() if interest.checkup else {},
            complete=counted and self._is_settled(tick),
            counted=counted,
            jobs=jobs,
            schedules=schedules,
            events=self._events.answer(interest.events, tick),
            told=self._events.told(interest.told),
        )

    def _hear(self, now: float, tick: float) -> None:
        """Take what was published since the last look."""
        self._news = self._listener.poll(self._catalog.prefixes, now=now, tick=tick)
        if self._completions is not None:
            self._completions.poll(now)

    def _is_settled(self, tick: float) -> bool:
        """Whether workers and ages are known as well."""
        return self._listener.is_sure(tick) and not self._ages.pending(self._depths)

    def _scheduled(self, interest: Interest) -> tuple[ScheduleReading, ...] | None:
        """What redbeat keeps; whether there is one is found out at the first poll."""
        if self._has_schedule is None:
            self._has_schedule = self._link.exchange(pack(("EXISTS", self._schedule_key))) == [1]
            if self._has_schedule:
                more = self.info.capabilities | {Capability.SCHEDULES}
                self.info = replace(self.info, capabilities=more)
        return self._redbeat.schedules() if interest.schedules and self._has_schedule else None

    def _warnings_inside(self, interest: Interest) -> tuple[str, ...]:
        """What keeps from being known what is looked at only when asked for."""
        found = () if interest.jobs is None else self._jobs.warnings
        trouble = self._redbeat.trouble if interest.schedules and self._has_schedule else None
        return found if trouble is None else (*found, trouble)

    def _checked(self, now: float) -> tuple[Finding, ...]:
        """What this poll adds to the checkup, and what follows so far."""
        checkup = self._checkup
        checkup.listen(self._catalog.prefixes)
        self._link.ask((checkup.requests(), checkup.absorb))
        for one in self._redelivery.values():
            words = one.warning(now)
            if words is not None:
                checkup.warn(words)
        return tuple(checkup.findings())

    def _look_inside(self, interest: Interest) -> JobList | None:
        if interest.jobs is None:
            return None
        labels = {row.key: row.name for row in self._shown.rows}
        asked = self._mailboxes() if self._ask_workers else []
        return self._jobs.answer(interest.jobs, self._heads(), labels, asked)

    # What only a look inside or an action needs is loaded for it: watching does without.

    @cached_property
    def _checkup(self) -> Checkup:
        from bgtop.backends.celery.checkup import Checkup

        return Checkup(self._checkup_link, self._event_topic)

    @cached_property
    def _redbeat(self) -> RedBeat:
        from bgtop.backends.celery.redbeat import RedBeat

        return RedBeat(self._link, self._schedule_key)

    @cached_property
    def _results(self) -> Results:
        from bgtop.backends.celery.task_results import Results

        own = self._results_link
        return Results(self._link if own is None else own, own=own is not None)

    @cached_property
    def _jobs(self) -> Jobs:
        from bgtop.backends.celery.redis_jobs import Jobs

        return Jobs(self._link, self._results, self._catalog)

    def _mailboxes(self) -> list[RedisMailbox]:
        from bgtop.backends.celery.redis_mailbox import mailboxes_of

        return mailboxes_of(self._link, self._topic, self._catalog)

    def _heads(self) -> list[Head]:
        """The lists that held messages at the last look, in the order in which they are taken."""
        from bgtop.backends.celery.stored_messages import Head

        queues, rows = self._depths.queues, self._shown.rows
        return [
            Head(queues[i], rows[i].name, queues[i].list_of(step), length)
            for i, step, length in sorted(self._depths.held)
        ]

    def perform(self, action: Action) -> Outcome:
        """Carry out an action; raises :class:`bgtop.contracts.BackendError`."""
        if action.verb not in self.info.verbs:
            raise unsupported(action)
        from bgtop.backends.celery.sending import WhichQueue

        if not self._discovery.complete:
            self._find_queues()
        try:
            return self._act(action)
        except (Absent, WhichQueue):
            self._find_queues()  # It may be younger than the last pass over the keys.
            return self._act(action)

    def _find_queues(self) -> None:
        """One pass over the keys now, whoever makes the others; a large database sets an end."""
        discovery, began = Discovery(self._catalog), time.monotonic()
        while time.monotonic() - began < SECONDS_TO_FIND_QUEUES:
            looking = pack(*discovery.commands(time.monotonic()))
            replies = self._link.exchange(looking)
            discovery.absorb(replies, time.monotonic(), self._depths.waiting)
            if discovery.complete and not discovery.search.under_way:
                return

    def _act(self, action: Action) -> Outcome:
        from bgtop.backends.celery.redis_actions import Actions

        reading = self.poll(Interest())
        queues = {
            row.name: queue
            for row, queue in zip(self._shown.rows, self._depths.queues, strict=True)
        }
        known = self._results, self._catalog, self._jobs, self._mailboxes()
        actions = Actions(self._link, *known, dead_after=self._dead_after)
        return actions.perform(action, self._heads(), queues, reading)

    def _spent(self) -> tuple[int, int]:
        links: list[RedisLink | RedisSubscription]
        links = [self._link, self._channels, self._checkup_link]
        if self._results_link is not None:
            links.append(self._results_link)
        if self._completions is not None:
            links.append(self._completions.link)
        return sum(link.round_trips for link in links), sum(link.commands for link in links)

    def _ask(
        self, tick: float, *parts: Part, meanwhile: Callable[[], object] | None = None
    ) -> None:
        """One round trip for all parts, and for the next step of discovery."""
        looking = self._discovery.commands(tick)
        search = [pack(*looking)] if looking else [], self._absorb_discovery
        self._link.ask(*parts, search, meanwhile=meanwhile)

    def _absorb_discovery(self, replies: Sequence[Reply]) -> None:
        self._discovery.absorb(replies, time.monotonic(), self._depths.waiting)

    def _measure(
        self, internal: bool, tick: float, hear: Callable[[], object]
    ) -> dict[bytes, Split]:
        """The trips of a poll: numbers, then what they left open, then entries of known size.

        The server is busy with the first one for a while: that is the time to ``hear``.
        """
        if self._planned != (self._catalog.version, internal):
            self._plan(internal)
        self._meet_prefixes()
        found, depths, ages = self._deliveries.values(), self._depths, self._ages
        ages.begin(depths, tick)
        self._ask(
            tick,
            *((deliveries.requests(), deliveries.absorb) for deliveries in found),
            *((one.requests(), one.absorb) for one in self._redelivery.values()),
            (depths.requests(), depths.absorb),
            (ages.requests(), ages.absorb),
            meanwhile=hear,
        )
        if self._news:
            # A worker declares its queues just after it came on line, and ends with its mailbox.
            self._discovery.hurry()
        ages.meet(depths)
        self._ask(
            tick,
            *((deliveries.sizes(), deliveries.absorb_sizes) for deliveries in found),
            (depths.probes(), depths.absorb_probes),
            (ages.requests(), ages.absorb),
        )
        self._ask(
            tick,
            *((deliveries.entries(), deliveries.absorb_entries) for deliveries in found),
            (ages.requests(), ages.absorb),
        )
        return {prefix: deliveries.split() for prefix, deliveries in self._deliveries.items()}

    def _meet_prefixes(self) -> None:
        """Each key prefix has deliveries of its own."""
        catalog, deliveries, redelivery = self._catalog, self._deliveries, self._redelivery
        self._deliveries = {
            prefix: deliveries.get(prefix) or Deliveries(prefix, catalog)
            for prefix in catalog.prefixes
        }
        self._redelivery = {
            prefix: redelivery.get(prefix) or Redelivery(prefix, self._visibility_timeout)
            for prefix in catalog.prefixes
        }

    def _plan(self, internal: bool) -> None:
        """Decide which queues are measured, in the order in which they are shown."""
        catalog = self._catalog
        self._planned = (catalog.version, internal)
        chosen = [queue for queue in catalog.queues.values() if internal or not queue.internal]
        labels = catalog.labels(sorted(chosen, key=lambda queue: queue.key))
        chosen.sort(key=lambda queue: labels[queue.key])
        self._shown.plan([Row(labels[q.key], q.key, q.prefix, q.internal) for q in chosen])
        self._depths.plan(chosen)

    def _queues(
        self, splits: Mapping[bytes, Split], now: float, tick: float
    ) -> tuple[QueueReading, ...]:
        return self._shown.readings(
            Found(
                counts=self._depths.counts,
                refusals=self._depths.refusals,
                ages={i: _age(tick - at) for i, at in self._ages.since.items()},
                apart=told_apart(self._deliveries, splits, now),
                completed={} if self._completions is None else {**self._completions.last},
            )
        )

    def _warnings(self, splits: Iterable[Split], now: float) -> tuple[str, ...]:
        found = [*self._discovery.warnings(), *self._catalog.warnings()]
        troubles = self._listener.trouble, self._completions.trouble if self._completions else None
        found += [trouble for trouble in troubles if trouble is not None]
        found += sorted({split.reason for split in splits if split.reason is not None})
        found += filter(None, (one.warning(now) for one in self._redelivery.values()))
        found += (*self._ages.warnings(), *self._events.troubles)
        found += refusals_in_words(self._shown.rows, self._depths.refusals)
        found += self._link.not_permitted()
        return tuple(found)


def _completions(results: RedisAddress, settings: Settings, catalog: Catalog) -> Completions:
    from bgtop.backends.celery.completions import Completions

    return Completions(results, settings, catalog)


def _age(seconds: float) -> Age:
    # What was first seen in this poll was seen after the poll began.
    return Age(max(seconds, 0.0), AgeKind.AT_LEAST)


def _totals(splits: Iterable[Split]) -> dict[str, int]:
    known = [split.total for split in splits if split.total is not None]
    return {"unacked": sum(known)} if known else {}
