"""Whether events are followed: from when they are first asked for until nobody asks any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgtop.backends.celery.catalog import Catalog
    from bgtop.backends.celery.event_listener import EventListener
    from bgtop.backends.rabbit_url import RabbitAddress
    from bgtop.backends.redis_url import RedisAddress
    from bgtop.contracts import Settings
    from bgtop.symptoms import Finding
    from bgtop.task_events import EventsReading, ToldEvent

REST_AFTER: Final = 120.0
"""Seconds without a question after which nobody wants to know; counting then begins anew."""


class EventDemand:
    """Holds a listener while it is needed; nothing of it is even imported before."""

    def __init__(self, begin: Callable[[], EventListener]) -> None:
        self._begin = begin
        self._listener: EventListener | None = None
        self._asked = 0.0
        self._closed = False

    def answer(self, asked: bool, tick: float) -> EventsReading | None:
        """What was counted, if that is ``asked``; ``tick`` is a monotonic clock."""
        if not asked:
            if tick - self._asked > REST_AFTER:
                self._rest()
            return None
        self._asked = tick
        listener = self._listener
        if listener is None:
            listener = self._listener = self._begin()
            if self._closed:
                self._rest()
        return listener.reading()

    def told(self, asked: bool) -> tuple[ToldEvent, ...] | None:
        """What events said since the last question, for as long as they are followed."""
        listener = self._listener
        return None if listener is None else listener.told(asked)

    def findings(self, tick: float) -> tuple[Finding, ...]:
        """Who could tell events and does not; to find out, they are followed."""
        self.answer(True, tick)
        listener = self._listener
        return () if listener is None else listener.findings()

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why nothing is heard at present."""
        listener = self._listener
        return () if listener is None or listener.trouble is None else (listener.trouble,)

    def _rest(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def close(self) -> None:
        """Stop listening for good; safe from another thread, and twice."""
        self._closed = True
        self._rest()


def events_on_redis(
    address: RedisAddress, topic: bytes, settings: Settings, catalog: Catalog
) -> EventDemand:
    """The events of all applications in this database that the catalog knows."""

    def begin() -> EventListener:
        from bgtop.backends.celery.redis_events import listener

        return listener(address, topic, settings, lambda: catalog.prefixes)

    return EventDemand(begin)


def events_on_rabbit(address: RabbitAddress, settings: Settings) -> EventDemand:
    """The events of all applications in this vhost."""

    def begin() -> EventListener:
        from bgtop.backends.celery.rabbit_task_events import listener

        return listener(address, settings)

    return EventDemand(begin)
