"""``/metrics``: what ``bgtop export`` tells Prometheus, told by this server as well.

A scrape is answered from the newest frame and asks nobody. Events are followed for as long as the
server runs, since counts have to be complete.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import Response

from bgtop.contracts import Interest
from bgtop.web.auth import Refused
from bgtop.web.flower_answers import text
from bgtop.web.grants import EVERYTHING
from bgtop.web.looks import Look, looks_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from bgtop.contracts import MetricsPage
    from bgtop.web.live import Live
    from bgtop.web.site import Site


class Metrics:
    """Passes every frame on to a page, from the thread of the loop."""

    def __init__(self, page: MetricsPage, live: Live, usual: Interest) -> None:
        self._page, self._live, self._usual = page, live, usual
        self._held: frozenset[Look] = frozenset()
        self._turn = asyncio.Semaphore(1)
        live.listen(self._heard)

    def _heard(self) -> None:
        frame = self._live.frame
        self._page.take(frame)
        found = frozenset(
            look
            for source in frame.snapshot.sources
            for look in looks_of(source, Interest(events=True), self._usual)
        )
        self._live.hold(found - self._held, 1)
        self._live.hold(self._held - found, -1)
        self._held = found

    async def answer(self, site: Site, request: Request) -> Response:
        """The page, for everybody where there are no accounts, else for who may see everything."""
        try:
            person = await site.gate.somebody(request)
        except Refused as refused:
            basic = {"WWW-Authenticate": 'Basic realm="bgtop"'} if refused.status == 401 else {}
            return text(refused.status, refused.words, {**refused.headers, **basic})
        if person.grant.narrow or person.grant.sources != EVERYTHING:
            return text(403, "these numbers are of all sources and queues")
        async with self._turn:  # however many ask, what is made for them costs one processor
            accept = request.headers.get("accept", "")
            kind, page = await asyncio.to_thread(self._page.text, accept)
        return Response(page, headers={"Content-Type": kind})
