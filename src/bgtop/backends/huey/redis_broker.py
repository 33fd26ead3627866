"""Huey on Redis: one poll is two round trips, three where there are thousands of queues.

The state is split by what it knows: :mod:`names` the queues, :mod:`depths` the numbers, :mod:`ages`
the oldest jobs, :mod:`workers` the consumers. All of it belongs to the thread that polls.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bgtop.backends.huey.ages import Ages
from bgtop.backends.huey.depths import Depths
from bgtop.backends.huey.names import MOST_QUEUES, Names
from bgtop.backends.huey.workers import Agents, Connections
from bgtop.backends.local_processes import LocalProcesses
from bgtop.backends.raw_names import labels
from bgtop.backends.redis_errors import code_of, is_wrong_type
from bgtop.backends.redis_link import RedisLink
from bgtop.backends.redis_search import first_steps
from bgtop.model import BackendInfo, Capability, QueueReading, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from hiredis import ReplyError

    from bgtop.backends.redis_link import Part
    from bgtop.backends.redis_url import RedisAddress
    from bgtop.contracts import Interest, Settings
    from bgtop.model import Age, WorkerReading

    _Facts: TypeAlias = tuple[int | None, int | None, Age | None, bool]

COMMANDS_PER_TRIP = 30_000
"""Numbers of 5,000 queues and more. The answers are short, so the server holds little for us."""

_MOST_REFUSED = 5

CAPABILITIES = frozenset(
    {Capability.DEPTH, Capability.SCHEDULED, Capability.OLDEST_AGE, Capability.WORKERS}
)


class HueyOnRedis:
    """Implements :class:`bgtop.contracts.Backend` with read-only commands."""

    def __init__(
        self, address: RedisAddress, settings: Settings, configured: tuple[bytes, ...] = ()
    ) -> None:
        self.info = BackendInfo(
            system="huey", broker="redis", url=address.url, capabilities=CAPABILITIES
        )
        self._link = RedisLink(
            address,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
        )
        self._names = Names(configured)
        self._depths = Depths()
        self._ages = Ages()
        self._agents = Agents()
        self._connections = Connections(address.db)
        self._processes = LocalProcesses("huey")
        self._planned: int | None = None
        self._labels: dict[bytes, str] = {}
        self._order: list[bytes] = []
        self._shown: dict[bytes, tuple[_Facts, QueueReading]] = {}

    def close(self) -> None:
        """Free the connection; safe from another thread, twice, and during a poll."""
        self._link.close()

    def poll(self, interest: Interest, /) -> Reading:
        """One look; raises :class:`bgtop.contracts.BackendError`."""
        del interest  # Huey keeps no queues for itself
        link = self._link
        before = link.round_trips, link.commands
        tick = time.monotonic()
        if not link.connected:
            self._names.search.start_over()
            self._connections.start_over()
        for _ in first_steps(lambda: self._names.search.complete, tick):
            self._link.ask(self._search(tick))
        now = time.time()
        self._measure(tick, now)
        return Reading(
            taken_at=datetime.fromtimestamp(now, timezone.utc),
            queues=tuple(map(self._queue, self._order)),
            workers=self._processes.measured(self._workers(), tick),
            broker_version=link.version,
            round_trips=link.round_trips - before[0],
            commands=link.commands - before[1],
            warnings=tuple(self._warnings()),
            complete=self._names.search.complete
            and not self._ages.pending
            and not self._depths.changed,
        )

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
            self._shown = {}
            depths.plan(tuple(names.known))
        self._link.ask(
            *depths.parts(),
            (agents.requests(), agents.absorb),
            (connections.requests(tick), lambda replies: connections.absorb(replies, tick)),
            self._search(tick),
            at_once=COMMANDS_PER_TRIP,
        )
        for part in depths.parts_left_open():
            self._link.ask(part, at_once=COMMANDS_PER_TRIP)
        depths.settle()
        self._link.ask(
            (depths.probes(), depths.absorb_probes),
            (agents.beats(), lambda replies: agents.absorb_beats(replies, now)),
            (connections.listing(), connections.absorb_listing),
            (ages.requests(depths, tick), lambda replies: ages.absorb(replies, tick, now)),
            at_once=COMMANDS_PER_TRIP,
        )
        names.learn(agents.queues)

    def _queue(self, name: bytes) -> QueueReading:
        depths = self._depths
        malformed = is_wrong_type(depths.refusals.get(name)) or is_wrong_type(
            depths.schedule_refusals.get(name)
        )
        facts = depths.depth(name), depths.delayed(name), self._ages.found.get(name), malformed
        shown = self._shown.get(name)
        # Ten thousand rows are built anew only where something is new.
        if shown is None or shown[0] != facts:
            depth, scheduled, age, _ = facts
            reading = QueueReading(
                name=self._labels[name],
                depth=depth,
                scheduled=scheduled,
                oldest=age,
                malformed=malformed,
            )
            shown = self._shown[name] = facts, reading
        return shown[1]

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
        if depths.memory_refusal is not None:
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
        yield from refused[:_MOST_REFUSED]
        if len(refused) > _MOST_REFUSED:
            yield f"{len(refused) - _MOST_REFUSED} more queues cannot be read"
        yield from self._link.not_permitted()


def _refused(name: str, refusal: ReplyError, what: str) -> str:
    if is_wrong_type(refusal):
        return f"the {what} of {name!r} is not known: its key is not of a type that Huey writes"
    if code_of(refusal) == "NOPERM":
        return f"the server does not let us read the {what} of {name!r}"
    return f"the {what} of {name!r} cannot be read ({code_of(refusal)})"
