"""The Celery backend for Redis: one poll is one to three round trips, whatever the broker holds.

The state is split by what it knows: :mod:`discovery` and its catalog the names, :mod:`depths` the
waiting messages, :mod:`deliveries` the unacknowledged ones, :mod:`heartbeats` the workers. All of
it belongs to the thread that polls.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bgtop.backends.celery.catalog import MOST_PREFIXES, MOST_QUEUES, Catalog
from bgtop.backends.celery.deliveries import Deliveries
from bgtop.backends.celery.depths import Depths
from bgtop.backends.celery.discovery import Discovery
from bgtop.backends.celery.heartbeats import Listener
from bgtop.backends.redis_errors import code_of
from bgtop.backends.redis_link import RedisLink, RedisSubscription, pack
from bgtop.backends.redis_search import first_steps
from bgtop.model import BackendInfo, Capability, QueueReading, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hiredis import ReplyError

    from bgtop.backends.celery.catalog import Queue
    from bgtop.backends.celery.deliveries import Split
    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_link import Part
    from bgtop.backends.redis_url import RedisAddress
    from bgtop.contracts import Interest, Settings


_MOST_REFUSED = 5

CAPABILITIES = frozenset(
    {
        Capability.DEPTH,
        Capability.PRIORITIES,
        Capability.UNACKED,
        Capability.WORKERS,
        Capability.HEARTBEATS,
    }
)


class _Row:
    """One queue as it is shown; ten thousand of them are built anew only where numbers changed."""

    __slots__ = ("_internal", "_last", "key", "name", "prefix")

    def __init__(self, name: str, queue: Queue) -> None:
        self.name = name
        self.key = queue.key
        self.prefix = queue.prefix
        self._internal = queue.internal
        self._last: QueueReading | None = None

    def reading(self, counts: Mapping[int, int] | None, unacked: int | None) -> QueueReading:
        """The reading of these numbers; by step, or ``None`` when the queue cannot be read."""
        last = self._last
        if last is None or last.by_priority != counts or last.unacked != unacked:
            last = self._last = QueueReading(
                name=self.name,
                depth=None if counts is None else sum(counts.values()),
                by_priority=counts,
                unacked=unacked,
                internal=self._internal,
            )
        return last


class CeleryOnRedis:
    """Implements :class:`bgtop.contracts.Backend` with read-only commands."""

    def __init__(self, address: RedisAddress, settings: Settings) -> None:
        self.info = BackendInfo(
            system="celery", broker="redis", url=address.url, capabilities=CAPABILITIES
        )
        limits = {
            "connect_timeout": settings.connect_timeout,
            "read_timeout": settings.read_timeout,
        }
        self._link = RedisLink(address, **limits)
        self._channels = RedisSubscription(address, **limits)
        self._dead_after = settings.dead_after
        self._catalog = Catalog()
        self._discovery = Discovery(self._catalog)
        self._listener = Listener(self._channels, address.db)
        self._depths = Depths()
        self._deliveries: dict[bytes, Deliveries] = {}
        self._planned: tuple[int, bool] | None = None
        self._rows: list[_Row] = []

    def close(self) -> None:
        """Free both connections; safe from another thread, twice, and during a poll."""
        self._link.close()
        self._channels.close()

    def poll(self, interest: Interest) -> Reading:
        """One look; raises :class:`bgtop.contracts.BackendError`."""
        before = self._spent()
        tick = time.monotonic()
        if not self._link.connected:
            self._discovery.search.start_over()
        self._discovery.show_internal(interest.internal)
        for _ in first_steps(lambda: self._discovery.complete, tick):
            self._ask(tick)
        now = time.time()
        if self._listener.poll(self._catalog.prefixes, now=now, tick=tick):
            # A worker declares its queues just after it came on line, so the first heartbeat
            # counts as news too; one that ends gives up its mailbox.
            self._discovery.search.hurry()
        splits = self._measure(interest.internal, tick)
        self._listener.roster.announce(self._catalog.nodes, now)
        queues, warnings = self._queues(splits)
        round_trips, commands = self._spent()
        return Reading(
            taken_at=datetime.fromtimestamp(now, timezone.utc),
            queues=queues,
            workers=self._listener.workers(tick, self._dead_after),
            totals=_totals(splits.values()),
            broker_version=self._link.version,
            round_trips=round_trips - before[0],
            commands=commands - before[1],
            warnings=self._warnings(warnings, splits.values()),
            complete=self._discovery.complete
            and self._listener.is_sure(tick)
            and not any(split.pending for split in splits.values()),
        )

    def _spent(self) -> tuple[int, int]:
        links = (self._link, self._channels)
        return sum(link.round_trips for link in links), sum(link.commands for link in links)

    def _ask(self, tick: float, *parts: Part) -> None:
        """One round trip for all parts, and for the next step of discovery."""
        looking = self._discovery.commands(tick)
        self._link.ask(*parts, ([pack(*looking)] if looking else [], self._absorb_discovery))

    def _absorb_discovery(self, replies: Sequence[Reply]) -> None:
        self._discovery.absorb(replies, time.monotonic(), self._depths.waiting)

    def _measure(self, internal: bool, tick: float) -> dict[bytes, Split]:
        """The trips of a poll: numbers, then what they left open, then entries of known size."""
        if self._planned != (self._catalog.version, internal):
            self._plan(internal)
        known, catalog = self._deliveries, self._catalog
        self._deliveries = {
            prefix: known.get(prefix) or Deliveries(prefix, catalog) for prefix in catalog.prefixes
        }
        found, depths = self._deliveries.values(), self._depths
        self._ask(
            tick,
            *((deliveries.requests(), deliveries.absorb) for deliveries in found),
            (depths.requests(), depths.absorb),
        )
        self._ask(
            tick,
            *((deliveries.sizes(), deliveries.absorb_sizes) for deliveries in found),
            (depths.probes(), depths.absorb_probes),
        )
        self._ask(
            tick, *((deliveries.entries(), deliveries.absorb_entries) for deliveries in found)
        )
        return {prefix: deliveries.split() for prefix, deliveries in self._deliveries.items()}

    def _plan(self, internal: bool) -> None:
        """Decide which queues are measured, in the order in which they are shown."""
        catalog = self._catalog
        self._planned = (catalog.version, internal)
        chosen = [queue for queue in catalog.queues.values() if internal or not queue.internal]
        labels = catalog.labels(sorted(chosen, key=lambda queue: queue.key))
        chosen.sort(key=lambda queue: labels[queue.key])
        self._rows = [_Row(labels[queue.key], queue) for queue in chosen]
        self._depths.plan(chosen)

    def _queues(self, splits: Mapping[bytes, Split]) -> tuple[tuple[QueueReading, ...], list[str]]:
        refusals = self._depths.refusals
        readings = []
        for i, (row, counts) in enumerate(zip(self._rows, self._depths.counts, strict=True)):
            by_queue = splits[row.prefix].by_queue
            unacked = None if by_queue is None else by_queue.get(row.key, 0)
            readings.append(row.reading(None if i in refusals else counts, unacked))
        warnings = [_refused(self._rows[i].name, refusal) for i, refusal in refusals.items()]
        return tuple(readings), warnings

    def _warnings(self, refused: list[str], splits: Iterable[Split]) -> tuple[str, ...]:
        found = []
        discovery, catalog = self._discovery, self._catalog
        if not discovery.complete:
            found.append(f"still looking for queues: {discovery.search.progress}")
        if discovery.search.refusal is not None:
            found.append("queues may be missing: the server does not let us list its keys")
        if catalog.full:
            limits = f"{MOST_QUEUES:,} queues or {MOST_PREFIXES} key prefixes"
            found.append(f"there are more than {limits}: some are left out")
        if catalog.unread:
            found.append(f"{catalog.unread} bindings of queues could not be understood")
        if self._listener.trouble is not None:
            found.append(self._listener.trouble)
        found += sorted({split.reason for split in splits if split.reason is not None})
        found += refused[:_MOST_REFUSED]
        if len(refused) > _MOST_REFUSED:
            found.append(f"{len(refused) - _MOST_REFUSED} more queues cannot be read")
        return tuple(found)


def _totals(splits: Iterable[Split]) -> dict[str, int]:
    known = [split.total for split in splits if split.total is not None]
    return {"unacked": sum(known)} if known else {}


def _refused(name: str, refusal: ReplyError) -> str:
    if code_of(refusal) == "WRONGTYPE":
        return f"the key {name!r} is not a list, so its depth is unknown"
    if code_of(refusal) == "NOPERM":
        return f"the server does not let us read the queue {name!r}"
    return f"the queue {name!r} cannot be read ({code_of(refusal)})"
