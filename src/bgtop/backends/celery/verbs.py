"""What of Celery can be steered from outside, and why the rest cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.actions import WORKER_VERBS, Verb
from bgtop.contracts import Unsupported

if TYPE_CHECKING:
    from bgtop.actions import Action

_STEERED = WORKER_VERBS - {Verb.SUSPEND, Verb.WAKE}
ON_REDIS = frozenset({Verb.RETRY, Verb.CANCEL, Verb.DELETE, Verb.PURGE}) | _STEERED
ON_RABBITMQ = frozenset({Verb.CANCEL, Verb.PURGE}) | (_STEERED - {Verb.ABORT})
WITH_RESULTS = frozenset({Verb.RETRY, Verb.DELETE, Verb.ABORT})
"""On RabbitMQ these need the results: a single message cannot be read or taken out there."""

_WHY = {
    Verb.PAUSE: "Celery cannot pause a queue: its workers can be told to leave it, but those that "
    "start later would take from it again",
    Verb.RESUME: "Celery cannot pause a queue, so there is nothing to resume",
    **dict.fromkeys(
        (Verb.SUSPEND, Verb.WAKE),
        "Celery's workers cannot be let rest: have them drop their queues, and add them again",
    ),
    Verb.REQUEUE: "Celery keeps no list of the tasks that failed: retry them one by one, by id",
    Verb.RETRY: "what failed is in the results only: the address has to name result_backend=URL",
    Verb.ABORT: "a task learns from its result that it is to end: the address has to name "
    "result_backend=URL",
    Verb.DELETE: "RabbitMQ gives messages to consumers only: no single one can be taken out; "
    "cancel the task instead",
}


ABORTED = "it ends by itself, if it is an AbortableTask that looks for that"


def unsupported(action: Action) -> Unsupported:
    """Why this cannot be done here, and what can be done instead."""
    verb = action.verb
    return Unsupported(_WHY.get(verb, f"Celery cannot {verb.value} anything"))
