"""What an application publishes to a topic exchange, heard through one queue of our own.

The queue is exclusive, so it ends with our connection; it is limited in length, in time and, by
what we have not acknowledged yet, in what the broker sends ahead: a bgtop that is stopped costs the
broker some megabytes at most. The exchange is never declared, only asked for.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import amqp

from bgtop.backends.rabbit_queues import OWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgtop.backends.rabbit_link import RabbitLink

LIMITS: Final = {
    "x-expires": 60_000,
    "x-message-ttl": 60_000,
    "x-max-length": 10_000,
    "x-max-length-bytes": 16 * 1024 * 1024,
}
AHEAD = 5_000
"""Messages the broker sends before we have acknowledged any."""

SECONDS_PER_POLL = 1.0
"""A poll goes on with what has arrived by then."""

_NOTHING_MORE = 0.001
"""Seconds of silence after which everything is here."""


class Events:
    """Gives each message to ``take`` as (routing key, body); used from the thread of the link."""

    def __init__(
        self, link: RabbitLink, exchange: str, topics: str, take: Callable[[str, bytes], None]
    ) -> None:
        """``topics`` are patterns of routing keys, with blanks between them."""
        self.refused: str | None = None
        """What the broker does not let us do; kept until the next log-in."""
        self._link = link
        self._exchange = exchange
        self._topics = topics.split()
        self._take = take
        self._channel: amqp.Channel | None = None
        self._login = 0
        self._last: int | None = None

    @property
    def listening(self) -> bool:
        """Whether messages reach us."""
        return self._channel is not None and self._login == self._link.logins

    def listen(self) -> bool:
        """Begin to listen; ``False`` when the exchange is not there, or we may not.

        Raises:
            BackendError: when the broker cannot be used at all.
        """
        return self._link.use(self._listen)

    def _listen(self, connection: amqp.Connection) -> bool:
        self._channel, self._last, self.refused = None, None, None
        self._login = self._link.logins
        channel = amqp.Channel(connection, auto_decode=False)
        try:
            self._subscribe(channel)
        except amqp.AccessRefused:
            self.refused = f"the user {self._link.address.username!r} may not listen to events"
        except amqp.NotFound:
            pass
        else:
            self._channel = channel
            return True
        channel.close()
        return False

    def _subscribe(self, channel: amqp.Channel) -> None:
        # A monitoring user needs configure, write and read on names like this one.
        name = OWN + uuid4().hex
        channel.open()
        channel.exchange_declare(self._exchange, "topic", passive=True)
        self._link.round_trips += 2
        channel.queue_declare(name, exclusive=True, auto_delete=True, arguments=LIMITS)
        for topic in self._topics:
            channel.queue_bind(name, self._exchange, topic)
        channel.basic_qos(0, AHEAD, False)
        channel.basic_consume(name, callback=self._receive, on_cancel=self._cancelled)
        self._link.round_trips += 3 + len(self._topics)

    def _cancelled(self, _tag: str) -> None:
        self._channel = None

    def _receive(self, message: amqp.Message) -> None:
        self._last = message.delivery_tag
        body = message.body
        self._take(message.delivery_info["routing_key"], body if isinstance(body, bytes) else b"")

    def poll(self, patience: float = _NOTHING_MORE) -> None:
        """Take what has arrived, or comes within ``patience`` seconds.

        A lost connection is found out by who asks next.

        Raises:
            BackendError: when the broker cannot be used at all.
        """
        if self.listening:
            self._link.use(lambda connection: self._drain(connection, patience))

    def _drain(self, connection: amqp.Connection, patience: float) -> None:
        end = monotonic() + SECONDS_PER_POLL
        try:
            connection.drain_events(timeout=patience)
            while monotonic() < end:
                connection.drain_events(timeout=_NOTHING_MORE)
        except TimeoutError:
            pass
        if self.listening and self._channel is not None and self._last is not None:
            self._channel.basic_ack(self._last, multiple=True)
            self._last = None
        connection.heartbeat_tick()
