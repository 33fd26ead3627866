"""What can be done to Dramatiq's messages in RabbitMQ: to dead letters, and to whole queues."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from bgtop.actions import DeleteJob, Outcome, PurgeQueue, RequeueFailed, RetryJob
from bgtop.backends.dramatiq.stored_message import message_in, sent_anew
from bgtop.backends.dramatiq.verbs import NOT_ON_RABBITMQ
from bgtop.backends.performer import Performer
from bgtop.backends.rabbit_commands import purge
from bgtop.backends.rabbit_dead_letters import Sorting, go_through
from bgtop.backends.rabbit_queues import DEAD_ENDING
from bgtop.backends.raw_names import quoted
from bgtop.contracts import Absent

if TYPE_CHECKING:
    from bgtop.backends.rabbit_link import RabbitLink


class Actions(Performer[Sequence[str]]):
    """Carries actions out in these queues, without endings, each on a channel of its own."""

    why_not = NOT_ON_RABBITMQ

    def __init__(self, link: RabbitLink, seconds: float) -> None:
        self._link = link
        self._seconds = seconds

    def _retry(self, action: RetryJob, scope: Sequence[str]) -> Outcome:
        return self._one(action.id, scope, forget=False)

    def _delete(self, action: DeleteJob, scope: Sequence[str]) -> Outcome:
        return self._one(action.id, scope, forget=True)

    def _requeue(self, action: RequeueFailed, scope: Sequence[str]) -> Outcome:
        chosen = [name for name in scope if action.queue in (None, name)]
        meant = partial(_calls, action.task)
        return Outcome(sum(self._sort(name, Sorting(meant, _anew(name))) for name in chosen))

    def _purge(self, action: PurgeQueue, scope: Sequence[str]) -> Outcome:
        if action.queue not in scope:
            raise Absent(f"there is no queue {quoted(action.queue)} of Dramatiq's")
        return Outcome(purge(self._link, action.queue))

    def _one(self, identity: str, queues: Sequence[str], *, forget: bool) -> Outcome:
        for queue in queues:
            anew = None if forget else _anew(queue)
            if self._sort(queue, Sorting(partial(_has_id, identity), anew, one=True)):
                return Outcome(1)
        raise Absent(f"there is no dead letter {identity!r}")

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
