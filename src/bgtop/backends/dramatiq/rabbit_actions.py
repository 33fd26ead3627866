"""What can be done to Dramatiq's messages in RabbitMQ: to dead letters, and to whole queues."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from bgtop.actions import Action, DeleteJob, Outcome, PurgeQueue, RequeueFailed, RetryJob, Verb
from bgtop.backends.dramatiq.stored_message import message_in, sent_anew
from bgtop.backends.rabbit_commands import purge
from bgtop.backends.rabbit_dead_letters import Sorting, go_through
from bgtop.backends.rabbit_queues import DEAD_ENDING
from bgtop.contracts import NoSuchTarget, Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.backends.rabbit_link import RabbitLink

VERBS: Final = frozenset({Verb.RETRY, Verb.DELETE, Verb.REQUEUE, Verb.PURGE})

_NO_CANCEL: Final = "a single message that waits in RabbitMQ cannot be taken out: purge the queue"
_NO_PAUSE: Final = (
    "Dramatiq cannot pause a queue: stop its workers, or start them without it (--queues)"
)


def refused(action: Action) -> Unsupported:
    """Why this cannot be done with Dramatiq on RabbitMQ."""
    return Unsupported(_NO_CANCEL if action.verb is Verb.CANCEL else _NO_PAUSE)


class Actions:
    """Carries actions out, each on a channel of its own."""

    def __init__(self, link: RabbitLink, seconds: float) -> None:
        self._link = link
        self._seconds = seconds

    def perform(self, action: Action, queues: Sequence[str]) -> Outcome:
        """See :meth:`bgtop.contracts.Backend.perform`; ``queues`` are those without endings."""
        match action:
            case RetryJob():
                return self._one(action.id, queues, forget=False)
            case DeleteJob():
                return self._one(action.id, queues, forget=True)
            case RequeueFailed():
                chosen = [name for name in queues if action.queue in (None, name)]
                meant = partial(_calls, action.task)
                return Outcome(sum(self._sort(q, Sorting(meant, _anew(q))) for q in chosen))
            case PurgeQueue():
                if action.queue not in queues:
                    raise NoSuchTarget(f"there is no queue {action.queue!r} of Dramatiq's")
                return Outcome(purge(self._link, action.queue))
            case _:
                raise refused(action)

    def _one(self, identity: str, queues: Sequence[str], *, forget: bool) -> Outcome:
        for queue in queues:
            anew = None if forget else _anew(queue)
            if self._sort(queue, Sorting(partial(_has_id, identity), anew, one=True)):
                return Outcome(1)
        raise NoSuchTarget(f"there is no dead letter {identity!r}")

    def _sort(self, queue: str, sorting: Sorting) -> int:
        return go_through(self._link, queue + DEAD_ENDING, queue, sorting, self._seconds)


def _anew(queue: str) -> partial[bytes]:
    return partial(_sent_to, queue)


def _sent_to(queue: str, body: bytes) -> bytes:
    return sent_anew(body, queue.encode("utf-8", "surrogatepass"), time.time())


def _has_id(identity: str, body: bytes) -> bool:
    message = message_in(body)
    return message is not None and message.id == identity


def _calls(task: str | None, body: bytes) -> bool:
    if task is None:
        return True
    message = message_in(body)
    return message is not None and message.actor == task
