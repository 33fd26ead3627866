"""Requests for a change, as JSON, and the actions they mean. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from bgtop.worker_actions import KINDS as BY_VERB
from bgtop.worker_actions import fault_of

if TYPE_CHECKING:
    from bgtop.actions import Action
    from bgtop.model import Source

KINDS: Final[Mapping[str, type[Action]]] = {verb.value: kind for verb, kind in BY_VERB.items()}
"""The verbs of a request: those of the command line."""

BESIDE: Final = frozenset({"verb", "source", "dry_run"})
"""Fields of a request that are no part of the action."""

LONGEST: Final = 1024
"""Letters of a text in a request."""

LARGEST: Final = 1_000_000
SIGNAL: Final = "SIG[A-Z0-9]{1,20}"
RATE: Final = r"[0-9]{1,9}(\.[0-9]{1,6})?(/[smh])?"


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
        _checked(request, "source", (str,))
    values = {
        name: _checked(request, name, type_) for name, type_ in known.items() if name in request
    }
    missing = [name for name in required_of(kind) if name not in values]
    if missing:
        raise BadRequest(f"{missing[0]}: is missing")
    _check_values(values)
    action = kind(**values)
    fault = fault_of(action)
    if fault is not None:
        raise BadRequest(fault)
    return action


def _check_values(values: Mapping[str, Any]) -> None:
    """What types cannot say; raises :class:`BadRequest`."""
    for name, (holds, words) in _FORMS.items():
        if name in values and isinstance(values[name], str) and not holds(values[name]):
            raise BadRequest(f"{name}: expected {words}")


def fields_of(kind: type[Action]) -> dict[str, tuple[type, ...]]:
    """The fields of an action with the types they may have."""
    # Annotations are texts here, and Python 3.10 cannot resolve them beside a bare ClassVar.
    return {
        f.name: tuple(_TYPES[word] for word in str(f.type).split(" | ") if word != "None")
        for f in fields(kind)
    }


def required_of(kind: type[Action]) -> list[str]:
    """The fields that cannot be left out."""
    return [field.name for field in fields(kind) if field.default is MISSING]


def queue_of_action(source: Source, action: Action) -> str | None:
    """The queue an action is about, or that of its job, as far as that was read."""
    queue = getattr(action, "queue", None)
    if queue is not None:
        return str(queue)
    id_ = getattr(action, "id", None)
    jobs = source.reading.jobs if source.reading else None
    rows = jobs.rows if jobs and id_ is not None else ()
    return next((job.queue for job in rows if job.id == id_), None)


def _checked(request: Mapping[str, Any], name: str, types: tuple[type, ...]) -> Any:
    value = request[name]
    whole = type(value) is int and float in types
    if type(value) not in types and not whole:
        words = " or ".join(_NAMES[type_] for type_ in types)
        raise BadRequest(f"{name}: expected {words}")
    if isinstance(value, str) and not 0 < len(value) <= LONGEST:
        raise BadRequest(f"{name}: expected 1 to {LONGEST} letters")
    if isinstance(value, (int, float)) and not 0 <= value <= LARGEST:
        raise BadRequest(f"{name}: expected 0 to {LARGEST}")
    return value


def _is_json(text: str, type_: type) -> bool:
    try:
        return isinstance(json.loads(text), type_)
    except (ValueError, RecursionError):
        return False


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return False
    return True


_TYPES: Final[Mapping[str, type]] = {"str": str, "bool": bool, "int": int, "float": float}
_NAMES: Final = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
_FORMS: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    "signal": (lambda t: re.fullmatch(SIGNAL, t, re.ASCII) is not None, "a name such as SIGTERM"),
    "rate": (lambda t: re.fullmatch(RATE, t, re.ASCII) is not None, "a rate such as 100/m"),
    "args": (lambda t: _is_json(t, list), "JSON text of a list"),
    "kwargs": (lambda t: _is_json(t, dict), "JSON text of an object"),
    "eta": (_is_moment, "a time (ISO 8601)"),
    "expires": (_is_moment, "seconds, or a time (ISO 8601)"),
}
"""Texts that have to have a form, by the name of their field, and how that is called."""
