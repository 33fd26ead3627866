"""Every system either can do what there is to be done, or says why not."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from bgtop.actions import (
    JOB_VERBS,
    WORKER_VERBS,
    Action,
    CancelJob,
    DeleteJob,
    Outcome,
    PauseQueue,
    PurgeQueue,
    RequeueFailed,
    ResumeQueue,
    RetryJob,
    Verb,
)
from bgtop.backends.arq.actions import Actions as Arq
from bgtop.backends.dramatiq.rabbit_actions import Actions as DramatiqOnRabbit
from bgtop.backends.dramatiq.redis_actions import Actions as DramatiqOnRedis
from bgtop.backends.huey.redis_actions import Actions as HueyOnRedis
from bgtop.backends.huey.sqlite_jobs import Actions as HueyInSqlite
from bgtop.backends.performer import Performer
from bgtop.backends.rq.control import Control as Rq
from bgtop.contracts import Unsupported

SYSTEMS = (Arq, DramatiqOnRabbit, DramatiqOnRedis, HueyOnRedis, HueyInSqlite, Rq)
ACTIONS: tuple[Action, ...] = (
    *(RetryJob(id="1"), CancelJob(id="1"), DeleteJob(id="1"), RequeueFailed()),
    *(PurgeQueue(queue="q"), PauseQueue(queue="q"), ResumeQueue(queue="q")),
)


@pytest.mark.parametrize("system", SYSTEMS)
def test_there_is_a_method_for_each_verb_or_a_reason(system: type[Performer]) -> None:
    """``_retry`` carries ``retry`` out; one for a verb that is refused would never be called."""
    methods = {verb for verb in JOB_VERBS if f"_{verb.value}" in vars(system)}

    assert methods == system.verbs() - WORKER_VERBS
    assert bool(system.verbs() & WORKER_VERBS) == ("_steer" in vars(system))
    assert all(system.why_not.values())


class Retries(Performer[str]):
    """Can retry, and nothing else."""

    why_not = MappingProxyType({v: f"no {v.value} here" for v in Verb if v is not Verb.RETRY})

    def _retry(self, action: RetryJob, scope: str) -> Outcome:
        return Outcome(1, f"{action.id} in {scope}")


def test_an_action_is_carried_out_or_refused_in_words() -> None:
    performer = Retries()

    assert performer.verbs() == {Verb.RETRY}
    assert performer.perform(ACTIONS[0], "here").words == "1 in here"
    for action in ACTIONS[1:]:
        with pytest.raises(Unsupported, match=f"^no {action.verb.value} here$"):
            performer.perform(action, "here")
