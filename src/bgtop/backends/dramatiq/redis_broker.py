"""The Dramatiq backend for Redis: one poll is one to three round trips, whatever the broker holds.

The state is split by what it knows: :mod:`discovery` the names, :mod:`counts` the numbers,
:mod:`heads` the ages, :mod:`workers` who is there. All of it belongs to the thread that polls.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bgtop.backends.dramatiq.counts import Counts
from bgtop.backends.dramatiq.discovery import MOST_QUEUES, Discovery, Names
from bgtop.backends.dramatiq.heads import Heads
from bgtop.backends.dramatiq.wire import DEFAULT_NAMESPACE, MESSAGES, Keys
from bgtop.backends.dramatiq.workers import Workers
from bgtop.backends.local_processes import LocalProcesses
from bgtop.backends.raw_names import labels, text
from bgtop.backends.redis_errors import code_of, is_wrong_type
from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.redis_search import first_steps
from bgtop.model import BackendInfo, Capability, QueueReading, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from bgtop.backends.dramatiq.agent_words import Words
    from bgtop.backends.dramatiq.counts import Numbers, Refused
    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_link import Part
    from bgtop.backends.redis_url import RedisAddress
    from bgtop.contracts import Interest, Settings
    from bgtop.model import Age

    _Facts: TypeAlias = tuple[Numbers, Age | None, int | None, int | None]


COMMANDS_PER_TRIP = 30_000
"""Numbers of 5,000 queues and more. The answers are short, so the server holds little for us."""

_MOST_REFUSED = 5

CAPABILITIES = frozenset(
    {
        Capability.DEPTH,
        Capability.UNACKED,
        Capability.SCHEDULED,
        Capability.DEAD,
        Capability.OLDEST_AGE,
        Capability.WORKERS,
        Capability.HEARTBEATS,
    }
)


class DramatiqOnRedis:
    """Implements :class:`bgtop.contracts.Backend` with read-only commands."""

    def __init__(self, address: RedisAddress, namespace: bytes, settings: Settings) -> None:
        self.info = BackendInfo(
            system="dramatiq",
            broker="redis",
            url=_shown(address, namespace),
            capabilities=CAPABILITIES,
        )
        self._link = RedisLink(
            address, connect_timeout=settings.connect_timeout, read_timeout=settings.read_timeout
        )
        keys = Keys(namespace)
        self._names = Names()
        self._processes = LocalProcesses("dramatiq")
        self._discovery = Discovery(keys, self._names)
        self._counts = Counts(keys)
        self._heads = Heads(keys)
        self._workers = Workers(keys, settings.dead_after)
        self._planned = -1
        self._labels: Mapping[bytes, str] = {}
        self._order: list[bytes] = []
        self._shown: dict[str, tuple[_Facts, QueueReading]] = {}

    def close(self) -> None:
        """Free the connection; safe from another thread, twice, and during a poll."""
        self._link.close()

    def poll(self, interest: Interest) -> Reading:  # noqa: ARG002  # there are no internal queues
        """One look; raises :class:`bgtop.contracts.BackendError`."""
        before = self._link.round_trips, self._link.commands
        tick = time.monotonic()
        if not self._link.connected:
            self._discovery.start_over()
            self._workers.start_over()
        for _ in first_steps(lambda: self._discovery.complete, tick):
            self._ask(tick)
        self._measure(tick)
        now = time.time()
        words = self._workers.roster.live_words()
        queues = tuple(self._queue(queue, now, words) for queue in self._order_of_known())
        return Reading(
            taken_at=datetime.fromtimestamp(now, timezone.utc),
            queues=queues,
            workers=self._processes.measured(self._workers.roster.readings(), tick),
            broker_version=self._link.version,
            round_trips=self._link.round_trips - before[0],
            commands=self._link.commands - before[1],
            warnings=self._warnings(),
            complete=self._discovery.complete
            and self._planned == self._names.version
            and not self._heads.pending
            and self._workers.is_sure(),
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
            (workers.requests(counts.lists_to_search()), self._absorb_workers),
            *counts.parts(),
        )
        # Discovery takes its one step of a poll in the first trip.
        for part in counts.parts_left_open():
            self._link.ask(part, at_once=COMMANDS_PER_TRIP)
        counts.settle()
        heads.see(counts.heads, time.time())
        self._link.ask((heads.sizes(), heads.absorb_sizes), at_once=COMMANDS_PER_TRIP)
        self._link.ask((heads.messages(), heads.absorb_messages), at_once=COMMANDS_PER_TRIP)

    def _absorb_workers(self, replies: Sequence[Reply]) -> None:
        self._workers.absorb(replies, self._discovery.holders, time.time())
        for queue in self._workers.roster.queues_named():
            self._names.learn(queue.encode("utf-8", "surrogatepass"))

    def _plan(self) -> None:
        """Decide which queues are measured, in the order in which they are shown."""
        self._planned = self._names.version
        self._labels = labels(self._names.queues)
        self._order = sorted(self._labels, key=self._labels.__getitem__)
        self._counts.plan(self._order)
        self._shown = {}

    def _order_of_known(self) -> list[bytes]:
        """The queues that were measured, without those that only look like one."""
        shadows = {
            refused.queue
            for refused in self._counts.refused
            if refused.ending == MESSAGES and self._names.is_shadow(refused.queue)
        }
        return [queue for queue in self._order if queue not in shadows]

    def _queue(self, queue: bytes, now: float, words: list[Words] | None) -> QueueReading:
        numbers, name, age = (
            self._counts.of(queue),
            self._labels[queue],
            self._heads.age(queue, now),
        )
        running = consumers = None
        if words is not None:
            running = sum(said.running_in.count(name) for said in words)
            consumers = sum(name in (said.queues or ()) for said in words)
        shown = self._shown.get(name)
        # Ten thousand rows are built anew only where something is new.
        if shown is None or shown[0] != (numbers, age, running, consumers):
            shown = self._shown[name] = (
                (numbers, age, running, consumers),
                QueueReading(
                    name=name,
                    depth=numbers.waiting,
                    unacked=numbers.unacked,
                    scheduled=numbers.scheduled,
                    dead=numbers.dead,
                    oldest=age,
                    running=running,
                    consumers=consumers,
                    malformed=numbers.malformed,
                ),
            )
        return shown[1]

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
        found += [_refused(one) for one in refused[:_MOST_REFUSED]]
        if len(refused) > _MOST_REFUSED:
            found.append(f"{len(refused) - _MOST_REFUSED} more keys cannot be read")
        found += self._link.not_permitted()
        return tuple(found)


def _shown(address: RedisAddress, namespace: bytes) -> str:
    if namespace == DEFAULT_NAMESPACE.encode():
        return address.url
    from urllib.parse import quote

    sign = "&" if "?" in address.url else "?"
    return f"{address.url}{sign}namespace={quote(namespace, safe='')}"


def _refused(refused: Refused) -> str:
    key = f"{text(refused.queue)}{text(refused.ending)}"
    if is_wrong_type(refused.error):
        return f"the key {key!r} is of another type than Dramatiq's, so its number is unknown"
    if code_of(refused.error) == "NOPERM":
        return f"the server does not let us read the key {key!r}"
    return f"the key {key!r} cannot be read ({code_of(refused.error)})"
