"""Where Flower's pages are here: its addresses lead to the pages that show the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse

from bgtop.state.places import titles_of
from bgtop.view.ui import OVERVIEW, Visit
from bgtop.web.flower_answers import Declined, seen, sources
from bgtop.web.visits import address_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from bgtop.web.grants import Person
    from bgtop.web.site import Site


async def worker(site: Site, request: Request, person: Person) -> Response:
    """``/worker/NAME``."""
    name = request.path_params["name"]
    found = [source.key for source, one in seen(site, person) if one.name == name]
    if not found:
        raise Declined(404, f"Unknown worker '{name}'")
    return _to(site, person, Visit(page="worker", subject=(found[0], name)))


async def task(site: Site, request: Request, person: Person) -> Response:
    """``/task/ID``: at the source that told of it, else at the first one, which is asked for it."""
    id_ = request.path_params["name"]
    keys = [source.key for source in sources(site, person)]
    told, covers = site.hub.seen, person.grant.covers_queue
    knows = [key for key in keys if told is not None and told.task({key}, covers, id_)]
    if not keys:
        raise Declined(404, f"Unknown task '{id_}'")
    return _to(site, person, Visit(page="job", subject=((knows or keys)[0], id_)))


async def broker(site: Site, _request: Request, person: Person) -> Response:
    """``/broker``: the queues are on our first page."""
    return _to(site, person, Visit(page=OVERVIEW))


def _to(site: Site, person: Person, visit: Visit) -> Response:
    titles = titles_of(site.hub.view((), person.grant).snapshot.sources)
    return RedirectResponse(site.address(address_of(visit, titles)), 303)
