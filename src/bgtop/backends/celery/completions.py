"""When a task of each queue completed last, by the results that workers announce.

Celery's Redis result backend publishes each result it stores on ``celery-task-meta-<id>``, with all
that the task returned, which may be large. So this is done only where the address names the result
backend. A result tells its queue only with ``result_extended``; what it calls the queue is the
routing key, which is the queue's name unless an application routes by other means.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bgtop.backends.celery.wire import result_of
from bgtop.backends.redis_link import RedisSubscription
from bgtop.contracts import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bgtop.backends.celery.catalog import Catalog
    from bgtop.backends.redis_url import RedisAddress
    from bgtop.contracts import Settings

CHANNEL = b"celery-task-meta-"


class Completions:
    """Keeps a subscription to announced results; nothing is ever read from the results stored."""

    def __init__(self, address: RedisAddress, settings: Settings, catalog: Catalog) -> None:
        self.link = RedisSubscription(
            address,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
        )
        self.last: dict[bytes, datetime] = {}
        """By key of the queue."""
        self.trouble: str | None = None
        self._catalog = catalog
        self._subscribed: set[bytes] = set()
        self._looked_at = 0.0

    def poll(self, now: float) -> None:
        """Fold what arrived since the last look; ``now`` is in seconds since the epoch."""
        try:
            self._subscribe(self._catalog.prefixes, now)
            for channel, payload in self.link.messages():
                self._fold(channel.rpartition(CHANNEL)[0], payload, now)
        except BackendError as error:
            self.trouble = f"no results: {error}"
        self._looked_at = now

    def _subscribe(self, prefixes: Iterable[bytes], now: float) -> None:
        if not self.link.connected:
            self._subscribed.clear()
            self.trouble = None
            self._looked_at = now
        for prefix in prefixes:
            if prefix not in self._subscribed:
                self._subscribed.add(prefix)
                if self.link.subscribe(literal(prefix + CHANNEL) + b"*") is not None:
                    self.trouble = (
                        "no results: the server does not let us subscribe to them (PSUBSCRIBE)"
                    )

    def _fold(self, prefix: bytes, payload: bytes, now: float) -> None:
        result = result_of(payload)
        key = None if result is None else self._queue(prefix, result.queue)
        if result is None or key is None:
            return
        # It was said between two looks, whatever the clock of the worker says.
        said_at = now if result.done_at is None else result.done_at
        at = datetime.fromtimestamp(min(max(said_at, self._looked_at), now), timezone.utc)
        self.last[key] = max(at, self.last.get(key, at))

    def _queue(self, prefix: bytes, name: bytes) -> bytes | None:
        """The key of the queue: results need not have the prefix that the broker's keys have."""
        if prefix + name in self._catalog.queues:
            return prefix + name
        keys = [one + name for one in self._catalog.prefixes if one + name in self._catalog.queues]
        return keys[0] if len(keys) == 1 else None


def literal(channel: bytes) -> bytes:
    """The pattern that matches this channel only."""
    for special in (b"\\", b"*", b"?", b"["):
        channel = channel.replace(special, b"\\" + special)
    return channel
