"""What can be done to Dramatiq's messages in RabbitMQ: to dead letters, and to a queue as a whole.

A dead letter is taken without being acknowledged, published to its queue, and acknowledged only
when the broker has confirmed that it is there: one after the other, so that whatever ends bgtop
leaves at most one of them in both places, and none in neither. What was taken and is not wanted
goes back to where it was when our channel closes.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import amqp

from bgtop.actions import Action, DeleteJob, Outcome, PurgeQueue, RequeueFailed, RetryJob, Verb
from bgtop.backends.dramatiq.stored_message import message_in, sent_anew
from bgtop.backends.rabbit_errors import broker_failure, shortened
from bgtop.backends.rabbit_queues import DEAD_ENDING
from bgtop.contracts import BackendError, NoSuchTarget, NotPermitted, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bgtop.backends.rabbit_link import RabbitLink

    T = TypeVar("T")

VERBS: Final = frozenset({Verb.RETRY, Verb.DELETE, Verb.REQUEUE, Verb.PURGE})

MOST_AT_A_TIME = 10_000
"""Dead letters of one queue that one action looks at."""

MOST_RETURNS = 10
"""A quorum queue drops what was given back to it twenty times; bgtop stops long before."""

_NO_CANCEL: Final = "a single message that waits in RabbitMQ cannot be taken out: purge the queue"
_NO_PAUSE: Final = (
    "Dramatiq cannot pause a queue: stop its workers, or start them without it (--queues)"
)


def refused(action: Action) -> Unsupported:
    """Why this cannot be done with Dramatiq on RabbitMQ."""
    return Unsupported(_NO_CANCEL if action.verb is Verb.CANCEL else _NO_PAUSE)


class _Job(NamedTuple):
    """What is to be done with dead letters: with the one of this id, or those of this task."""

    id: str | None = None
    task: str | None = None
    forget: bool = False

    def is_about(self, body: bytes) -> bool:
        """Whether this message is meant."""
        if self.id is None and self.task is None:
            return True
        message = message_in(body)
        if message is None:
            return False
        return message.id == self.id if self.id is not None else message.actor == self.task


class _Broken(BackendError):
    """The connection was lost in the middle of an action."""

    def __init__(self, fault: BackendError) -> None:
        super().__init__(str(fault))
        self.fault = fault


class Actions:
    """Carries actions out, each on a channel of its own."""

    def __init__(self, link: RabbitLink, seconds: float) -> None:
        self._link = link
        self._seconds = seconds

    def perform(self, action: Action, queues: Sequence[str]) -> Outcome:
        """See :meth:`bgtop.contracts.Backend.perform`; ``queues`` are those without endings."""
        match action:
            case RetryJob():
                return self._one(_Job(id=action.id), queues)
            case DeleteJob():
                return self._one(_Job(id=action.id, forget=True), queues)
            case RequeueFailed():
                chosen = [name for name in queues if action.queue in (None, name)]
                return self._all(_Job(task=action.task), chosen)
            case PurgeQueue():
                if action.queue not in queues:
                    raise NoSuchTarget(f"there is no queue {action.queue!r} of Dramatiq's")
                return Outcome(self._on_a_channel(lambda one: int(one.queue_purge(action.queue))))
            case _:
                raise refused(action)

    def _one(self, job: _Job, queues: Sequence[str]) -> Outcome:
        for queue in queues:
            if self._on_a_channel(partial(self._go_through, queue=queue, job=job)):
                return Outcome(1)
        raise NoSuchTarget(f"there is no dead letter {job.id!r}")

    def _all(self, job: _Job, queues: Sequence[str]) -> Outcome:
        moved = 0
        for queue in queues:
            moved += self._on_a_channel(partial(self._go_through, queue=queue, job=job))
        return Outcome(moved)

    def _go_through(self, channel: amqp.Channel, queue: str, job: _Job) -> int:
        """Take the dead letters there are now, the first one first; how many were meant."""
        dead = queue + DEAD_ENDING
        count = channel.queue_declare(dead, passive=True).message_count
        done = 0
        for _ in range(min(count, MOST_AT_A_TIME)):
            message = channel.basic_get(dead)
            if message is None:
                break
            body = message.body if isinstance(message.body, bytes) else b""
            if job.is_about(body):
                if not job.forget:
                    self._publish(channel, queue, message, body)
                channel.basic_ack(message.delivery_tag)
                done += 1
                if job.id is not None:
                    break
            elif _returns_of(message) >= MOST_RETURNS:
                raise BackendError(
                    f"the queue {dead!r} counts how often a message was looked at, and would drop "
                    "it at last: send all of them again"
                )
        return done

    def _publish(self, channel: amqp.Channel, queue: str, message: Any, body: bytes) -> None:
        returned: list[object] = []
        channel.events["basic_return"] = {lambda *told: returned.append(told)}
        properties = {
            name: value
            for name in ("content_type", "content_encoding", "priority", "message_id")
            if (value := message.properties.get(name)) is not None
        }
        channel.basic_publish_confirm(
            amqp.Message(
                sent_anew(body, queue.encode(), time.time()), delivery_mode=2, **properties
            ),
            exchange="",
            routing_key=queue,
            mandatory=True,
            confirm_timeout=self._seconds,
        )
        if returned:
            raise NoSuchTarget(f"there is no queue {queue!r} any more")

    def _on_a_channel(self, do: Callable[[amqp.Channel], T]) -> T:
        """Do something once: what fails after it has begun is not tried again."""
        link = self._link
        address = link.address

        def once(connection: amqp.Connection) -> T | BackendError:
            channel = amqp.Channel(connection, auto_decode=False)
            channel.open()
            link.round_trips += 2
            link.commands += 1
            try:
                done = do(channel)
                # Only a channel that was closed in good order has certainly sent all it was told.
                channel.close()
            except BackendError as error:
                channel.close()
                return error
            except amqp.ChannelError as error:
                return _refusal(error, address.place, address.username)
            except amqp.exceptions.MessageNacked:
                channel.close()
                return BackendError(f"{address.place} did not take the message: is its queue full?")
            except Exception as error:
                # As itself it would be taken for a reason to try again.
                raise _Broken(broker_failure(error, address, self._seconds)) from error
            return done

        try:
            done = link.use(once)
        except _Broken as broken:
            raise broken.fault from broken
        if isinstance(done, BackendError):
            raise done
        return done


def _refusal(error: amqp.ChannelError, place: str, user: str) -> BackendError:
    if isinstance(error, amqp.NotFound):
        return NoSuchTarget(f"{place} has no such queue any more")
    if isinstance(error, amqp.AccessRefused):
        return NotPermitted(f"{place} does not let user {user!r} do this: see the rights it needs")
    return BackendError(f"{place} refused: {shortened(str(error.reply_text or error))}")


def _returns_of(message: Any) -> int:
    """How often this was given back to a quorum queue."""
    headers = message.properties.get("application_headers")
    count = headers.get("x-delivery-count") if isinstance(headers, dict) else None
    return count if isinstance(count, int) else 0
