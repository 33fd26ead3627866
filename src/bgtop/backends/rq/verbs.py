"""What cannot be done with RQ, and what can be done instead."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from bgtop.actions import WORKER_VERBS, Verb

_NO_PAUSE = (
    "RQ cannot pause one queue: 'bgtop worker suspend' lets all workers rest,"
    " and 'bgtop worker wake' work again"
)
_NO_SEND = "a job of RQ holds Python's own data: enqueue it from the application"
_NO_ABORT = "RQ asks no job to end: cancel it with terminate"
_NO_STEERING = (
    "RQ's workers listen to suspend, wake, shutdown, and to restart, which kills the job they run:"
    " for the rest stop them, and start them as they should be"
)
_HEARD = frozenset({Verb.SUSPEND, Verb.WAKE, Verb.SHUTDOWN, Verb.RESTART})
WHY_NOT: Final = MappingProxyType(
    {
        **dict.fromkeys((Verb.PAUSE, Verb.RESUME), _NO_PAUSE),
        **dict.fromkeys(WORKER_VERBS - _HEARD, _NO_STEERING),
        Verb.SEND: _NO_SEND,
        Verb.ABORT: _NO_ABORT,
    }
)
