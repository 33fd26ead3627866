"""How Flower 2.2.0 asks and answers: who may, parameters, shapes and codes of what is said."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Iterator
from html import escape
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qs

from starlette.responses import Response

from bgtop.web.auth import SAFE, Refused
from bgtop.web.grants import ANYBODY
from bgtop.web.hub import encode

if TYPE_CHECKING:
    from starlette.requests import Request

    from bgtop.model import Source, WorkerReading
    from bgtop.web.grants import Person
    from bgtop.web.site import Site

VARIABLE: Final = "FLOWER_UNAUTHENTICATED_API"
_YES: Final = frozenset({"y", "yes", "t", "true", "on", "1"})
_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 200
"""DataTables sends six for each of Flower's 17 columns, and some more."""

DOWN: Final = "Broker or result backend unavailable"

Handler = Callable[["Site", "Request", "Person"], Awaitable[Response]]


class Declined(Exception):
    """A request that is answered by a code and bare words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


class Arguments(NamedTuple):
    """The parameters of an address, and of a form; the last of a name counts."""

    values: dict[str, str]

    def text(self, name: str) -> str:
        """One that has to be there; raises :class:`Declined`."""
        if name not in self.values:
            raise Declined(400, f"Missing argument {name}")
        return self.values[name]

    def number(self, name: str, usual: int | None = None) -> int:
        """A whole number; one without a ``usual`` has to be there."""
        if usual is not None and name not in self.values:
            return usual
        text = self.text(name)
        try:
            return int(text)
        except ValueError:
            raise Declined(400, f"Invalid argument '{text}' of type 'int'") from None

    def seconds(self, name: str) -> float | None:
        """A number that may be missing."""
        text = self.values.get(name)
        try:
            value = None if text is None else float(text)
        except ValueError:
            value = float("nan")
        if value is not None and not 0 <= value < float("inf"):
            raise Declined(400, f"Invalid argument '{text}' of type 'float'")
        return value

    def is_yes(self, name: str) -> bool:
        """Whether it is one of the words for yes."""
        return self.values.get(name, "").lower() in _YES


async def arguments_of(request: Request) -> Arguments:
    """Those of the address, and of the body where it is a form; raises :class:`Declined`."""
    values = {name: text.strip() for name, text in request.query_params.multi_items()}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method not in SAFE and kind == _FORM:
        try:
            body = (await request.body()).decode()
            fields = parse_qs(body, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError:
            raise Declined(400, "this form cannot be read") from None
        values.update((name, texts[-1].strip()) for name, texts in fields.items())
    return Arguments(values)


def for_programs(site: Site, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """A route of the interface; a change has to be meant, and what is refused is written down."""

    async def answer(request: Request) -> Response:
        if not site.gate.accounts and VARIABLE not in os.environ:
            words = (
                f"{VARIABLE} environment variable is required to enable API without authentication"
            )
            return text(401, words)
        person: Person | None = None
        try:
            person = await site.gate.somebody(request)
            if request.method not in SAFE:
                site.gate.check_change(request, person)
            return await handler(site, request, person)
        except Declined as declined:
            return text(declined.status, declined.words)
        except Refused as refused:
            if not refused.noted and (request.method not in SAFE or refused.status == 429):
                site.note_refusal(request, person, refused.words)
            if person is None:
                return Response(status_code=refused.status, headers=refused.headers)
            return text(refused.status, refused.words, refused.headers)

    return answer


def for_people(site: Site, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """A page."""

    async def answer(request: Request) -> Response:
        try:
            person = await site.gate.person(request)
        except Refused:
            person = None
        if person is None and site.gate.accounts:
            basic = {"WWW-Authenticate": 'Basic realm="flower"'}
            return text(401, "Access denied", basic)
        try:
            return await handler(site, request, person or ANYBODY)
        except Declined as declined:
            return text(declined.status, declined.words)

    return answer


def json_of(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A success, or one of the few errors that are told as JSON."""
    body = encode(value)
    said = {"Content-Type": "application/json; charset=UTF-8", **(headers or {})}
    if status == 200:
        said["Etag"] = f'"{hashlib.sha1(body, usedforsecurity=False).hexdigest()}"'
    return Response(body, status, headers=said)


def text(status: int, words: str, headers: dict[str, str] | None = None) -> Response:
    """An error, in bare words."""
    kind = {"Content-Type": "text/plain; charset=UTF-8", **(headers or {})}
    return Response(words.encode("utf-8", "backslashreplace"), status, headers=kind)


def failed(words: str) -> Response:
    """A worker would not: bare words too, which Flower calls HTML; so they are made harmless."""
    body = escape(words, quote=False).encode("utf-8", "backslashreplace")
    return Response(body, 403, headers={"Content-Type": "text/html; charset=UTF-8"})


def sources(site: Site, person: Person) -> list[Source]:
    """Those of Celery that were read."""
    frame = site.hub.view((), person.grant)
    return [s for s in frame.snapshot.sources if s.info.system == "celery" and s.reading]


def reachable(site: Site, person: Person) -> list[Source]:
    """Those that can be read now; raises :class:`Declined` where there are, and none can."""
    frame = site.hub.view((), person.grant)
    ours = [s for s in frame.snapshot.sources if s.info.system in {"celery", None}]
    found = [s for s in ours if s.info.system == "celery" and s.reading and not s.failure]
    if not found and any(s.failure for s in ours):
        raise Declined(503, DOWN)
    return found


def seen(site: Site, person: Person) -> Iterator[tuple[Source, WorkerReading]]:
    """Every worker, with its source."""
    for source in sources(site, person):
        for worker in source.reading.workers if source.reading else ():
            yield source, worker
