"""What somebody typed for a new job, checked before anything is sent."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from bgtop.backends.raw_names import quoted
from bgtop.contracts import BackendError

if TYPE_CHECKING:
    from bgtop.worker_actions import SendTask

_LONGEST: Final = 365 * 24 * 3600.0


def arguments_of(action: SendTask) -> tuple[list[Any], dict[str, Any]]:
    """Those by place and those by name; raises :class:`BackendError` for what is none."""
    args, kwargs = _json(action.args, "args"), _json(action.kwargs, "kwargs")
    if not isinstance(args, list):
        raise BackendError("args has to be a list (JSON)")
    if not isinstance(kwargs, dict):
        raise BackendError("kwargs has to be an object (JSON)")
    return args, kwargs


def due_at(action: SendTask, now: float) -> float | None:
    """When it may run, in seconds since the epoch; ``None``: at once."""
    if action.eta is not None and action.countdown is not None:
        raise BackendError("a task has either an eta or a countdown")
    said = action.countdown if action.eta is None else action.eta
    return _instant(said, now, "eta or countdown")


def expires_at(action: SendTask, now: float) -> float | None:
    """From when on it may not run any more, likewise; ``None``: never."""
    return _instant(action.expires, now, "expires")


def _json(text: str, name: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise BackendError(f"{name} is no JSON: {fault}") from None


def _instant(said: float | str | None, now: float, name: str) -> float | None:
    if said is None:
        return None
    if not isinstance(said, str):
        if not 0 <= said <= _LONGEST:
            raise BackendError(f"{name} has to be within a year from now")
        return now + said
    try:
        moment = datetime.fromisoformat(said.replace("Z", "+00:00"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        raise BackendError(f"{name} is no time (ISO 8601): {quoted(said)}") from None
