"""The Dramatiq backend for Redis: one poll is one to three round trips, whatever the broker holds.

The state is split by what it knows: :mod:`discovery` the names, :mod:`counts` the numbers,
:mod:`heads` the ages, :mod:`workers` who is there. All of it belongs to the thread that polls.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from bgtop.actions import Verb
from bgtop.backends.dramatiq.counts import Counts
from bgtop.backends.dramatiq.discovery import MOST_QUEUES, Discovery, Names
from bgtop.backends.dramatiq.heads import Heads
from bgtop.backends.dramatiq.verbs import NOT_ON_REDIS
from bgtop.backends.dramatiq.wire import DEFAULT_NAMESPACE, MESSAGES, Keys
from bgtop.backends.dramatiq.workers import Workers
from bgtop.backends.local_processes import LocalProcesses
from bgtop.backends.raw_names import labels, text
from bgtop.backends.redis_errors import first_told, unread
from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.redis_search import first_steps, steps_of_a_new_pass
from bgtop.contracts import Interest
from bgtop.model import BackendInfo, Capability, QueueReading, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bgtop.actions import Action, Outcome
    from bgtop.backends.dramatiq.agent_words import Words
    from bgtop.backends.dramatiq.counts import Refused
    from bgtop.backends.dramatiq.looking import Looking
    from bgtop.backends.dramatiq.places import Scope
    from bgtop.backends.dramatiq.redis_actions import Actions
    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_link import Part
    from bgtop.backends.redis_url import RedisAddress
    from bgtop.backends.worker_sums import WorkerSums
    from bgtop.contracts import Settings
    from bgtop.model import WorkerReading
    from bgtop.task_events import EventsReading

COMMANDS_PER_TRIP = 30_000
"""Numbers of 5,000 queues and more. The answers are short, so the server holds little for us."""


CAPABILITIES = frozenset(
    {
        Capability.DEPTH,
        Capability.UNACKED,
        Capability.SCHEDULED,
        Capability.DEAD,
        Capability.OLDEST_AGE,
        Capability.WORKERS,
        Capability.HEARTBEATS,
        Capability.JOBS,
        Capability.EVENTS,
    }
)


class _Said(NamedTuple):
    """What the agents of all workers say, by the name of a queue as it is shown."""

    running: Mapping[str, int]
    consumers: Mapping[str, int]


class DramatiqOnRedis:
    """Implements :class:`bgtop.contracts.Backend`; a poll sends read-only commands."""

    def __init__(self, address: RedisAddress, namespace: bytes, settings: Settings) -> None:
        self.info = BackendInfo(
            system="dramatiq",
            broker="redis",
            url=_shown(address, namespace),
            capabilities=CAPABILITIES,
            verbs=frozenset(Verb) - NOT_ON_REDIS.keys(),
        )
        self._link = RedisLink(
            address, connect_timeout=settings.connect_timeout, read_timeout=settings.read_timeout
        )
        keys = Keys(namespace)
        self._names = Names()
        self._processes = LocalProcesses("dramatiq")
        self._discovery = Discovery(keys, self._names, settings.shared)
        self._counts = Counts(keys)
        self._heads = Heads(keys)
        self._workers = Workers(keys, settings.dead_after)
        self._keys = keys
        self._planned = -1
        self._labels: Mapping[bytes, str] = {}
        self._order: list[bytes] = []
        self._shown: dict[bytes, QueueReading] = {}
        self._aged: frozenset[bytes] = frozenset()
        """The queues that were shown with an age, which grows with each poll."""
        self._said: _Said | None = None

    def close(self) -> None:
        """Free the connection; safe from another thread, twice, and during a poll."""
        self._link.close()

    def perform(self, action: Action) -> Outcome:
        """Do this; the numbers of queues are asked for anew, and discovery is brought to its end.

        Raises :class:`bgtop.contracts.BackendError`.
        """
        self._actions.check(action)
        self.poll(Interest())
        for _ in steps_of_a_new_pass(self._discovery):
            self._ask(time.monotonic())
        self.poll(Interest())
        return self._actions.perform(action, self._scope())

    # What only a look inside or an action needs is loaded for it: watching does without.

    @cached_property
    def _looking(self) -> Looking:
        from bgtop.backends.dramatiq.looking import Looking

        return Looking(self._link)

    @cached_property
    def _actions(self) -> Actions:
        from bgtop.backends.dramatiq.redis_actions import Actions

        return Actions(self._link, self._looking.finder)

    def _scope(self) -> Scope:
        from bgtop.backends.dramatiq.places import Scope

        roster, holders = self._workers.roster, self._discovery.holders
        processes = tuple(dict.fromkeys((*roster.processes, *holders)))
        said = ((one, roster.words_of(one)) for one in processes)
        return Scope(
            keys=self._keys,
            numbers=self._counts.numbers,
            labels=self._labels,
            processes=processes,
            words={one: words for one, words in said if words is not None},
        )

    def _happened(self, workers: Sequence[WorkerReading], now: datetime) -> EventsReading:
        from bgtop.backends.worker_sums import task_counts

        said = self._workers.roster.counts().items()
        told = {name: counts for name, value in said if (counts := task_counts(value)) is not None}
        return self._sums.look(workers, now, told)

    @cached_property
    def _sums(self) -> WorkerSums:
        from bgtop.backends.worker_sums import WorkerSums

        return WorkerSums()

    def poll(self, interest: Interest) -> Reading:
        """One look; raises :class:`bgtop.contracts.BackendError`."""
        before = self._link.round_trips, self._link.commands
        tick = time.monotonic()
        if not self._link.connected:
            self._discovery.start_over()
            self._workers.start_over()
        self._discovery.listen()
        for _ in first_steps(lambda: self._discovery.is_done_asking, tick):
            self._ask(tick)
        self._measure(tick)
        now = time.time()
        queues = self._queues(now)
        query = interest.jobs
        jobs = None if query is None else self._looking.answer(query, self._scope())
        workers = self._processes.measured(self._workers.roster.readings(), tick)
        taken_at = datetime.fromtimestamp(now, timezone.utc)
        return Reading(
            taken_at=taken_at,
            queues=queues,
            workers=workers,
            events=self._happened(workers, taken_at) if interest.events else None,
            broker_version=self._link.version,
            round_trips=self._link.round_trips - before[0],
            commands=self._link.commands - before[1],
            warnings=self._warnings(),
            complete=self._discovery.complete
            and self._planned == self._names.version
            and not self._heads.pending
            and self._workers.is_sure(self._counts.lists_to_search()),
            jobs=jobs,
            findings=self._workers.roster.findings() if interest.checkup else (),
        )

    def _ask(self, tick: float, *parts: Part) -> None:
        """One round trip for all parts, and for the next step of discovery."""
        looking = self._discovery.commands(tick)
        search = ([pack(*looking)] if looking else [], self._absorb_discovery)
        self._link.ask(*parts, search, at_once=COMMANDS_PER_TRIP)

    def _absorb_discovery(self, replies: Sequence[Reply]) -> None:
        self._discovery.learn(replies, time.monotonic())

    def _measure(self, tick: float) -> None:
        """The trips of a poll: numbers, then the sizes of new heads, then the small ones."""
        if self._planned != self._names.version:
            self._plan()
        counts, heads, workers = self._counts, self._heads, self._workers
        self._ask(
            tick,
            *workers.parts(counts.lists_to_search()),
            *counts.parts(),
        )
        # Discovery takes its one step of a poll in the first trip.
        self._link.ask(
            *workers.parts_left_open(), *counts.parts_left_open(), at_once=COMMANDS_PER_TRIP
        )
        workers.settle(self._discovery.holders)
        named = workers.roster.queues_named()
        self._names.learn(queue.encode("utf-8", "surrogatepass") for queue in named)
        counts.settle()
        heads.see(counts.heads, time.time())
        self._link.ask((heads.sizes(), heads.absorb_sizes), at_once=COMMANDS_PER_TRIP)
        self._link.ask((heads.messages(), heads.absorb_messages), at_once=COMMANDS_PER_TRIP)

    def _plan(self) -> None:
        """Decide which queues are measured, in the order in which they are shown."""
        self._planned = self._names.version
        self._labels = labels(self._names.known)
        self._order = sorted(self._labels, key=self._labels.__getitem__)
        self._counts.plan(self._order)
        self._shown, self._aged = {}, frozenset()

    def _order_of_known(self) -> list[bytes]:
        """The queues that were measured, without those that only look like one."""
        shadows = {
            refused.queue
            for refused in self._counts.refused
            if refused.ending == MESSAGES and self._names.is_shadow(refused.queue)
        }
        return [queue for queue in self._order if queue not in shadows] if shadows else self._order

    def _queues(self, now: float) -> tuple[QueueReading, ...]:
        """Ten thousand rows, of which only those are built anew that have news."""
        counts, heads, shown = self._counts, self._heads, self._shown
        said = _said(self._workers.roster.live_words())
        same, self._said = said == self._said, said
        touched = counts.touched if same and shown else frozenset(self._order)
        for queue in touched:
            shown[queue] = self._queue(queue, said, now)
        for queue in counts.heads:
            if queue not in touched:
                shown[queue] = shown[queue].aged(heads.age(queue, now))
        for queue in self._aged - counts.heads.keys() - touched:
            shown[queue] = shown[queue].aged(None)
        self._aged = frozenset(counts.heads)
        return tuple([shown[queue] for queue in self._order_of_known()])

    def _queue(self, queue: bytes, said: _Said | None, now: float) -> QueueReading:
        numbers, name = self._counts.of(queue), self._labels[queue]
        return QueueReading(
            name=name,
            depth=numbers.waiting,
            unacked=numbers.unacked,
            scheduled=numbers.scheduled,
            dead=numbers.dead,
            oldest=self._heads.age(queue, now),
            running=None if said is None else said.running.get(name, 0),
            consumers=None if said is None else said.consumers.get(name, 0),
            malformed=numbers.malformed,
        )

    def _warnings(self) -> tuple[str, ...]:
        found = []
        discovery = self._discovery
        if not discovery.complete:
            found.append(f"still looking for queues: {discovery.progress}")
        if discovery.refusal is not None:
            found.append("queues may be missing: the server does not let us list its keys")
        if self._names.full:
            found.append(f"there are more than {MOST_QUEUES:,} queues: some are left out")
        trouble = self._workers.warning()
        if trouble is not None:
            found.append(trouble)
        refused = [one for one in self._counts.refused if not self._names.is_shadow(one.queue)]
        found += first_told(refused, _refused, "keys")
        found += self._link.not_permitted()
        return tuple(found)


def _said(words: Sequence[Words] | None) -> _Said | None:
    if words is None:
        return None
    running: dict[str, int] = {}
    consumers: dict[str, int] = {}
    for said in words:
        for queue in said.running_in:
            running[queue] = running.get(queue, 0) + 1
        for queue in said.queues or ():
            consumers[queue] = consumers.get(queue, 0) + 1
    return _Said(running, consumers)


def _shown(address: RedisAddress, namespace: bytes) -> str:
    if namespace == DEFAULT_NAMESPACE.encode():
        return address.url
    from urllib.parse import quote

    sign = "&" if "?" in address.url else "?"
    return f"{address.url}{sign}namespace={quote(namespace, safe='')}"


def _refused(refused: Refused) -> str:
    key = f"the key {text(refused.queue) + text(refused.ending)!r}"
    wrong = f"{key} is of another type than Dramatiq's, so its number is unknown"
    return unread(key, refused.error, wrong)
