"""What bgtop does at a RabbitMQ broker when it is told to: empty a queue, publish, and ask around.

Each on a channel of its own, which a refusal closes. Facts from AMQP 0-9-1 and RabbitMQ: what is
``mandatory`` and reaches no queue comes back before it is confirmed; a purge tells how many
messages were ready, and leaves those that consumers hold.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from uuid import uuid4

import amqp
from amqp.exceptions import MessageNacked

from bgtop.backends.rabbit_errors import shortened
from bgtop.backends.rabbit_events import LIMITS
from bgtop.backends.rabbit_link import IMPOSSIBLE, can_be
from bgtop.backends.rabbit_queues import OWN
from bgtop.contracts import Absent, BackendError, NoSuchTarget, NotPermitted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bgtop.backends.rabbit_link import RabbitLink

T = TypeVar("T")


class Parcel(NamedTuple):
    """A message of JSON; ``headers`` are for whom it reaches."""

    headers: Mapping[str, object]
    body: bytes
    persistent: bool = False
    correlation_id: str | None = None
    priority: int = 0

    def message(self) -> amqp.Message:
        """As py-amqp sends it."""
        more: dict[str, object] = {}
        if self.correlation_id is not None:
            more["correlation_id"] = self.correlation_id
        if self.priority:
            more["priority"] = self.priority
        return amqp.Message(
            self.body,
            content_type="application/json",
            content_encoding="utf-8",
            application_headers={**self.headers},
            delivery_mode=2 if self.persistent else 1,
            **more,
        )


def purge(link: RabbitLink, queue: str) -> int:
    """Delete the messages that are ready in a queue; how many they were.

    Raises:
        NoSuchTarget: when there is no such queue.
        BackendError: when the broker cannot be used, or does not let us.
    """
    if not queue:  # AMQP would take it for the queue declared last
        raise NoSuchTarget("no queue is without a name")
    if not can_be(queue, link.version):
        raise NoSuchTarget(IMPOSSIBLE.text)
    return on_a_channel(link, lambda channel: int(channel.queue_purge(queue)), f"queue {queue!r}")


def publish(link: RabbitLink, queue: str, parcel: Parcel, seconds: float) -> None:
    """Put a message into a queue, and wait until the broker has it.

    Raises:
        NoSuchTarget: when there is no such queue.
        BackendError: when the broker cannot be used, or did not take it.
    """

    def send(channel: amqp.Channel) -> bool:
        returned: list[object] = []
        channel.events["basic_return"].add(lambda *told: returned.append(told))
        channel.basic_publish_confirm(
            parcel.message(),
            exchange="",
            routing_key=queue,
            mandatory=True,
            confirm_timeout=seconds,
        )
        return not returned

    if not on_a_channel(link, send, f"queue {queue!r}"):
        raise Absent(f"there is no queue {queue!r}")


def ask_around(
    link: RabbitLink,
    exchange: str,
    parcels_for: Callable[[str], Iterable[Parcel]],
    take: Callable[[Mapping[str, object], bytes], bool],
    seconds: float,
) -> None:
    """Publish to an exchange what names our own queue, and take what comes back into that.

    ``take`` is given headers and body. Ends when it returns true, or after ``seconds``, or when
    there is no such exchange.

    Raises:
        BackendError: when the broker cannot be used, or does not let us.
    """
    ended: list[bool] = []

    def receive(message: amqp.Message) -> None:
        body, headers = message.body, message.headers
        known = headers if isinstance(headers, dict) else {}
        if take(known, body if isinstance(body, bytes) else b""):
            ended.append(True)

    def ask(channel: amqp.Channel) -> None:
        name = OWN + uuid4().hex
        channel.queue_declare(name, exclusive=True, auto_delete=True, arguments=LIMITS)
        channel.basic_consume(name, no_ack=True, callback=receive)
        for parcel in parcels_for(name):
            channel.basic_publish(parcel.message(), exchange=exchange, routing_key="")
        deadline = monotonic() + seconds
        try:
            while not ended:
                link.read(channel.connection, deadline)
        except TimeoutError:
            pass

    try:
        on_a_channel(link, ask, f"exchange {exchange!r}")
    except NoSuchTarget:
        return


def on_a_channel(link: RabbitLink, do: Callable[[amqp.Channel], T], what: str) -> T:
    """Do something once; a refusal by the broker is no fault of the connection, which is kept."""
    place, user = link.address.place, link.address.username

    def once(connection: amqp.Connection) -> T | BackendError:
        channel = amqp.Channel(connection, auto_decode=False)
        channel.open()
        link.round_trips += 2
        link.commands += 1
        try:
            return do(channel)
        except amqp.NotFound:
            return Absent(f"there is no {what}")
        except amqp.AccessRefused as error:
            words = shortened(str(error.reply_text or ""))
            return NotPermitted(f"{place} does not let user {user!r} do that: {words}")
        except MessageNacked:
            return BackendError(f"{place} did not take the message")
        except (amqp.ResourceLocked, amqp.PreconditionFailed) as error:
            return BackendError(f"{place} refused: {shortened(str(error.reply_text or ''))}")
        finally:
            channel.close()

    done = link.act(once)
    if isinstance(done, BackendError):
        raise done
    return done
