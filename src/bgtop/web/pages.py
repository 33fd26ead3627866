"""The pages a browser shows: rendered here, then kept up to date by a stream of what changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined
from starlette.responses import RedirectResponse, Response, StreamingResponse

from bgtop import __version__
from bgtop.state.intake import BadPattern
from bgtop.state.places import titles_of
from bgtop.view.pages import FIRST_PAGES, page_named
from bgtop.view.subjects import worker_of
from bgtop.view.ui import OVERVIEW
from bgtop.web.auth import COOKIE, Refused
from bgtop.web.hub import encode
from bgtop.web.inspecting import views_of, why_not_asked
from bgtop.web.offers import DEEDS, held_deeds
from bgtop.web.told import panels_of
from bgtop.web.visits import SUBJECT, NoSuchPage, address_of, ui_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from bgtop.state.records import WorkerRow
    from bgtop.view.ui import Ui, Visit
    from bgtop.web.grants import Person
    from bgtop.web.models import Model
    from bgtop.web.site import Site

STATIC: Final = {
    "app.css": "text/css",
    "acting.js": "text/javascript",
    "app.js": "text/javascript",
    "charts.js": "text/javascript",
    "marking.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
MOST_STREAMS: Final = 1000
_THEMES: Final = frozenset({"light", "dark"})

Answer = Callable[["Request"], Awaitable[Response]]


@lru_cache(maxsize=1)
def templates() -> Environment:
    """All templates; whatever is put into one is a text, never markup."""

    def source(name: str) -> str:
        return (files("bgtop.web") / "templates" / name).read_text("utf-8")

    return Environment(
        loader=FunctionLoader(source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@lru_cache(maxsize=len(STATIC))
def static_file(name: str) -> bytes:
    """One of our few files, read once."""
    return (files("bgtop.web") / "static" / name).read_bytes()


def rendered(
    site: Site, request: Request, template: str, person: Person | None, **words: Any
) -> str:
    """A page with what all of them have."""
    theme = request.cookies.get("bgtop_theme", "")
    active = words.get("active", "")
    tabs = [
        {
            "key": key,
            "name": name.capitalize(),
            "path": "" if name == OVERVIEW else name,
            "active": name == active,
        }
        for name, key in FIRST_PAGES.items()
    ]
    return (
        templates()
        .get_template(template)
        .render(
            root=site.address(""),
            version=__version__,
            theme=theme if theme in _THEMES else "",
            person=person,
            tabs=tabs,
            **words,
        )
    )


def html(text: str, status: int = 200) -> Response:
    """A page; names may hold what is no Unicode."""
    return Response(text.encode("utf-8", "backslashreplace"), status, media_type="text/html")


def page(site: Site, name: str) -> Answer:
    """The route of one page."""

    async def answer(request: Request, person: Person) -> Response:
        query = dict(request.query_params)
        fault = ""
        try:
            ui = ui_of(name, query, site.hub.frame, site.hub.interval)
        except BadPattern as reason:
            fault = str(reason)
            subject = {k: v for k, v in query.items() if k in {"source", SUBJECT.get(name)}}
            ui = ui_of(name, subject, site.hub.frame, site.hub.interval)
        model = await site.hub.page(ui, person)
        words = _words(site, ui, model, query, fault)
        if name == "worker":
            words["told"] = await _told(site, request, person, ui.visit)
        return html(rendered(site, request, "page.html", person, **words))

    return for_people(site, answer)


async def _told(site: Site, request: Request, person: Person, visit: Visit) -> dict[str, Any]:
    """What the worker of a page says of itself, if one of our pages asks for that."""
    frame = site.hub.view((), person.grant)
    row = worker_of(frame, visit)
    why = _why_silent(site, person, row)
    told: dict[str, Any] = {"ask": "", "words": why, "panels": [], "at": ""}
    if row is None or why:
        return told
    titles = titles_of(frame.snapshot.sources)
    told["ask"], told["source"] = f"{address_of(visit, titles)}&ask=1", titles[row.source.key]
    # A link on another site must not make us send messages.
    ours = request.headers.get("sec-fetch-site") in {None, "same-origin", "none"}
    if request.query_params.get("ask") != "1" or not ours:
        return told
    try:
        [view] = await views_of(site.hub, person, [row.source], row.worker.name)
    except Refused as refused:
        return {**told, "words": refused.words}
    told["at"] = datetime.now(timezone.utc).strftime("%H:%M:%S UTC")
    if not view["answered"]:
        return {**told, "words": "it did not answer in time"}
    deeds = held_deeds(row, person, control=site.control)
    return {**told, "panels": panels_of(view, deeds)}


def _why_silent(site: Site, person: Person, row: WorkerRow | None) -> str:
    """Why a worker cannot be asked; empty if it can."""
    if row is None:
        return "it is not there at the moment"
    if not site.hub.asking.can_ask(row.source.key):
        return "its job system offers no way to ask workers"
    return why_not_asked(person) or ""


def _words(site: Site, ui: Ui, model: Model, query: dict[str, str], fault: str) -> dict[str, Any]:
    keys = [table.key for table in page_named(ui.visit.page).tables]
    return {
        "deeds": DEEDS,
        "told": None,
        "model": model,
        "active": ui.visit.page,
        "fault": fault,
        "interval": site.hub.interval,
        "filters": {key: query.get(f"f-{key}", "") for key in keys},
        "hidden": {
            name: value for name, value in query.items() if name in {"source", "name", "id"}
        },
    }


def events(site: Site) -> Answer:
    """The stream of what changes on a page."""

    async def answer(request: Request) -> Response:
        try:
            person = await site.gate.person(request)
        except Refused as refused:
            return Response(refused.words, refused.status, media_type="text/plain")
        if person is None:
            return Response("log in first", 401, media_type="text/plain")
        if site.hub.watchers >= MOST_STREAMS:
            return Response("too many streams are open", 503, media_type="text/plain")
        query = dict(request.query_params)
        name = query.pop("page", "")
        try:
            ui = ui_of(name, query, site.hub.frame, site.hub.interval)
        except (BadPattern, NoSuchPage) as fault:
            said = b"event: fault\ndata: %b\n\n" % encode(str(fault))
            return Response(said, media_type="text/event-stream")
        session = request.cookies.get(COOKIE, "")
        by_session = person.how == "session"

        def is_welcome() -> bool:
            return not by_session or site.gate.sessions.is_open(session)

        key = (name, tuple(sorted(query.items())))
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
        stream = site.hub.stream(key, ui, person, is_welcome)
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    return answer


def for_people(site: Site, handler: Callable[[Request, Person], Awaitable[Response]]) -> Answer:
    """A page for those who may see it; others are sent to the log-in."""

    async def answer(request: Request) -> Response:
        try:
            person = await site.gate.person(request)
            if person is None:
                here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(f"{site.address('login')}?next={quote(here)}", 303)
            return await handler(request, person)
        except Refused as refused:
            return fault(site, request, refused.status, refused.words, refused.headers)
        except NoSuchPage as reason:
            return fault(site, request, 404, str(reason))

    return answer


def fault(
    site: Site, request: Request, status: int, words: str, headers: dict[str, str] | None = None
) -> Response:
    """A page that says what went wrong."""
    from http import HTTPStatus

    title = HTTPStatus(status).phrase
    said = html(rendered(site, request, "fault.html", None, title=title, words=words), status)
    said.headers.update(headers or {})
    return said


def static(site: Site) -> Answer:  # noqa: ARG001 - all routes are made alike
    """One of our few files; no name from outside becomes a path."""

    async def answer(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            return Response("not found", 404, media_type="text/plain")
        return Response(
            static_file(name),
            media_type=STATIC[name],
            headers={"Cache-Control": "public, max-age=3600"},
        )

    return answer
