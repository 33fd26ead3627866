"""Going through a queue of dead letters that nobody consumes, and sending some of them again.

A dead letter is taken without being acknowledged, published to its queue, and acknowledged only
when the broker has confirmed that it is there: one after the other, so that whatever ends bgtop
leaves at most one of them in both places, and none in neither. What was taken and is not wanted
goes back to where it was when our channel closes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import amqp

from bgtop.backends.rabbit_commands import on_a_channel
from bgtop.contracts import Absent, BackendError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgtop.backends.rabbit_link import RabbitLink

MOST_AT_A_TIME = 10_000
"""Dead letters of one queue that one action looks at."""

MOST_RETURNS = 10
"""A quorum queue drops what was given back to it twenty times; bgtop stops long before."""

_KEPT = ("content_type", "content_encoding", "priority", "message_id")


class Sorting(NamedTuple):
    """Which dead letters are meant, and what becomes of them."""

    is_meant: Callable[[bytes], bool]
    anew: Callable[[bytes], bytes] | None
    """The body to be sent again; without it they are deleted."""
    one: bool = False
    """Whether the first that is meant is the only one."""


def go_through(link: RabbitLink, dead: str, target: str, sorting: Sorting, seconds: float) -> int:
    """Take the dead letters there are now, the first one first; how many were meant.

    Raises:
        BackendError: when the broker cannot be used, does not let us, or did not take one of them;
            those before are sent.
    """

    def sort(channel: amqp.Channel) -> int:
        done = 0
        for _ in range(
            min(channel.queue_declare(dead, passive=True).message_count, MOST_AT_A_TIME)
        ):
            message = channel.basic_get(dead)
            if message is None:
                break
            body = message.body if isinstance(message.body, bytes) else b""
            if sorting.is_meant(body):
                if sorting.anew is not None:
                    _publish(channel, target, message, sorting.anew(body), seconds)
                channel.basic_ack(message.delivery_tag)
                done += 1
                if sorting.one:
                    break
            elif _returns_of(message) >= MOST_RETURNS:
                raise BackendError(
                    f"the queue {dead!r} counts how often a message was looked at, and would drop "
                    "it at last: send all of them again"
                )
        return done

    return on_a_channel(link, sort, f"queue {dead!r}")


def _publish(channel: amqp.Channel, queue: str, message: Any, body: bytes, seconds: float) -> None:
    returned: list[object] = []
    channel.events["basic_return"] = {lambda *told: returned.append(told)}
    told = ((name, message.properties.get(name)) for name in _KEPT)
    properties = {name: value for name, value in told if value is not None}
    channel.basic_publish_confirm(
        amqp.Message(body, delivery_mode=2, **properties),
        exchange="",
        routing_key=queue,
        mandatory=True,
        confirm_timeout=seconds,
    )
    if returned:
        raise Absent(f"there is no queue {queue!r} any more")


def _returns_of(message: Any) -> int:
    """How often this was given back to a quorum queue."""
    headers = message.properties.get("application_headers")
    count = headers.get("x-delivery-count") if isinstance(headers, dict) else None
    return count if isinstance(count, int) else 0
