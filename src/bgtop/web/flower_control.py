"""What Flower lets be done to workers and tasks: the same paths, parameters, codes and texts.

Every change goes the way of ``/api/v1/actions``: control has to be allowed, the role has to permit
it, and the audit log is told.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from html import escape
from typing import TYPE_CHECKING, Final, NamedTuple

from starlette.responses import Response

from bgtop.actions import CancelJob, Outcome, Verb
from bgtop.contracts import BackendError, NoSuchTarget, Refused, Unreachable, Unsupported
from bgtop.web.asking import Question
from bgtop.web.changes import Case, aimed, carried_out
from bgtop.web.flower_answers import (
    DOWN,
    Arguments,
    Declined,
    arguments_of,
    failed,
    json_of,
    reachable,
)
from bgtop.worker_actions import (
    MOST_AT_ONCE,
    AbortJob,
    AddConsumer,
    Autoscale,
    CancelConsumer,
    GrowPool,
    RestartPool,
    SetRateLimit,
    SetTimeLimits,
    ShrinkPool,
    ShutdownWorker,
    fault_of,
)

if TYPE_CHECKING:
    from starlette.requests import Request

    from bgtop.actions import Action
    from bgtop.model import Source
    from bgtop.web.grants import Person
    from bgtop.web.site import Site

_REMEMBERED: Final = 60.0
"""Seconds for which it is believed which tasks a worker knows."""

READ_ONLY: Final = "Read only mode is enabled"


class Errand(NamedTuple):
    """An action and what is said of it: ``done`` is ``None`` where the worker's words are.

    ``failed`` is a beginning to which the reason is added by ``between``.
    """

    action: Action
    done: str | None
    failed: str
    between: str = ": {0}"


Maker = Callable[[str, Arguments], Errand]


def _shutdown(worker: str, _: Arguments) -> Errand:
    return Errand(
        ShutdownWorker(worker=worker), "Shutting down!", f"Failed to shut down '{worker}' worker"
    )


def _restart(worker: str, _: Arguments) -> Errand:
    done = f"Restarting '{worker}' worker's pool"
    return Errand(RestartPool(worker=worker), done, f"Failed to restart the '{worker}' pool")


def _grow(worker: str, asked: Arguments) -> Errand:
    by = _count(asked)
    done = f"Growing '{worker}' worker's pool by {by}"
    return Errand(GrowPool(worker=worker, by=by), done, f"Failed to grow '{worker}' worker's pool")


def _shrink(worker: str, asked: Arguments) -> Errand:
    by = _count(asked)
    done = f"Shrinking '{worker}' worker's pool by {by}"
    words = f"Failed to shrink '{worker}' worker's pool"
    return Errand(ShrinkPool(worker=worker, by=by), done, words)


def _count(asked: Arguments) -> int:
    by = asked.number("n", 1)
    if not 1 <= by <= MOST_AT_ONCE:  # growing by less would shrink
        raise Declined(400, f"Invalid argument '{by}' of type 'int'")
    return by


def _autoscale(worker: str, asked: Arguments) -> Errand:
    least, most = asked.number("min"), asked.number("max")
    done = f"Autoscaling '{worker}' worker (min={least}, max={most})"
    words = f"Failed to autoscale '{worker}' worker"
    action = Autoscale(worker=worker, least=least, most=most)
    if fault_of(action) is not None:
        wrong = least if 0 <= most <= MOST_AT_ONCE else most
        raise Declined(400, f"Invalid argument '{wrong}' of type 'int'")
    return Errand(action, done, words)


def _add_consumer(worker: str, asked: Arguments) -> Errand:
    queue = asked.text("queue")
    words = f"Failed to add '{queue}' consumer to '{worker}' worker"
    return Errand(AddConsumer(worker=worker, queue=queue), None, words)


def _cancel_consumer(worker: str, asked: Arguments) -> Errand:
    queue = asked.text("queue")
    words = f"Failed to cancel '{queue}' consumer from '{worker}' worker"
    return Errand(CancelConsumer(worker=worker, queue=queue), None, words)


def _timeout(task: str, asked: Arguments) -> Errand:
    worker, hard, soft = asked.text("workername"), asked.seconds("hard"), asked.seconds("soft")
    action = SetTimeLimits(task=task, soft=soft, hard=hard, worker=worker)
    return Errand(action, None, "Failed to set timeouts", ": '{0}'")


def _rate_limit(task: str, asked: Arguments) -> Errand:
    worker, rate = asked.text("workername"), asked.text("ratelimit")
    action = SetRateLimit(task=task, rate=rate, worker=worker)
    return Errand(action, None, "Failed to set rate limit", ": '{0}'")


def _revoke(id_: str, asked: Arguments) -> Errand:
    signal = asked.values.get("signal", "SIGTERM")
    action = CancelJob(id=id_, terminate=asked.is_yes("terminate"), signal=signal)
    return Errand(action, f"Revoked '{id_}'", f"Failed to revoke '{id_}'")


def _abort(id_: str, _: Arguments) -> Errand:
    return Errand(AbortJob(id=id_), f"Aborted '{id_}'", f"Failed to abort '{id_}'")


TO_WORKERS: Final[tuple[tuple[str, Maker], ...]] = (
    ("shutdown", _shutdown),
    ("pool/restart", _restart),
    ("pool/grow", _grow),
    ("pool/shrink", _shrink),
    ("pool/autoscale", _autoscale),
    ("queue/add-consumer", _add_consumer),
    ("queue/cancel-consumer", _cancel_consumer),
)
TO_KINDS: Final[tuple[tuple[str, Maker], ...]] = (
    ("timeout", _timeout),
    ("rate-limit", _rate_limit),
)
TO_TASKS: Final[tuple[tuple[str, Maker], ...]] = (
    ("revoke", _revoke),
    ("abort", _abort),
)

Answerer = Callable[["Site", "Request", "Person"], Awaitable[Response]]


def of_worker(make: Maker) -> Answerer:
    """``POST /api/worker/…/WORKER``."""

    async def answer(site: Site, request: Request, person: Person) -> Response:
        check_control(site, request, person)
        worker = request.path_params["name"]
        found = _with_worker(reachable(site, person), worker)
        errand = make(worker, await arguments_of(request))
        return await _told(Case(site, request, person), errand, found)

    return answer


def of_kind(make: Maker) -> Answerer:
    """``POST /api/task/…/NAME``, at one worker."""

    async def answer(site: Site, request: Request, person: Person) -> Response:
        check_control(site, request, person)
        task = request.path_params["name"]
        errand = make(task, await arguments_of(request))
        worker = getattr(errand.action, "worker", "")
        found = reachable(site, person)
        case = Case(site, request, person)
        case.check(errand.action)
        holding = [s for s in found if worker in _workers_of(s)]
        asked = worker if holding else None
        if await is_registered(site, holding or found, asked, task) is False:
            raise Declined(404, f"Unknown task '{task}'")
        return await _told(case, errand, _with_worker(found, worker))

    return answer


def of_task(make: Maker) -> Answerer:
    """``POST /api/task/…/ID``."""

    async def answer(site: Site, request: Request, person: Person) -> Response:
        check_control(site, request, person)
        errand = make(request.path_params["name"], await arguments_of(request))
        return await _told(Case(site, request, person), errand, reachable(site, person))

    return answer


def check_control(site: Site, request: Request, person: Person) -> None:
    """Raises :class:`Declined` where nobody may change anything."""
    if not site.control:
        site.note_refusal(request, person, READ_ONLY)
        raise Declined(403, READ_ONLY)


async def is_registered(
    site: Site, found: Iterable[Source], worker: str | None, task: str
) -> bool | None:
    """Whether this worker knows a task, or any does; ``None`` when nobody has said it.

    What was said a moment ago will do; who does not know it is asked again.
    """
    keys = [source.key for source in found]
    if task in (_registered(site, keys, worker) or ()):
        return True
    for key in keys:
        with contextlib.suppress(BackendError):
            await site.hub.asking.ask(Question(key, worker, ("registered",)))
    names = _registered(site, keys, worker)
    return None if names is None else task in names


def _registered(site: Site, keys: Iterable[str], worker: str | None) -> set[str] | None:
    since = time.time() - _REMEMBERED
    lists = [
        said.facts["registered"]
        for key in keys
        for name, said in site.hub.asking.said(key).items()
        if worker in {None, name} and said.at > since and "registered" in said.facts
    ]
    told = [one for one in lists if isinstance(one, list)]
    # Some have their attributes behind them: "add [rate_limit=10/m]".
    names = {one.partition(" [")[0] for each in told for one in each if isinstance(one, str)}
    return names if told else None


async def performed(case: Case, action: Action, found: list[Source]) -> Outcome | BackendError:
    """What came of it, or what a worker or the source said against it.

    Raises :class:`Declined`, and :class:`bgtop.web.auth.Refused`.
    """
    case.check(action)
    if not found:
        raise case.refusal(action, 503, DOWN)
    target, _ = await aimed(case, action, found)
    done = await carried_out(case, target)
    if done.outcome is not None:
        return done.outcome
    if isinstance(done.error, Unreachable):
        raise Declined(503, DOWN)
    # With the words that hold no secrets.
    words = done.fault or "Unknown reason"
    return type(done.error)(words) if isinstance(done.error, BackendError) else BackendError(words)


async def _told(case: Case, errand: Errand, found: list[Source]) -> Response:
    came = await performed(case, errand.action, found)
    if isinstance(came, Outcome):
        return json_of({"message": came.words if errand.done is None else errand.done})
    if isinstance(came, Unsupported) and errand.action.verb is Verb.ABORT:
        raise Declined(503, DOWN)
    words = errand.failed + errand.between.format(_reason(came))
    if isinstance(came, NoSuchTarget) and errand.action.verb in {Verb.CANCEL, Verb.ABORT}:
        raise Declined(404, words)
    return failed(words)


def _reason(fault: BackendError) -> str:
    """The worker's own words, where it said any."""
    said = str(fault)
    return said.partition(" says: ")[2] or said if isinstance(fault, Refused) else said


def _workers_of(source: Source) -> set[str]:
    return {worker.name for worker in (source.reading.workers if source.reading else ())}


def _with_worker(found: list[Source], worker: str) -> list[Source]:
    holding = [source for source in found if worker in _workers_of(source)]
    if not holding:
        raise Declined(404, f"Unknown worker '{escape(worker)}'")
    return holding
