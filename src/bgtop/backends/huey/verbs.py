"""What cannot be done with Huey, in Redis or in a file, and what can be done instead."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from bgtop.actions import WORKER_VERBS, Verb

_NO_REQUEUE: Final = "Huey forgets a task once it was taken: call it again from the application"
_NO_PAUSE: Final = "Huey cannot pause a queue: stop its consumer"
_NO_SEND: Final = "a task of Huey holds Python's own data: call it from the application"
_NO_STEERING: Final = "Huey's consumers listen to nobody: stop them, and start others"
WHY_NOT: Final = MappingProxyType(
    {
        Verb.REQUEUE: _NO_REQUEUE,
        **dict.fromkeys((Verb.PAUSE, Verb.RESUME), _NO_PAUSE),
        **dict.fromkeys(WORKER_VERBS, _NO_STEERING),
        Verb.SEND: _NO_SEND,
    }
)
