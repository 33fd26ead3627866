"""Requests for a change, as JSON, and the actions they mean. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, Final

from bgtop.actions import (
    Action,
    CancelJob,
    DeleteJob,
    PauseQueue,
    PurgeQueue,
    RequeueFailed,
    ResumeQueue,
    RetryJob,
)

if TYPE_CHECKING:
    from bgtop.model import Source

KINDS: Final[Mapping[str, type[Action]]] = {
    kind.verb.value: kind
    for kind in (
        RetryJob, CancelJob, DeleteJob, RequeueFailed, PurgeQueue, PauseQueue, ResumeQueue,
    )
}  # fmt: skip
"""The verbs of a request: those of the command line."""

BESIDE: Final = frozenset({"verb", "source", "dry_run"})
"""Fields of a request that are no part of the action."""

LONGEST: Final = 1024
"""Letters of a text in a request."""


class BadRequest(ValueError):
    """A request that means no action; the message says why."""


def action_of(request: Any) -> Action:
    """The action a request means; raises :class:`BadRequest`."""
    if not isinstance(request, dict):
        raise BadRequest("expected a JSON object")
    kind = KINDS.get(request["verb"]) if isinstance(request.get("verb"), str) else None
    if kind is None:
        raise BadRequest(f"verb: expected one of {', '.join(KINDS)}")
    known = fields_of(kind)
    unknown = sorted(set(request) - set(known) - BESIDE)
    if unknown:
        raise BadRequest(f"unknown field {unknown[0]!r}; {request['verb']} has {', '.join(known)}")
    if not isinstance(request.get("dry_run", False), bool):
        raise BadRequest("dry_run: expected true or false")
    if "source" in request:
        _checked(request, "source", str)
    values = {
        name: _checked(request, name, type_) for name, type_ in known.items() if name in request
    }
    required = [f.name for f in fields(kind) if f.default is MISSING]
    missing = [name for name in required if name not in values]
    if missing:
        raise BadRequest(f"{missing[0]}: is missing")
    if isinstance(values.get("signal"), str) and not _is_signal(values["signal"]):
        raise BadRequest("signal: expected a name such as SIGTERM")
    return kind(**values)


def fields_of(kind: type[Action]) -> dict[str, type]:
    """The fields of an action with their types; what may be left out is a text as well."""
    # Annotations are texts here, and Python 3.10 cannot resolve them beside a bare ClassVar.
    return {f.name: bool if f.type in {bool, "bool"} else str for f in fields(kind)}


def queue_of_action(source: Source, action: Action) -> str | None:
    """The queue an action is about, or that of its job, as far as that was read."""
    queue = getattr(action, "queue", None)
    if queue is not None:
        return str(queue)
    id_ = getattr(action, "id", None)
    jobs = source.reading.jobs if source.reading else None
    rows = jobs.rows if jobs and id_ is not None else ()
    return next((job.queue for job in rows if job.id == id_), None)


def _checked(request: Mapping[str, Any], name: str, type_: type) -> Any:
    value = request[name]
    if type(value) is not type_:
        words = "true or false" if type_ is bool else "a text"
        raise BadRequest(f"{name}: expected {words}")
    if isinstance(value, str) and not 0 < len(value) <= LONGEST:
        raise BadRequest(f"{name}: expected 1 to {LONGEST} letters")
    return value


def _is_signal(text: str) -> bool:
    return text.startswith("SIG") and text.isascii() and text.isalnum() and text.isupper()
