"""Huey on Redis: one poll is two round trips, one more where a queue has filled.

The state is split by what it knows: :mod:`names` the queues, :mod:`depths` the numbers, :mod:`ages`
the oldest jobs, :mod:`workers` the consumers. All of it belongs to the thread that polls.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from bgtop.actions import Verb
from bgtop.backends.huey.ages import Ages
from bgtop.backends.huey.depths import SORTED_SET, Depths
from bgtop.backends.huey.names import MOST_QUEUES, Names
from bgtop.backends.huey.verbs import WHY_NOT
from bgtop.backends.huey.workers import Agents, Connections
from bgtop.backends.local_processes import LocalProcesses
from bgtop.backends.raw_names import labels
from bgtop.backends.redis_errors import first_told, is_wrong_type, unread
from bgtop.backends.redis_link import RedisLink
from bgtop.backends.redis_search import first_steps, steps_of_a_new_pass
from bgtop.contracts import Interest
from bgtop.model import BackendInfo, Capability, QueueReading, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hiredis import ReplyError

    from bgtop.actions import Action, Outcome
    from bgtop.backends.huey.looking import Looking, Scope
    from bgtop.backends.huey.redis_actions import Actions
    from bgtop.backends.redis_link import Part
    from bgtop.backends.redis_url import RedisAddress
    from bgtop.backends.worker_sums import WorkerSums
    from bgtop.contracts import Interest, Settings
    from bgtop.model import Finding, WorkerReading
    from bgtop.task_events import EventsReading

COMMANDS_PER_TRIP = 30_000
"""Numbers of 5,000 queues and more. The answers are short, so the server holds little for us."""

CAPABILITIES = frozenset(
    {
        *(Capability.DEPTH, Capability.PRIORITIES, Capability.SCHEDULED),
        *(Capability.OLDEST_AGE, Capability.WORKERS, Capability.JOBS, Capability.EVENTS),
    }
)


class HueyOnRedis:
    """Implements :class:`bgtop.contracts.Backend`; a poll sends read-only commands."""

    def __init__(
        self, address: RedisAddress, settings: Settings, configured: tuple[bytes, ...] = ()
    ) -> None:
        self.info = BackendInfo(
            system="huey",
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
        self._names = Names(configured, settings.shared)
        self._depths = Depths()
        self._ages = Ages()
        self._agents = Agents()
        self._connections = Connections(address.db)
        self._processes = LocalProcesses("huey")
        self._planned: int | None = None
        self._labels: dict[bytes, str] = {}
        self._order: list[bytes] = []
        self._shown: dict[bytes, QueueReading] = {}
        self._split: Mapping[bytes, Mapping[int, int]] = {}
        """What was shown of queues with priorities."""
        self._aged: frozenset[bytes] = frozenset()
        """The queues that were shown with an age, which grows with each poll."""

    def close(self) -> None:
        """Free the connection; safe from another thread, twice, and during a poll."""
        self._link.close()

    def _happened(self, workers: Sequence[WorkerReading], now: datetime) -> EventsReading:
        from json import loads

        from bgtop.backends.worker_sums import task_counts

        told = {}
        for name, words in self._agents.counts.items():
            try:
                counts = task_counts(loads(words))
            except (ValueError, RecursionError):
                continue
            if counts is not None:
                told[name] = counts
        return self._sums.look(workers, now, told)

    @cached_property
    def _sums(self) -> WorkerSums:
        """What an agent counts as processed may also have been given up, or put back."""
        from bgtop.backends.worker_sums import WorkerSums
        from bgtop.task_events import EventKind

        return WorkerSums(others=EventKind.STARTED)

    def poll(self, interest: Interest, /) -> Reading:
        """One look; raises :class:`bgtop.contracts.BackendError`."""
        link = self._link
        before = link.round_trips, link.commands
        tick = time.monotonic()
        if not link.connected:
            self._names.search.start_over()
            self._connections.start_over()
        self._names.listen()
        for _ in first_steps(lambda: self._names.search.is_done_asking, tick):
            self._link.ask(self._search(tick))
        now = time.time()
        self._measure(tick, now)
        query = interest.jobs
        jobs = None if query is None else self._looking.answer(query, self._scope())
        workers = self._processes.measured(self._workers(), tick)
        taken_at = datetime.fromtimestamp(now, timezone.utc)
        return Reading(
            taken_at=taken_at,
            queues=self._queues(),
            workers=workers,
            events=self._happened(workers, taken_at) if interest.events else None,
            broker_version=link.version,
            round_trips=link.round_trips - before[0],
            commands=link.commands - before[1],
            warnings=tuple(self._warnings()),
            complete=self._names.search.complete
            and not self._ages.pending
            and not self._depths.changed,
            jobs=jobs,
            findings=self._checked() if interest.checkup else (),
        )

    def perform(self, action: Action, /) -> Outcome:
        """Do this; queues are looked for and measured anew before.

        Raises :class:`bgtop.contracts.BackendError`.
        """
        self._actions.check(action)
        self.poll(Interest())
        for _ in steps_of_a_new_pass(self._names.search):
            self._link.ask(self._search(time.monotonic()))
        # The second one counts those that were not what they were taken for.
        self.poll(Interest())
        if self._depths.changed:
            self.poll(Interest())
        return self._actions.perform(action, self._scope())

    # What only a look inside or an action needs is loaded for it: watching does without.

    @cached_property
    def _looking(self) -> Looking:
        from bgtop.backends.huey.looking import Looking

        return Looking(self._link)

    @cached_property
    def _actions(self) -> Actions:
        from bgtop.backends.huey.redis_actions import Actions

        return Actions(self._link, self._looking)

    def _checked(self) -> tuple[Finding, ...]:
        from bgtop.backends.huey.checkup import findings

        return (*findings(self._link, self._labels), *self._agents.findings())

    def _scope(self) -> Scope:
        from bgtop.backends.huey.looking import Scope

        depths = self._depths
        agents = self._agents.workers if self._agents.alive else ()
        return Scope(self._labels, depths.kinds, depths.waiting, depths.scheduled, agents)

    def _search(self, tick: float) -> Part:
        names = self._names
        return names.requests(tick), lambda replies: names.absorb(replies, time.monotonic())

    def _measure(self, tick: float, now: float) -> None:
        """Numbers first, then what they leave open."""
        names, depths, ages = self._names, self._depths, self._ages
        agents, connections = self._agents, self._connections
        if self._planned != names.version:
            self._planned = names.version
            self._labels = labels(names.known)
            self._order = sorted(self._labels, key=self._labels.__getitem__)
            self._shown, self._aged = {}, frozenset()
            depths.plan(tuple(names.known))
        self._link.ask(
            *depths.parts(),
            (agents.requests(), agents.absorb),
            (
                connections.requests(tick, queues_known=bool(self._labels)),
                lambda replies: connections.absorb(replies, tick),
            ),
            self._search(tick),
            at_once=COMMANDS_PER_TRIP,
        )
        self._link.ask(*depths.parts_left_open(), at_once=COMMANDS_PER_TRIP)
        depths.settle()
        ages.begin(depths, tick)
        self._link.ask(
            (depths.probes(), depths.absorb_probes),
            (agents.beats(), lambda replies: agents.absorb_beats(replies, time.time())),
            (
                connections.listing(),
                lambda replies: connections.absorb_listing(replies, self._labels.keys()),
            ),
            (ages.first_requests(tick), lambda replies: ages.absorb_first(replies, tick, now)),
            at_once=COMMANDS_PER_TRIP,
        )
        self._link.ask(
            (ages.requests(tick), lambda replies: ages.absorb(replies, tick, now)),
            at_once=COMMANDS_PER_TRIP,
        )
        agents.settle(now)
        names.learn(agents.queues)

    def _queues(self) -> tuple[QueueReading, ...]:
        """Ten thousand rows, of which only those are built anew that have news."""
        shown, ages = self._shown, self._ages.found
        touched = self._depths.touched | self._split_anew()
        for name in touched if shown else self._order:
            shown[name] = self._queue(name)
        for name, age in ages.items():
            if name not in touched:
                shown[name] = shown[name].aged(age)
        for name in self._aged - ages.keys() - touched:
            shown[name] = shown[name].aged(None)
        self._aged = frozenset(ages)
        return tuple([shown[name] for name in self._order])

    def _split_anew(self) -> set[bytes]:
        """The queues that have other jobs by priority than before, even if as many."""
        before, now = self._split, self._ages.split
        self._split = now
        return {name for name in (*before, *now) if before.get(name) != now.get(name)}

    def _queue(self, name: bytes) -> QueueReading:
        depths = self._depths
        depth, by_priority = depths.depth(name), self._ages.split.get(name)
        if by_priority is not None:
            depth = sum(by_priority.values())
        elif depth is not None and (not depth or depths.kinds.get(name) != SORTED_SET):
            by_priority = _of_a_list(depth)
        return QueueReading(
            name=self._labels[name],
            depth=depth,
            by_priority=by_priority,
            scheduled=depths.delayed(name),
            oldest=self._ages.found.get(name),
            malformed=is_wrong_type(depths.refusals.get(name))
            or is_wrong_type(depths.schedule_refusals.get(name)),
        )

    def _workers(self) -> tuple[WorkerReading, ...]:
        agents = self._agents
        if agents.alive:
            return agents.workers
        inferred = self._connections.worker(queues_known=bool(self._labels))
        found = agents.workers if inferred is None else (*agents.workers, inferred)
        return tuple(sorted(found, key=lambda worker: worker.name))

    def _warnings(self) -> Iterator[str]:
        names, depths = self._names, self._depths
        if not names.search.complete:
            yield f"still looking for queues: {names.search.progress}"
        if names.search.refusal is not None:
            yield (
                "queues may be missing: the server does not let us list its keys "
                "(name them in the address: ?queue=NAME)"
            )
        if names.full:
            yield f"there are more than {MOST_QUEUES:,} queues: some are left out"
        if self._ages.refusal is not None:
            yield "the age of waiting jobs is not known: the server refuses MEMORY USAGE"
        elif self._ages.unread:
            yield (
                f"the age of the oldest job is not read in {self._ages.unread} queues: "
                "their jobs are large or very many"
            )
        if self._connections.trouble is not None and not self._agents.alive:
            yield self._connections.trouble
        refused = [
            *(_refused(self._labels[n], fault, "depth") for n, fault in depths.refusals.items()),
            *(
                _refused(self._labels[n], fault, "schedule")
                for n, fault in depths.schedule_refusals.items()
            ),
        ]
        yield from first_told(refused, str, "queues")
        yield from self._link.not_permitted()


@lru_cache(maxsize=1_000)
def _of_a_list(depth: int) -> dict[int, int]:
    """A list knows no priorities; thousands of queues of the same depth share one value."""
    return {0: depth} if depth else {}


def _refused(name: str, refusal: ReplyError, what: str) -> str:
    what = f"the {what} of {name!r}"
    return unread(what, refusal, f"{what} is not known: its key is not of a type that Huey writes")
