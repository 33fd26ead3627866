"""Celery's events on Redis: one subscription to all channels of the event exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.backends.celery.event_listener import EventListener
from bgtop.backends.celery.event_wire import body_in
from bgtop.backends.celery.heartbeats import literally
from bgtop.backends.redis_link import RedisSubscription
from bgtop.contracts import NotPermitted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bgtop.backends.redis_url import RedisAddress
    from bgtop.contracts import Settings


class RedisEvents:
    """A stream; ``prefixes`` gives those that are known by now, from any thread."""

    def __init__(
        self, link: RedisSubscription, topic: bytes, prefixes: Callable[[], Iterable[bytes]]
    ) -> None:
        self._prefixes = prefixes
        self._link = link
        self._topic = topic
        self._asked: set[bytes] = set()
        self._hears = False

    def close(self) -> None:
        """Free the connection."""
        self._link.close()

    def listen(self) -> bool:
        """Subscribe to what is new; whether it is the first that a connection lets us hear."""
        if not self._link.connected:
            self._asked.clear()
            self._hears = False
        heard_before = self._hears
        for prefix in set(self._prefixes()) - self._asked:
            # The narrowest first; an ACL allows a pattern only if it was granted literally so.
            literal = literally(prefix + self._topic)
            refused = all(self._link.subscribe(literal + ending) for ending in (b"/*", b"*"))
            self._asked.add(prefix)
            self._hears = self._hears or not refused
        if not self._hears:
            self._asked.clear()
            raise NotPermitted("the server does not let us subscribe to them (PSUBSCRIBE)")
        return not heard_before

    def bodies(self, timeout: float) -> Iterator[object]:
        """The bodies of the messages that are here, decoded one by one."""
        for channel, payload in self._link.messages(timeout):
            if self._topic + b"/" in channel:
                yield body_in(payload)


def listener(
    address: RedisAddress, topic: bytes, settings: Settings, prefixes: Callable[[], Iterable[bytes]]
) -> EventListener:
    """Begin to listen."""
    link = RedisSubscription(
        address, connect_timeout=settings.connect_timeout, read_timeout=settings.read_timeout
    )
    return EventListener(RedisEvents(link, topic, prefixes), settings.dead_after)
