"""Celery's events on RabbitMQ: a connection and a queue of our own, which end with us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.backends.celery.event_listener import EventListener
from bgtop.backends.celery.event_wire import LONGEST
from bgtop.backends.celery.wire import json_of
from bgtop.backends.rabbit_events import Events
from bgtop.backends.rabbit_link import RabbitLink
from bgtop.contracts import BackendError, NotPermitted

if TYPE_CHECKING:
    from bgtop.backends.rabbit_url import RabbitAddress
    from bgtop.contracts import Settings


class RabbitTaskEvents:
    """A stream of what workers and producers publish to ``celeryev``."""

    def __init__(self, link: RabbitLink) -> None:
        self._link = link
        self._events = Events(link, "celeryev", "task.# worker.#", self._hear)
        self._bodies: list[object] = []

    def close(self) -> None:
        """Free the connection, and with it the queue."""
        self._link.close()

    def listen(self) -> bool:
        """Begin to listen if we do not; the exchange is there once a worker was."""
        if self._events.listening:
            return False
        if not self._events.listen():
            refused = self._events.refused
            if refused is not None:
                raise NotPermitted(refused)
            raise BackendError("no worker has ever published any here (exchange celeryev)")
        return True

    def _hear(self, _topic: str, body: bytes) -> None:
        self._bodies.append(json_of(body) if len(body) <= LONGEST else None)

    def bodies(self, timeout: float) -> list[object]:
        """What is here; the broker sends no more than some thousands before we took them."""
        self._events.poll(timeout)
        bodies, self._bodies = self._bodies, []
        return bodies


def listener(address: RabbitAddress, settings: Settings) -> EventListener:
    """Begin to listen."""
    link = RabbitLink(
        address, connect_timeout=settings.connect_timeout, read_timeout=settings.read_timeout
    )
    return EventListener(RabbitTaskEvents(link), settings.dead_after)
