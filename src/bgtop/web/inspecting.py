"""What workers say of themselves, for somebody who wants to know it now."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bgtop.contracts import BackendError
from bgtop.state.worker_views import EVERYTHING, WorkerView, worker_view
from bgtop.web.asking import Question
from bgtop.web.auth import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bgtop.model import Source
    from bgtop.web.asking import Answers
    from bgtop.web.grants import Person
    from bgtop.web.hub import Hub


async def views_of(
    hub: Hub, person: Person, sources: Iterable[Source], worker: str | None
) -> list[WorkerView]:
    """Everything that is known of the workers of these sources, or of the one of that name.

    Those that can be asked are asked now. Raises :class:`Refused`.
    """
    why = why_not_asked(person)
    if why is not None:
        raise Refused(403, why)
    chosen = [source for source in sources if worker is None or _knows(source, worker)]
    if worker is not None and not chosen:
        raise Refused(404, f"no worker is called {worker!r}")
    try:
        found = await asyncio.gather(*(_of_source(hub, source, worker) for source in chosen))
    except BackendError as fault:
        raise Refused(503, str(fault)) from None
    return [view for views in found for view in views]


def why_not_asked(person: Person) -> str | None:
    """Why workers are not asked for somebody; ``None`` if they are."""
    if person.grant.narrow:
        return "not permitted: what a worker says tells of all queues, not only of this grant's"
    return None


def _knows(source: Source, worker: str) -> bool:
    """Whether it was heard of: nobody has messages sent to names of their own making."""
    workers = source.reading.workers if source.reading else ()
    return any(one.name == worker for one in workers)


async def _of_source(hub: Hub, source: Source, worker: str | None) -> list[WorkerView]:
    asked = hub.asking.can_ask(source.key)
    answers = await hub.asking.ask(Question(source.key, worker, EVERYTHING)) if asked else {}
    # Of each worker it takes milliseconds, and there may be thousands.
    return await hub.apart(lambda: _views(source, worker, answers, asked=asked))


def _views(
    source: Source, worker: str | None, answers: Answers, *, asked: bool
) -> list[WorkerView]:
    heard = {one.name: one for one in (source.reading.workers if source.reading else ())}
    at, place = datetime.now(timezone.utc), (source.name, source.info.system)
    return [
        worker_view(place, name, heard.get(name), answers.get(name, {}), at, asked=asked)
        for name in sorted({*heard, *answers})
        if worker in {None, name}
    ]
