"""Telling Celery's workers what to do, and judging by their answers what came of it.

Facts from Celery 4.4 to 5.7 (``worker/control.py``) and live workers: an answer is ``{"ok": TEXT}``
or ``{"error": TEXT}``, and nobody answers ``shutdown``. A pool may change some seconds after the
answer. What a worker was told it forgets when it ends. New time limits are noted with the task,
and read from there only when a worker connects or restarts its pool (``create_request_cls``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bgtop.actions import Outcome, Verb
from bgtop.backends.celery.control import Call
from bgtop.backends.celery.task_messages import one_line
from bgtop.backends.raw_names import quoted
from bgtop.contracts import Absent, NoReply, NoSuchTarget, Refused
from bgtop.model import WorkerReading, WorkerState
from bgtop.worker_actions import ShrinkPool, ShutdownWorker
from bgworker.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bgtop.backends.celery.control import Answer, Heard, Mailbox
    from bgtop.model import Reading
    from bgtop.worker_actions import (
        AddConsumer,
        Autoscale,
        CancelConsumer,
        GrowPool,
        RestartPool,
        SetRateLimit,
        SetTimeLimits,
    )

    ToWorkers = (
        ShutdownWorker
        | RestartPool
        | GrowPool
        | ShrinkPool
        | Autoscale
        | AddConsumer
        | CancelConsumer
        | SetRateLimit
        | SetTimeLimits
    )

SECONDS: Final = 4.0
"""How long an answer is waited for: one that is well needs milliseconds, a busy machine more."""

_CALLS: Final[Mapping[Verb, tuple[str, Mapping[str, str]]]] = {
    Verb.SHUTDOWN: ("shutdown", {}),
    Verb.RESTART: ("pool_restart", {}),
    Verb.GROW: ("pool_grow", {"n": "by"}),
    Verb.SHRINK: ("pool_shrink", {"n": "by"}),
    Verb.AUTOSCALE: ("autoscale", {"max": "most", "min": "least"}),
    Verb.ADD_QUEUE: ("add_consumer", {"queue": "queue"}),
    Verb.DROP_QUEUE: ("cancel_consumer", {"queue": "queue"}),
    Verb.LIMIT_RATE: ("rate_limit", {"task_name": "task", "rate_limit": "rate"}),
    Verb.LIMIT_TIME: ("time_limit", {"task_name": "task", "soft": "soft", "hard": "hard"}),
}
"""The command for each verb, and which fields of the action are its arguments."""

_LATE_LIMITS: Final = (
    "Celery's workers heed it once their pool is restarted or they connect anew, and only those "
    "with processes (prefork)"
)
_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Crew:
    """The workers as they were just seen; one silent for ``dead_after`` seconds counts as dead."""

    mailboxes: Sequence[Mailbox]
    reading: Reading
    dead_after: float

    def tell(self, action: ToWorkers) -> Outcome:
        """Have this done.

        Raises:
            NoSuchTarget: when there is no such worker, or it is offline.
            NoReply: when it does not answer in time.
            Refused: when it answers that it cannot.
            BackendError: when the broker cannot be used.
        """
        call = _call(action)
        if action.worker is None:
            return replace(self._tell_all(call), note=_note(action))
        worker = self._worker(action.worker)
        if isinstance(action, ShrinkPool):
            self._check_left(worker, action.by)
        if not isinstance(action, ShutdownWorker):
            return Outcome(1, _said(self._answer(worker, call)), _note(action))
        self._answer(worker, Call("ping"))
        self._send(worker.name, call, seconds=0.0)
        return Outcome(1, "it finishes what it runs, and then ends")

    def _worker(self, name: str) -> WorkerReading:
        """As it was seen; one that may not have been heard yet is asked all the same."""
        found = next((one for one in self.reading.workers if one.name == name), None)
        if found is None and self.reading.complete:
            raise _stranger(name)
        return found or WorkerReading(name=name)

    def _answer(self, worker: WorkerReading, call: Call) -> Answer:
        heard = self._send(worker.name, call, SECONDS)
        answers = [answer for one in heard for answer in one.answers]
        if not answers:
            raise self._silence(worker, heard)
        failed = [answer for answer in answers if answer.error is not None]
        if failed:
            raise Refused(f"worker {quoted(worker.name)} says: {failed[0].error}")
        return answers[0]

    def _check_left(self, worker: WorkerReading, by: int) -> None:
        """Raises :class:`Refused` where none would be left to run what is taken all the same.

        A worker that is to lose more than it has loses all, and answers that it could not.
        """
        told = self._answer(worker, Call("stats")).value
        pool = told.get("pool") if isinstance(told, dict) else None
        processes = pool.get("processes") if isinstance(pool, dict) else None
        if isinstance(processes, list) and len(processes) <= by:
            have = f"{len(processes)} process{'' if len(processes) == 1 else 'es'}"
            raise Refused(f"worker {quoted(worker.name)} has {have}: one at least has to be left")

    def _send(self, name: str, call: Call, seconds: float) -> list[Heard]:
        """To this worker of whichever application has one of that name."""
        several = len({box.prefix for box in self.mailboxes}) > 1
        found = []
        for box in self.mailboxes:
            before = box.prefix if several else ""
            if name.startswith(before):
                nodes = [name.removeprefix(before)]
                found += box.ask_all([call], nodes=nodes, seconds=seconds)
        return found

    def _silence(self, worker: WorkerReading, heard: Iterable[Heard]) -> NoReply | NoSuchTarget:
        if worker not in self.reading.workers:
            return _stranger(worker.name)
        beat, name = worker.last_heartbeat_at, quoted(worker.name)
        age = None if beat is None else (self.reading.taken_at - beat).total_seconds()
        nobody = all(one.listeners == 0 for one in heard)
        if nobody or worker.state is WorkerState.DEAD or (age or 0.0) > self.dead_after:
            return NoSuchTarget(f"worker {name} is offline: nobody listens under that name")
        last = "" if age is None else f" (last heartbeat {age:.0f} s ago)"
        return NoReply(
            f"worker {name} did not answer within {SECONDS:g} s{last}: it is gone, busy with its "
            "only process, or runs without remote control"
        )

    def _tell_all(self, call: Call) -> Outcome:
        heard = [
            one
            for box in self.mailboxes
            for one in box.ask_all([call], nodes=None, seconds=SECONDS)
        ]
        answers = [answer for one in heard for answer in one.answers]
        listeners = [one.listeners for one in heard]
        if not answers and all(count == 0 for count in listeners):
            raise NoSuchTarget("no worker is online: nobody listens")
        if not answers:
            raise NoReply(f"no worker answered within {SECONDS:g} s")
        refused = [answer for answer in answers if answer.error is not None]
        if len(refused) == len(answers):
            raise Refused(f"the workers say: {_each(refused)}")
        silent = sum(filter(None, listeners)) - len(answers) if all(listeners) else 0
        done = len(answers) - len(refused)
        words = [f"{done} worker{'' if done == 1 else 's'}: {_first_ok(answers)}"]
        words += [f"refused by {_each(refused)}"] if refused else []
        words += [self._did_not_answer(silent, answers)] if silent > 0 else []
        return Outcome(done, "; ".join(words))

    def _did_not_answer(self, silent: int, answers: Iterable[Answer]) -> str:
        """By name, where those who live and were not heard are as many as were not heard."""
        # Where several applications share a place, what they answer with is the end of a name.
        heard = {f"{box.prefix}{one.node}" for box in self.mailboxes for one in answers}
        heard |= {one.node for one in answers}
        seen = [one for one in self.reading.workers if one.state is not WorkerState.DEAD]
        names = [one_line(one.name) for one in seen if one.name not in heard]
        if len(names) != silent or silent > _MOST_NAMED:
            return f"{silent} did not answer"
        return f"{', '.join(names)} did not answer"


def _stranger(name: str) -> Absent:
    return Absent(f"there is no worker {quoted(name)}")


def _call(action: ToWorkers) -> Call:
    """What a worker is sent for this."""
    command, names = _CALLS[action.verb]
    return Call(command, {name: getattr(action, field) for name, field in names.items()})


def _note(action: ToWorkers) -> str:
    return _LATE_LIMITS if action.verb is Verb.LIMIT_TIME else ""


def _said(answer: Answer) -> str:
    """Its own words; many just say what they do."""
    value = answer.value
    said = value.get("ok") if isinstance(value, dict) else value
    return one_line(said) if isinstance(said, str) else ""


def _first_ok(answers: Iterable[Answer]) -> str:
    return next((_said(answer) for answer in answers if answer.error is None), "")


def _each(refused: Sequence[Answer]) -> str:
    named = [f"{one_line(answer.node)}: {answer.error}" for answer in refused[:_MOST_NAMED]]
    more = len(refused) - len(named)
    return "; ".join([*named, *([f"and {more} more"] if more else [])])
