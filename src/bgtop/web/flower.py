"""The part of Flower's interface that follows from what every reading tells, for Celery's sources.

Paths, parameters, texts and codes are those of Flower 2.2.0, so that what asks Flower today can ask
here. What Flower learns by asking workers, or from events, is not here yet: see
``docs/reference/api.md``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Iterator
from html import escape
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from bgtop.model import WorkerState
from bgtop.web.auth import Refused
from bgtop.web.grants import ANYBODY
from bgtop.web.hub import encode

if TYPE_CHECKING:
    from starlette.requests import Request

    from bgtop.model import Source, WorkerReading
    from bgtop.web.grants import Person
    from bgtop.web.site import Site

VARIABLE: Final = "FLOWER_UNAUTHENTICATED_API"
_YES: Final = frozenset({"y", "yes", "t", "true", "on", "1"})
_ALIVE: Final = frozenset({WorkerState.ACTIVE, WorkerState.IDLE})

Handler = Callable[["Site", "Request", "Person"], Awaitable[Response]]


def routes(site: Site) -> list[Route]:
    """All of them; what needs credentials in Flower needs them here."""
    found = [
        Route("/healthcheck", _healthcheck, methods=["GET"]),
        Route("/workers", _for_people(site, _workers_page), methods=["GET"]),
    ]
    for path, handler in (
        ("/api/workers", _workers),
        ("/api/queues/length", _lengths),
        ("/api/task/types", _task_types),
    ):
        found += [
            Route(path, _for_programs(site, handler), methods=["GET"]),
            Route(path, _options, methods=["OPTIONS"]),
        ]
    return found


async def _healthcheck(_request: Request) -> Response:
    return Response("OK", media_type="text/html")


async def _options(_request: Request) -> Response:
    return Response(status_code=204)


def _for_programs(site: Site, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        if not site.gate.accounts and VARIABLE not in os.environ:
            words = (
                f"{VARIABLE} environment variable is required to enable API without authentication"
            )
            return _text(401, words)
        try:
            person = await site.gate.person(request)
        except Refused as refused:
            return Response(status_code=refused.status, headers=refused.headers)
        if person is None:
            return Response(status_code=401)
        return await handler(site, request, person)

    return answer


def _for_people(site: Site, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            person = await site.gate.person(request)
        except Refused:
            person = None
        if person is None and site.gate.accounts:
            basic = {"WWW-Authenticate": 'Basic realm="flower"'}
            return _text(401, "Access denied", basic)
        return await handler(site, request, person or ANYBODY)

    return answer


def _json(value: Any) -> Response:
    body = encode(value)
    tag = hashlib.sha1(body, usedforsecurity=False).hexdigest()
    kind = {"Content-Type": "application/json; charset=UTF-8", "Etag": f'"{tag}"'}
    return Response(body, headers=kind)


def _text(status: int, words: str, headers: dict[str, str] | None = None) -> Response:
    kind = {"Content-Type": "text/plain; charset=UTF-8", **(headers or {})}
    return Response(words.encode("utf-8", "backslashreplace"), status, headers=kind)


def _sources(site: Site, person: Person) -> list[Source]:
    frame = site.hub.view((), person.grant)
    return [s for s in frame.snapshot.sources if s.info.system == "celery" and s.reading]


def _seen(site: Site, person: Person) -> Iterator[WorkerReading]:
    for source in _sources(site, person):
        yield from source.reading.workers if source.reading else ()


def _is_yes(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").strip().lower() in _YES


async def _workers(site: Site, request: Request, person: Person) -> Response:
    """``GET /api/workers``: who is alive, or what is known of each."""
    workers = {worker.name: worker for worker in _seen(site, person)}
    name = request.query_params.get("workername", "").strip()
    if name:
        if name not in workers:
            return _text(404, f"Unknown worker '{escape(name)}'")
        workers = {name: workers[name]}
    if _is_yes(request, "status"):
        return _json({worker.name: worker.state in _ALIVE for worker in workers.values()})
    return _json({worker.name: _facts(worker) for worker in workers.values()})


def _facts(worker: WorkerReading) -> dict[str, Any]:
    """The keys of Flower of which something is known; the others are left out, not made up."""
    facts: dict[str, Any] = {}
    stats = {
        "pid": worker.pid,
        "pool": {"max-concurrency": worker.concurrency} if worker.concurrency else None,
    }
    known = {key: value for key, value in stats.items() if value is not None}
    if known:
        facts["stats"] = known
    if worker.queues is not None:
        facts["active_queues"] = [{"name": name} for name in worker.queues]
    if worker.last_heartbeat_at is not None:
        facts["timestamp"] = worker.last_heartbeat_at.timestamp()
    return facts


async def _workers_page(site: Site, request: Request, person: Person) -> Response:
    """``GET /workers``: with ``json=1`` what monitors read, else our own page of workers."""
    if not _is_yes(request, "json"):
        return RedirectResponse(site.address(""), 302)
    return _json({"data": [_row(worker) for worker in _seen(site, person)]})


def _row(worker: WorkerReading) -> dict[str, Any]:
    name, _, version = (worker.version or "").partition(" ")
    beat = worker.last_heartbeat_at
    return {
        "hostname": worker.name,
        "pid": worker.pid,
        "freq": None,
        "heartbeats": [] if beat is None else [beat.timestamp()],
        "clock": None,
        "active": worker.running,
        "processed": worker.processed,
        "loadavg": None,
        "sw_ident": name or None,
        "sw_ver": version or None,
        "sw_sys": None,
        "status": worker.state in _ALIVE,
    }


async def _lengths(site: Site, _request: Request, person: Person) -> Response:
    """``GET /api/queues/length``: for RabbitMQ those fields of its management that are known."""
    found = []
    for source in _sources(site, person):
        for queue in source.reading.queues if source.reading else ():
            row: dict[str, Any] = {"name": queue.name, "messages": queue.depth}
            if source.info.broker == "rabbitmq":
                total = None if queue.depth is None else queue.depth + (queue.unacked or 0)
                row["messages"] = total if queue.unacked is not None else queue.depth
                row["messages_ready"] = queue.depth
                row["messages_unacknowledged"] = queue.unacked
                row["consumers"] = queue.consumers
            found.append(row)
    return _json({"active_queues": found})


async def _task_types(site: Site, _request: Request, person: Person) -> Response:
    """``GET /api/task/types``: the names that were seen running, or were counted."""
    names = {task.name for worker in _seen(site, person) for task in worker.current or ()}
    for source in _sources(site, person):
        names |= {kind.name for kind in (source.reading.task_types if source.reading else ()) or ()}
    return _json({"task-types": sorted(names)})
