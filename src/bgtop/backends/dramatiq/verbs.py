"""What cannot be done with Dramatiq, and what can be done instead."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from bgtop.actions import WORKER_VERBS, Verb

_NO_PAUSE = "Dramatiq cannot pause a queue: stop its workers, or start them without it (--queues)"
_NO_CANCEL = "a single message that waits in RabbitMQ cannot be taken out: purge the queue"

_NO_SEND = "bgtop sends no messages of Dramatiq: actors do, from the application"
_NO_STEERING = "Dramatiq's workers listen to nobody: stop them, and start them as they should be"

NOT_ON_REDIS: Final = MappingProxyType(
    {
        **dict.fromkeys((Verb.PAUSE, Verb.RESUME), _NO_PAUSE),
        **dict.fromkeys(WORKER_VERBS, _NO_STEERING),
        Verb.SEND: _NO_SEND,
    }
)
NOT_ON_RABBITMQ: Final = MappingProxyType({**NOT_ON_REDIS, Verb.CANCEL: _NO_CANCEL})
