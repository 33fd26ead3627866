"""``POST /api/v1/actions``: one way for every change, from the page and from programs.

The steps of it are public: whatever else takes requests for changes goes the same way.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.responses import Response

from bgtop.actions import Performed
from bgtop.contracts import Absent, Interest, NoReply, Unreachable, Unsupported
from bgtop.model import JobQuery
from bgtop.state.targets import NoTarget, Target, outcome_words, question, target_of
from bgtop.web.auth import Refused
from bgtop.web.grants import why_not, why_not_here
from bgtop.web.hub import encode
from bgtop.web.looks import looks_of
from bgtop.web.verbs import BadRequest, action_of, queue_of_action
from bgtop.web.visits import source_named
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from bgtop.actions import Action
    from bgtop.model import Frame, Source
    from bgtop.web.grants import Person
    from bgtop.web.site import Site

_STATUSES: Final = ((Absent, 404), (Unsupported, 422), (Unreachable, 503), (NoReply, 504))
"""Which fault of a source is which status; any other is that it refused."""

PATIENCE: Final = 30.0
"""Seconds a change may take before the answer says that it is not known what came of it."""


async def change(site: Site, request: Request, person: Person) -> Response:
    """Do something, or with ``dry_run`` say what would be asked before it is done."""
    case = Case(site, request, person)
    asked = await _read(request)
    try:
        action = action_of(asked)
    except BadRequest as fault:
        raise Refused(400, str(fault)) from None
    case.check(action)
    name = asked.get("source")
    whole = site.hub.view((), person.grant)
    sources = list(whole.snapshot.sources) if name is None else source_named(whole, name)
    if not sources:
        raise case.refusal(action, 404, f"no source is called {name!r}")
    target, frame = await aimed(case, action, sources)
    if asked.get("dry_run"):
        words = question(frame, [target])
        return _answer({"verb": action.verb.value, "question": words, "able": target.able})
    done = await carried_out(case, target)
    if done.outcome is None:
        raise _Noted(_status(target, done), done.fault or "failed")
    return _answer(
        {
            "verb": action.verb.value,
            "source": target.source.name,
            "system": target.source.info.system,
            "changed": done.outcome.changed,
            "words": outcome_words(target, done.outcome.changed, done.outcome.all_words),
        }
    )


def _status(target: Target, done: Performed) -> int:
    """Of HTTP, for what was not done."""
    if not target.able:
        return 422
    return next((status for kind, status in _STATUSES if isinstance(done.error, kind)), 409)


class Case(NamedTuple):
    """A request for a change, who sent it, and the server it was sent to."""

    site: Site
    request: Request
    person: Person

    def check(self, action: Action) -> None:
        """Raises :class:`Refused` for what this person may not do anywhere."""
        reason = why_not(self.person, action.verb, control=self.site.control)
        if reason is not None:
            raise self.refusal(action, 403, reason)

    def refusal(self, action: Action, status: int, words: str) -> Refused:
        """A refusal of something known to be an action, which the audit log is told of."""
        done = Performed(source="", action=action, fault=words)
        self.site.note(self.request, self.person, done, None)
        return _Noted(status, words)


class _Noted(Refused):
    """A refusal that is in the audit log already, with its action."""

    noted = True


async def _read(request: Request) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "expected application/json")
    try:
        return json.loads(await request.body(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refused(400, "this is not JSON") from None


def _no_constant(text: str) -> Any:
    raise ValueError(text)


async def aimed(case: Case, action: Action, sources: Sequence[Source]) -> tuple[Target, Frame]:
    """Which of these it is about, and that as somebody may see it; raises :class:`Refused`."""
    hub, person = case.site.hub, case.person
    id_ = getattr(action, "id", None)
    looks = [
        look
        for source in sources
        if id_ is not None
        for look in looks_of(source, Interest(jobs=JobQuery(id=id_)), hub.usual)
    ]
    await hub.looked(looks)
    frame = hub.view(looks, person.grant)
    keys = {source.key for source in sources}
    chosen = tuple(source for source in frame.snapshot.sources if source.key in keys)
    frame = replace(frame, snapshot=replace(frame.snapshot, sources=chosen))
    try:
        target = target_of(frame, action)
    except NoTarget as fault:
        status = 409 if fault.ambiguous else 503 if fault.unread else 404
        raise case.refusal(action, status, str(fault)) from None
    reason = why_not_here(person.grant, action, queue_of_action(target.source, action))
    if reason is not None:
        raise case.refusal(action, 403, reason)
    return target, frame


async def carried_out(case: Case, target: Target) -> Performed:
    """Do it, and write down what came of it; raises :class:`Refused` when that takes too long."""

    def note(done: Performed) -> None:
        case.site.note(case.request, case.person, done, target.source.info.system)

    done = await case.site.hub.perform(target.source.key, target.action, note, PATIENCE)
    if done is None:
        raise Refused(504, "no answer in time: it may have been done, or may still be")
    return done


def _answer(document: dict[str, Any]) -> Response:
    return Response(encode(document), media_type="application/json")
