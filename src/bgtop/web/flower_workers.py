"""What Flower tells of workers: who is alive, and what each says of itself."""

from __future__ import annotations

import asyncio
from html import escape
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import RedirectResponse, Response

from bgtop.contracts import BackendError
from bgtop.model import WorkerState
from bgtop.web.asking import Question
from bgtop.web.flower_answers import Declined, arguments_of, json_of, seen, sources

if TYPE_CHECKING:
    from starlette.requests import Request

    from bgtop.model import Source, WorkerReading
    from bgtop.web.grants import Person
    from bgtop.web.site import Site

_ALIVE: Final = frozenset({WorkerState.ACTIVE, WorkerState.IDLE})
_OF_ALL: Final = ("stats", "active_queues", "registered", "conf")
_OF_ONE: Final = (*_OF_ALL, "active", "reserved", "scheduled", "revoked")


async def workers(site: Site, request: Request, person: Person) -> Response:
    """``GET /api/workers``: who is alive, or what is known of each; workers are asked to order."""
    asked = await arguments_of(request)
    name = asked.values.get("workername", "")
    if asked.is_yes("refresh") and not asked.is_yes("status"):
        # A page of somebody else's must not make us send messages.
        site.gate.check_origin(request, needed=False)
        await _refresh(site, person, name or None)
    found = {worker.name: (source, worker) for source, worker in seen(site, person)}
    if name:
        if name not in found:
            raise Declined(404, f"Unknown worker '{escape(name)}'")
        found = {name: found[name]}
    if asked.is_yes("status"):
        return json_of({name: one.state in _ALIVE for name, (_, one) in found.items()})
    # Of somebody who may see some queues only the answers would tell of the others.
    told = not person.grant.narrow
    return json_of(
        {name: _facts(site, source, one, told=told) for name, (source, one) in found.items()}
    )


async def _refresh(site: Site, person: Person, name: str | None) -> None:
    if person.grant.narrow:
        return
    known = [source for source, worker in seen(site, person) if name in {None, worker.name}]
    asked = known if name else sources(site, person)
    questions = [Question(key, name, _OF_ONE if name else _OF_ALL) for key in _keys(asked)]
    try:
        await asyncio.gather(*map(site.hub.asking.ask, questions))
    except BackendError as fault:
        raise Declined(503, f"Failed to update workers: {fault}") from None


def _keys(found: list[Source]) -> list[str]:
    return list(dict.fromkeys(source.key for source in found))


def _facts(site: Site, source: Source, worker: WorkerReading, *, told: bool) -> dict[str, Any]:
    """The keys of Flower of which something is known; the others are left out, not made up."""
    facts = _heard(worker)
    said = site.hub.asking.said(source.key).get(worker.name) if told else None
    return facts if said is None else {**facts, **said.facts, "timestamp": said.at}


def _heard(worker: WorkerReading) -> dict[str, Any]:
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


async def workers_page(site: Site, request: Request, person: Person) -> Response:
    """``GET /workers``: with ``json=1`` what monitors read, else our own page of workers."""
    if not (await arguments_of(request)).is_yes("json"):
        return RedirectResponse(site.address(""), 302)
    # Counts are of all queues, which not everybody may see.
    events = None if person.grant.narrow else site.hub.seen
    return json_of(
        {
            "data": [
                {**_row(worker), **(events.worker(source.key, worker.name) if events else {})}
                for source, worker in seen(site, person)
            ]
        }
    )


def _row(worker: WorkerReading) -> dict[str, Any]:
    """What heartbeats tell."""
    beat = worker.last_heartbeat_at
    return {
        "hostname": worker.name,
        "pid": worker.pid,
        "freq": None,
        "heartbeats": [] if beat is None else [beat.timestamp()],
        "clock": None,
        "active": worker.running,
        "processed": worker.processed,
        "loadavg": [*worker.load] if worker.load else None,
        "sw_ident": None,
        "sw_ver": (worker.version or "").partition(" ")[2] or None,
        "sw_sys": worker.platform,
        "status": worker.state in _ALIVE,
    }
