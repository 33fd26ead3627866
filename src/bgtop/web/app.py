"""All routes of the server, in one list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route

from bgtop.view.pages import PAGES
from bgtop.view.ui import OVERVIEW
from bgtop.web import entrance, flower, pages
from bgtop.web.api import READING
from bgtop.web.auth import Refused
from bgtop.web.changes import change
from bgtop.web.grants import verbs_of
from bgtop.web.hub import encode
from bgtop.web.openapi import document
from bgtop.web.site import for_programs, problem

if TYPE_CHECKING:
    from starlette.requests import Request

    from bgtop.web.grants import Person
    from bgtop.web.log_ins import LogIns
    from bgtop.web.metrics import Metrics
    from bgtop.web.site import Site

API = "/api/v1"


def app_of(site: Site, metrics: Metrics | None = None, log_ins: LogIns | None = None) -> Starlette:
    """The application."""
    routes = [*_of_programs(site), *flower.routes(site), *_of_people(site)]
    routes += entrance.routes(site, log_ins)
    if metrics is not None:
        routes.append(Route("/metrics", _scraped(site, metrics), methods=["GET"]))
    prefix = site.gate.doors.prefix
    health = [
        Route("/healthz", _healthz, methods=["GET"]),
        Route("/readyz", _readyz(site), methods=["GET"]),
    ]
    if not prefix:
        mounted: list[Any] = [*health, *routes]
    else:
        home = Route(prefix, _to(f"{prefix}/"), methods=["GET"])
        mounted = [*health, home, Mount(prefix, routes=[*health, *routes])]
    return Starlette(routes=mounted, exception_handlers={HTTPException: _wrong(site)})


def _of_programs(site: Site) -> list[Route]:
    async def me(request: Request, person: Person) -> Response:
        if request.query_params:
            raise Refused(400, "there are no parameters here")
        return _json(_who(site, person))

    async def openapi(_request: Request, _person: Person) -> Response:
        return _json(document(site.gate.doors.prefix))

    reading = [
        Route(f"{API}/{one.path}", for_programs(site, _bound(site, one.answer)), methods=["GET"])
        for one in READING
    ]

    async def act(request: Request, person: Person) -> Response:
        return await change(site, request, person)

    return [
        *reading,
        Route(f"{API}/me", for_programs(site, me), methods=["GET"]),
        Route(f"{API}/openapi.json", for_programs(site, openapi), methods=["GET"]),
        Route(f"{API}/actions", for_programs(site, act), methods=["POST"]),
    ]


def _of_people(site: Site) -> list[Route]:
    shown = [
        Route("/" if name == OVERVIEW else f"/{name}", pages.page(site, name), methods=["GET"])
        for name in PAGES
    ]
    return [
        *shown,
        Route("/events", pages.events(site), methods=["GET"]),
        Route("/static/{name}", pages.static(site), methods=["GET"]),
    ]


def _scraped(site: Site, metrics: Metrics) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return await metrics.answer(site, request)

    return answer


def _bound(
    site: Site, answer: Callable[..., Any]
) -> Callable[[Request, Person], Awaitable[Response]]:
    async def bound(request: Request, person: Person) -> Response:
        said: Response = await answer(site, request, person)
        return said

    return bound


def _who(site: Site, person: Person) -> dict[str, Any]:
    able = verbs_of(person.grant.role) if site.control and person.known else frozenset()
    return {
        "name": person.name,
        "role": person.grant.role.value,
        "how": person.how,
        "control": site.control,
        "verbs": sorted(verb.value for verb in able),
        "sources": list(person.grant.sources),
        "queues": list(person.grant.queues),
    }


def _json(value: Any) -> Response:
    return Response(encode(value), media_type="application/json")


def _to(address: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        return RedirectResponse(address, 308)

    return answer


async def _healthz(_request: Request) -> Response:
    """The server is alive."""
    return Response("ok\n", media_type="text/plain")


def _readyz(site: Site) -> Callable[[Request], Awaitable[Response]]:
    """Every source was read once, and one at least can be read now. Names nothing."""

    async def answer(_request: Request) -> Response:
        sources = site.hub.frame.snapshot.sources
        heard = all(source.reading or source.failure for source in sources)
        well = any(source.reading and not source.failure for source in sources)
        if heard and well:
            return Response("ready\n", media_type="text/plain")
        words = "no source can be read\n" if heard else "waiting for the first readings\n"
        return Response(words, 503, media_type="text/plain")

    return answer


def _wrong(site: Site) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, fault: Exception) -> Response:
        status = fault.status_code if isinstance(fault, HTTPException) else 500
        headers = dict(getattr(fault, "headers", None) or {})
        if request.method not in {"GET", "HEAD", "OPTIONS"}:
            site.note_refusal(request, None, f"{status}: no such route")
        words = "there is nothing here" if status == 404 else "this cannot be done here"
        if f"{API}/" in request.url.path:
            return problem(status, words, headers)
        return pages.fault(site, request, status, words, headers)

    return answer
