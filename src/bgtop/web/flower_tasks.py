"""What Flower tells of single tasks, and how it sends new ones."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import uuid4

from bgtop.actions import Verb
from bgtop.contracts import BackendError, Interest, NoSuchTarget
from bgtop.model import JobQuery, JobState
from bgtop.web.changes import Case
from bgtop.web.flower_answers import (
    DOWN,
    Declined,
    arguments_of,
    failed,
    json_of,
    reachable,
    seen,
    sources,
)
from bgtop.web.flower_control import check_control, is_registered, performed
from bgtop.web.flower_seen import told_of
from bgtop.web.looks import looks_of
from bgtop.worker_actions import SendTask

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from bgtop.model import JobReading, Source
    from bgtop.web.grants import Person
    from bgtop.web.site import Site

_TIME: Final = "%Y-%m-%d %H:%M:%S.%f"
LONGEST_WAIT: Final = 300.0
"""Seconds a request waits for a result at most, then it is answered without."""

_MOST_WAITING: Final = 16
"""Requests that wait for a result at a time; more are answered at once, without."""

_LONGEST_ID: Final = 500
_OPTIONS: Final = frozenset({"queue", "countdown", "eta", "expires", "priority", "task_id"})
_STATES: Final = {
    JobState.WAITING: "PENDING",
    JobState.RUNNING: "STARTED",
    JobState.SCHEDULED: "PENDING",
    JobState.DEFERRED: "PENDING",
    JobState.FAILED: "FAILURE",
    JobState.DEAD: "FAILURE",
    JobState.SUCCEEDED: "SUCCESS",
    JobState.CANCELLED: "REVOKED",
}
_ENDED: Final = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
_waiting: set[object] = set()


async def types(site: Site, _request: Request, person: Person) -> Response:
    """``GET /api/task/types``: names seen running, counted, or told by events.

    Events are followed from the first question on, until nobody has asked for two minutes.
    """
    interest = Interest(task_types=True, events=True)
    looks = [
        look for source in sources(site, person)
        for look in looks_of(source, interest, site.hub.usual)
    ]  # fmt: skip
    await site.hub.looked(looks)
    names = {task.name for _, worker in seen(site, person) for task in worker.current or ()}
    for source in site.hub.view(looks, person.grant).snapshot.sources:
        reading = source.reading
        if source.info.system == "celery" and reading is not None:
            names |= {kind.name for kind in reading.task_types or ()}
            series = reading.events.series if reading.events else ()
            names |= {one.task for one in series if one.task is not None}
    return json_of({"task-types": sorted(names)})


async def info(site: Site, request: Request, person: Person) -> Response:
    """``GET /api/task/info/ID``: what events told of it, else broker, workers and results.

    These are asked for one that has not ended, too: its end may not have been heard.
    """
    id_ = request.path_params["name"]
    told = told_of(site, person, id_)
    if told is not None and told["state"] in _ENDED:
        return json_of(told)
    try:
        job = await _job(site, person, reachable(site, person), id_)
    except Declined:
        if told is None:
            raise
        job = None
    if job is None and told is None:
        raise Declined(404, f"Unknown task '{id_}'")
    return json_of(_both(told or {}, _fields(job) if job else {}))


def _both(told: dict[str, Any], read: dict[str, Any]) -> dict[str, Any]:
    """What was told before what was read, unless that has ended meanwhile."""
    known = {name: value for name, value in told.items() if value is not None}
    if read.get("state") in _ENDED:
        known = {**known, "state": read["state"], "timestamp": read["timestamp"]}
    return {**told, **read, **known}


async def result(site: Site, request: Request, person: Person) -> Response:
    """``GET /api/task/result/ID``: its state and result; with ``timeout`` waited for."""
    id_ = request.path_params["name"]
    timeout = (await arguments_of(request)).seconds("timeout")
    found = _with_results(reachable(site, person))
    job = await _ended_job(site, person, found, id_, timeout or 0.0)
    return json_of({"task-id": id_, **_outcome(job)})


def send(*, known: bool, waits: bool) -> Callable[[Site, Request, Person], Awaitable[Response]]:
    """``POST /api/task/…/NAME``: of a task that has to be ``known``; one that ``waits`` ends it."""

    async def answer(site: Site, request: Request, person: Person) -> Response:
        check_control(site, request, person)
        task = request.path_params["name"]
        case, found = Case(site, request, person), reachable(site, person)
        order = _order(task, await request.body())
        case.check(order.action)
        # Where nobody says that a task is known, nobody is there to run it.
        if known and not await is_registered(site, found, None, task):
            raise Declined(404, f"Unknown task '{task}'")
        came = await performed(case, order.action, found)
        if isinstance(came, NoSuchTarget):
            raise Declined(404, str(came))
        if isinstance(came, BackendError):
            return failed(f"Failed to send '{task}': {came}")
        said: dict[str, Any] = {"task-id": order.action.id}
        if waits:
            return json_of({**said, **await _waited(site, person, found, order)})
        # Without results nobody can tell its state.
        return json_of({**said, **({"state": "PENDING"} if _tells_results(found) else {})})

    return answer


class _Order(NamedTuple):
    """A task to be sent, and how long its result is waited for."""

    action: SendTask
    timeout: float | None


def _order(task: str, body: bytes) -> _Order:
    """What the body of a request asks for (JSON); raises :class:`Declined`."""
    try:
        options = json.loads(body) if body else {}
    except (ValueError, RecursionError) as fault:
        raise Declined(400, str(fault)) from None
    if not isinstance(options, dict):
        raise Declined(400, "invalid options")
    args, kwargs = options.pop("args", []), options.pop("kwargs", {})
    if not isinstance(args, list):
        raise Declined(400, "args must be an array")
    if not isinstance(kwargs, dict):
        raise Declined(400, "kwargs must be an object")
    try:
        said = options.pop("timeout", None)
        timeout = None if said is None else _seconds(said)
    except (TypeError, ValueError, OverflowError):
        raise Declined(400, "Invalid timeout") from None
    try:
        fields = _options(options)
    except (TypeError, ValueError, OverflowError):
        raise Declined(400, "Invalid option") from None
    action = SendTask(task=task, args=json.dumps(args), kwargs=json.dumps(kwargs), **fields)
    return _Order(action, timeout)


def _options(said: dict[str, Any]) -> dict[str, Any]:
    """The fields of an action; raises ``ValueError``, ``TypeError`` for what it has not.

    And ``OverflowError`` for numbers beyond all others, which JSON has.
    """
    if set(said) - _OPTIONS:
        raise ValueError("unknown")
    fields: dict[str, Any] = {"id": str(said.get("task_id") or uuid4())}
    if said.get("queue") is not None:
        fields["queue"] = _text(said["queue"])
    if said.get("countdown") is not None:
        fields["countdown"] = _seconds(said["countdown"])
    if said.get("eta") is not None:
        fields["eta"] = _moment(said["eta"])
    if said.get("expires") is not None:
        fields["expires"] = _until(said["expires"])
    if said.get("priority") is not None:
        fields["priority"] = int(said["priority"])
    return fields


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("no text")
    return value


def _seconds(value: Any) -> float:
    number = float(value)
    if not 0 <= number < float("inf"):
        raise ValueError("no time")
    return number


def _moment(value: object) -> str:
    """A time as Flower takes it, which is UTC; also ISO 8601."""
    text = _text(value)
    try:
        return datetime.strptime(text, _TIME).isoformat()  # noqa: DTZ007 - without offset it is UTC
    except ValueError:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).isoformat()


def _until(value: object) -> float | str:
    try:
        return _seconds(value)
    except (TypeError, ValueError):
        return _moment(value)


async def _waited(site: Site, person: Person, found: list[Source], order: _Order) -> dict[str, Any]:
    if not _tells_results(found):
        return {}
    limit = LONGEST_WAIT if order.timeout is None else order.timeout
    return _outcome(await _ended_job(site, person, found, str(order.action.id), limit))


async def _ended_job(
    site: Site, person: Person, found: list[Source], id_: str, seconds: float
) -> JobReading | None:
    """A job once it has ended, or as it is when the time is up; looked at as often as sources are.

    However many wait: equal looks are one, and a source answers few of them a second.
    """
    until = time.monotonic() + min(seconds, LONGEST_WAIT)
    job = await _job(site, person, found, id_)
    if len(_waiting) >= _MOST_WAITING:
        return job
    me = object()
    _waiting.add(me)
    try:
        while _state(job) not in _ENDED and (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, site.hub.interval, 1.0))
            job = await _job(site, person, found, id_)
    finally:
        _waiting.discard(me)
    return job


async def _job(site: Site, person: Person, found: list[Source], id_: str) -> JobReading | None:
    if len(id_) > _LONGEST_ID:
        return None
    interest = Interest(jobs=JobQuery(id=id_))
    looks = [look for source in found for look in looks_of(source, interest, site.hub.usual)]
    await site.hub.looked(looks)
    keys = {source.key for source in found}
    for source in site.hub.view(looks, person.grant).snapshot.sources:
        jobs = source.reading.jobs if source.reading and source.key in keys else None
        for job in jobs.rows if jobs else ():
            if job.id == id_:
                return job
    return None


def _state(job: JobReading | None) -> str:
    """In Celery's words; what nobody knows is ``PENDING`` there."""
    if job is None:
        return "PENDING"
    again = job.state is JobState.SCHEDULED and job.error is not None
    return "RETRY" if again else _STATES[job.state]


def _outcome(job: JobReading | None) -> dict[str, Any]:
    state = _state(job)
    if job is None or state not in _ENDED:
        return {"state": state}
    if state == "SUCCESS":
        return {"state": state, "result": _value(job.result)}
    said = {"state": state, "result": job.error}
    return {**said, "traceback": job.traceback} if state == "FAILURE" else said


def _value(text: str | None) -> Any:
    """A result, which is JSON unless it was cut, or not stored as that."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return text


_KEYS: Final = (
    *("uuid", "name", "state", "received", "sent", "started", "rejected", "succeeded", "failed"),
    *("retried", "revoked", "args", "kwargs", "eta", "expires", "retries", "result", "exception"),
    *("timestamp", "runtime", "traceback", "exchange", "routing_key", "clock", "client", "root"),
    *("root_id", "parent", "parent_id", "children", "worker"),
)
_ENDINGS: Final = {"SUCCESS": "succeeded", "FAILURE": "failed", "REVOKED": "revoked"}


def _fields(job: JobReading) -> dict[str, Any]:
    """A task with all of Flower's keys; what is not known is ``None``."""
    state = _state(job)
    ended = _epoch(job.ended_at)
    began = _epoch(job.started_at)
    known: dict[str, Any] = {
        "uuid": job.id,
        "name": job.name,
        "state": state,
        "sent": _epoch(job.enqueued_at),
        "started": began,
        "args": job.args,
        "kwargs": job.kwargs,
        "eta": job.due_at.isoformat() if job.due_at else None,
        "retries": max(0, job.attempts - 1) if job.attempts is not None else None,
        "result": job.result,
        "exception": job.error,
        "timestamp": ended or began,
        "runtime": ended - began if ended and began else None,
        "traceback": job.traceback,
        "routing_key": job.queue,
        "parent_id": job.parents[0] if job.parents else None,
        "children": [*job.children],
        "worker": job.worker,
    }
    if state in _ENDINGS:
        known[_ENDINGS[state]] = ended
    return {**dict.fromkeys(_KEYS), **known}


def _epoch(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _tells_results(found: list[Source]) -> bool:
    """Whether any of them keeps results where we can read them: by these tasks are aborted."""
    return any(Verb.ABORT in source.info.verbs for source in found)


def _with_results(found: list[Source]) -> list[Source]:
    if not _tells_results(found):
        raise Declined(503, DOWN)
    return found
