"""``POST /api/v1/actions``: one way for every change, from the page and from programs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.responses import Response

from bgtop.actions import Performed
from bgtop.contracts import Interest
from bgtop.model import JobQuery
from bgtop.state.targets import NoTarget, Target, outcome_words, question, target_of
from bgtop.web.auth import Refused
from bgtop.web.grants import why_not, why_not_here
from bgtop.web.hub import encode
from bgtop.web.looks import looks_of
from bgtop.web.verbs import BadRequest, action_of, queue_of_action
from bgtop.web.visits import source_named

if TYPE_CHECKING:
    from starlette.requests import Request

    from bgtop.actions import Action
    from bgtop.model import Frame
    from bgtop.web.grants import Person
    from bgtop.web.site import Site

PATIENCE: Final = 30.0
"""Seconds a change may take before the answer says that it is not known what came of it."""


async def change(site: Site, request: Request, person: Person) -> Response:
    """Do something, or with ``dry_run`` say what would be asked before it is done."""
    case = _Case(site, request, person)
    asked = await _read(request)
    try:
        action = action_of(asked)
    except BadRequest as fault:
        raise Refused(400, str(fault)) from None
    reason = why_not(person, action.verb, control=site.control)
    if reason is not None:
        raise _refusal(case, action, 403, reason)
    target, frame = await _target(case, action, asked.get("source"))
    if asked.get("dry_run"):
        words = question(frame, [target])
        return _answer({"verb": action.verb.value, "question": words, "able": target.able})
    return await _carry_out(case, target)


class _Case(NamedTuple):
    """A request for a change, who sent it, and the server it was sent to."""

    site: Site
    request: Request
    person: Person


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


async def _target(case: _Case, action: Action, name: str | None) -> tuple[Target, Frame]:
    """What it is about, as somebody may see it; raises :class:`Refused`."""
    hub, person = case.site.hub, case.person
    whole = hub.view((), person.grant)
    sources = list(whole.snapshot.sources) if name is None else source_named(whole, name)
    if not sources:
        raise _refusal(case, action, 404, f"no source is called {name!r}")
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
        status = 409 if fault.ambiguous else 404
        raise _refusal(case, action, status, str(fault)) from None
    reason = why_not_here(person.grant, action, queue_of_action(target.source, action))
    if reason is not None:
        raise _refusal(case, action, 403, reason)
    return target, frame


async def _carry_out(case: _Case, target: Target) -> Response:
    system = target.source.info.system

    def note(done: Performed) -> None:
        case.site.note(case.request, case.person, done, system)

    done = await case.site.hub.perform(target.source.key, target.action, note, PATIENCE)
    if done is None:
        raise Refused(504, "no answer in time: it may have been done, or may still be")
    if done.outcome is None:
        able = target.action.verb in target.source.info.verbs
        raise _Noted(409 if able else 422, done.fault or "failed")
    return _answer(
        {
            "verb": target.action.verb.value,
            "source": target.source.name,
            "system": system,
            "changed": done.outcome.changed,
            "words": outcome_words(target, done.outcome.changed, done.outcome.all_words),
        }
    )


def _answer(document: dict[str, Any]) -> Response:
    return Response(encode(document), media_type="application/json")


def _refusal(case: _Case, action: Action, status: int, words: str) -> Refused:
    """A refusal of something that is known to be an action, which the audit log is told of."""
    done = Performed(source="", action=action, fault=words)
    case.site.note(case.request, case.person, done, None)
    return _Noted(status, words)
