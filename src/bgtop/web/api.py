"""The interface for programs, version 1: what is known, over all systems, as JSON.

The documents are those of the commands (``docs/reference/json.md``). All routes are in
:data:`READING`; :mod:`bgtop.web.openapi` describes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from bgtop.contracts import Interest
from bgtop.model import ALL_STATES, Frame, JobQuery, JobState
from bgtop.state.filters import filter_of
from bgtop.state.findings import findings_of
from bgtop.state.intake import BadPattern
from bgtop.view.document import SCHEMA, document_of, moment, source_records
from bgtop.view.finding_records import document_of_findings
from bgtop.view.lists import (
    QUEUES,
    SCHEDULES,
    TASKS,
    TYPES,
    WORKERS,
    BadColumn,
    Kind,
    in_order,
    list_document,
)
from bgtop.web.auth import Refused
from bgtop.web.hub import encode
from bgtop.web.inspecting import views_of
from bgtop.web.looks import looks_of
from bgtop.web.patterns import checked
from bgtop.web.visits import source_named
from bgworker.values import dataclass

if TYPE_CHECKING:
    from starlette.requests import Request

    from bgtop.model import Source
    from bgtop.web.grants import Person
    from bgtop.web.site import Site

LARGEST_LIMIT: Final = 1000
LONGEST_TEXT: Final = 500
_USUAL_LIMIT: Final = 100


@dataclass(frozen=True, slots=True)
class Reading:
    """One thing that can be read: below which path, by which parameters, in which words."""

    path: str
    words: str
    answer: Callable[[Site, Request, Person], Any]
    parameters: tuple[str, ...] = ()
    kind: Kind | None = None


class _Asked:
    """The parameters of a request, checked. Raises :class:`Refused` for any that are none."""

    def __init__(self, request: Request, known: tuple[str, ...]) -> None:
        self._query: dict[str, list[str]] = {}
        for name, text in request.query_params.multi_items():
            if name not in known:
                words = f"it has {', '.join(known)}" if known else "it has none"
                raise Refused(400, f"unknown parameter {name!r}; {words}")
            if len(text) > LONGEST_TEXT:
                raise Refused(400, f"{name}: longer than {LONGEST_TEXT} letters")
            self._query.setdefault(name, []).append(text)
        self.key = tuple(sorted((name, tuple(texts)) for name, texts in self._query.items()))

    def text(self, name: str) -> str | None:
        """The one value of a parameter."""
        texts = self._query.get(name, [])
        if len(texts) > 1:
            raise Refused(400, f"{name}: given more than once")
        return texts[0] if texts else None

    def count(self, name: str, usual: int | None) -> int | None:
        """A number from 1 on."""
        text = self.text(name)
        if text is None:
            return usual
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LARGEST_LIMIT):
            raise Refused(400, f"{name}: expected 1 to {LARGEST_LIMIT}")
        return int(text)

    def states(self) -> frozenset[JobState]:
        """The states asked for, or all."""
        texts = self._query.get("state", [])
        known = {state.value: state for state in JobState}
        for text in texts:
            if text not in known:
                raise Refused(400, f"state: expected one of {', '.join(known)}")
        return frozenset(known[text] for text in texts) or ALL_STATES


def _sources(site: Site, asked: _Asked) -> list[Source]:
    text = asked.text("source")
    if text is None:
        return list(site.hub.frame.snapshot.sources)
    found = source_named(site.hub.frame, text)
    if not found:
        raise Refused(404, f"no source is called {text!r}")
    return found


def _only(frame: Frame, sources: list[Source], asked: _Asked) -> Frame:
    if asked.text("source") is None:
        return frame
    from bgworker.values import replace

    keys = {source.key for source in sources}
    kept = tuple(source for source in frame.snapshot.sources if source.key in keys)
    return replace(frame, snapshot=replace(frame.snapshot, sources=kept), searches=())


def _json(content: bytes, status: int = 200) -> Response:
    return Response(content, status, media_type="application/json")


async def _snapshot(site: Site, request: Request, person: Person) -> Response:
    _Asked(request, ())
    frame = site.hub.view((), person.grant)
    return _json(site.hub.encoded(("snapshot", person.grant), lambda: document_of(frame)))


async def _list_sources(site: Site, request: Request, person: Person) -> Response:
    _Asked(request, ())
    frame = site.hub.view((), person.grant)

    def document() -> dict[str, Any]:
        taken_at = moment(frame.snapshot.taken_at)
        verbs = {s.key: sorted(v.value for v in s.info.verbs) for s in frame.snapshot.sources}
        facts = {
            s.key: sorted(c.value for c in s.info.capabilities) for s in frame.snapshot.sources
        }
        records = source_records(frame)
        for record, source in zip(records, frame.snapshot.sources, strict=True):
            record["verbs"], record["tells"] = verbs[source.key], facts[source.key]
        return {"schema": SCHEMA, "taken_at": taken_at, "sources": records}

    return _json(site.hub.encoded(("sources", person.grant), document))


def _listing(kind: Kind, interest: Interest, known: tuple[str, ...]) -> Callable[..., Any]:
    async def answer(site: Site, request: Request, person: Person) -> Response:
        asked = _Asked(request, known)
        sources = _sources(site, asked)
        keeps, order = _choice(asked, kind)
        limit = asked.count("limit", None)
        looks = [
            look
            for s in sources
            for look in looks_of(s, _interest(interest, asked, known), site.hub.usual)
        ]
        await site.hub.looked(looks)
        frame = _only(site.hub.view(looks, person.grant), sources, asked)

        def document() -> dict[str, Any]:
            rows = in_order(kind.records(frame, keeps), kind, order)
            shown = rows if limit is None else rows[:limit]
            return list_document(frame, kind, shown, len(rows) - len(shown))

        key = (kind.name, person.grant, asked.key)
        return _json(site.hub.encoded(key, document))

    return answer


def _interest(interest: Interest, asked: _Asked, known: tuple[str, ...]) -> Interest:
    if "state" not in known:
        return interest
    query = JobQuery(
        queue=asked.text("queue"),
        worker=asked.text("worker"),
        states=asked.states(),
        limit=asked.count("limit", _USUAL_LIMIT) or _USUAL_LIMIT,
    )
    return Interest(jobs=query)


def _choice(asked: _Asked, kind: Kind) -> tuple[Any, str | None]:
    order = asked.text("sort")
    try:
        if order is not None:
            kind.key_of(order.removeprefix("!"))
        return filter_of(checked(asked.text("filter") or "", kind.facts), kind.facts), order
    except BadColumn as fault:
        raise Refused(400, f"sort: {fault}") from None
    except BadPattern as fault:
        raise Refused(400, f"filter: {fault}") from None


async def _task(site: Site, request: Request, person: Person) -> Response:
    asked = _Asked(request, ("source",))
    sources = _sources(site, asked)
    id_ = request.path_params["id"]
    if len(id_) > LONGEST_TEXT:
        raise Refused(404, "no task is called that")
    looks = [
        look
        for s in sources
        for look in looks_of(s, Interest(jobs=JobQuery(id=id_)), site.hub.usual)
    ]
    await site.hub.looked(looks)
    frame = site.hub.view(looks, person.grant)
    found = [record for record in TASKS.records(frame) if record["id"] == id_]
    if not found:
        raise Refused(404, f"no task {id_!r} was found")
    if len(found) > 1:
        places = ", ".join(f"{record['source']} ({record['system']})" for record in found)
        raise Refused(409, f"task {id_!r} is in several sources, name one of them: {places}")
    taken_at = moment(frame.snapshot.taken_at)
    document = {"schema": SCHEMA, "taken_at": taken_at, "task": found[0]}
    return _json(encode(document))


async def _inspect(site: Site, request: Request, person: Person) -> Response:
    site.gate.check_origin(request, needed=False)
    asked = _Asked(request, ("source", "worker"))
    sources = _sources(site, asked)
    keys = {source.key for source in sources}
    seen = site.hub.view((), person.grant).snapshot.sources
    mine = [source for source in seen if source.key in keys]
    views = await views_of(site.hub, person, mine, asked.text("worker"))
    return _json(await site.hub.apart(lambda: encode({"schema": SCHEMA, "workers": views})))


async def _findings(site: Site, request: Request, person: Person) -> Response:
    asked = _Asked(request, ("source",))
    sources = _sources(site, asked)
    looks = [look for s in sources for look in looks_of(s, Interest(checkup=True), site.hub.usual)]
    await site.hub.looked(looks)
    frame = _only(site.hub.view(looks, person.grant), sources, asked)
    cases = findings_of((*frame.earlier, frame))
    return _json(encode(document_of_findings(frame, cases)))


_CHOICE: Final = ("source", "filter", "sort", "limit")
_OF_TASKS: Final = (*_CHOICE, "state", "queue", "worker")

READING: Final[tuple[Reading, ...]] = (
    Reading("snapshot", "Everything at once: sources, queues, workers, totals.", _snapshot),
    Reading("sources", "The sources, what each can tell, what can be done there.", _list_sources),
    Reading("queues", "Queues.", _listing(QUEUES, Interest(), _CHOICE), _CHOICE, QUEUES),
    Reading("workers", "Workers.", _listing(WORKERS, Interest(), _CHOICE), _CHOICE, WORKERS),
    Reading(
        "tasks",
        "Single jobs; limit holds for each state and for the list.",
        _listing(TASKS, Interest(), _OF_TASKS),
        _OF_TASKS,
        TASKS,
    ),
    Reading("tasks/{id:path}", "One job, whole.", _task, ("source",)),
    Reading(
        "task-types",
        "Figures by the name of the task.",
        _listing(TYPES, Interest(task_types=True), _CHOICE),
        _CHOICE,
        TYPES,
    ),
    Reading(
        "schedules",
        "What runs by the clock.",
        _listing(SCHEDULES, Interest(schedules=True), _CHOICE),
        _CHOICE,
        SCHEDULES,
    ),
    Reading("inspect", "What workers say of themselves, now.", _inspect, ("source", "worker")),
    Reading("findings", "What is probably wrong, and what mends it.", _findings, ("source",)),
)

NAMES: Final[Mapping[str, str]] = {reading.path: reading.words for reading in READING}
