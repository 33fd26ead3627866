"""One message of Dramatiq as its broker stores it: what is in it, and how it is sent once more.

Facts from Dramatiq 1.17-2.2 (``message.py``, ``middleware/retries.py``, ``results/``): JSON with
``message_id``, ``actor_name``, ``args``, ``kwargs``, ``message_timestamp`` (milliseconds) and
``options``, where a retry is counted and has the traceback of the failure before it; a dead letter
is stored as it was last sent, without its last failure. Applications may encode
otherwise; such a message is shown by its id alone, and moved as it is.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, NamedTuple

from bgtop.backends.dramatiq.wire import milliseconds, parsed
from bgtop.backends.job_text import ending_of, last_line, line_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_A_FAILURE: Final = ("retries", "traceback", "requeue_timestamp", "eta")
"""Options that tell what became of a message; without them it is as it was when first sent."""

_TOLD_ELSEWHERE: Final = frozenset({"traceback", "eta", "redis_message_id"})
_MOST_FACTS = 12
_LONGEST_FACT = 200
_LONGEST_ID = 512
_RESULTS = "dramatiq-results"
_EXCEPTION = "dramatiq.results.Result"


class Message(NamedTuple):
    """What a message says of itself."""

    id: str
    actor: str
    args: str
    kwargs: str
    sent_at: datetime | None
    eta: datetime | None
    retries: int | None
    max_retries: int | None
    traceback: str | None
    children: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]

    @property
    def error(self) -> str | None:
        """The last line of the last failure."""
        return None if self.traceback is None else last_line(self.traceback)


class Outcome(NamedTuple):
    """What a result backend holds: one of both."""

    result: str | None
    error: str | None


def message_in(raw: bytes) -> Message | None:
    """Read a stored message; ``None`` for an encoding of the user's own, which is never decoded."""
    fields = parsed(raw) if raw.startswith(b"{") else None
    if not isinstance(fields, dict):
        return None
    identity, actor, options = (fields.get(k) for k in ("message_id", "actor_name", "options"))
    if not isinstance(identity, str) or not isinstance(actor, str) or not identity:
        return None
    options = options if isinstance(options, dict) else {}
    told = options.get("traceback")
    return Message(
        id=line_of(identity, _LONGEST_ID),
        actor=line_of(actor, _LONGEST_ID),
        args=text_of(fields.get("args")),
        kwargs=text_of(fields.get("kwargs")),
        sent_at=_moment(fields.get("message_timestamp")),
        eta=_moment(options.get("eta")),
        retries=_count(options.get("retries")),
        max_retries=_count(options.get("max_retries")),
        traceback=ending_of(told) if isinstance(told, str) and told.strip() else None,
        children=_children(options.get("pipe_target")),
        facts=_facts(options),
    )


def sent_anew(raw: bytes, queue: bytes, now: float) -> bytes:
    """The same call with the same id, as if it were sent to ``queue`` now.

    Its time is new too: by the old one it could be too old to run, and die again unseen.
    """
    fields = parsed(raw) if raw.startswith(b"{") else None
    if not isinstance(fields, dict) or not isinstance(fields.get("options"), dict):
        return raw
    options = {name: v for name, v in fields["options"].items() if name not in _OF_A_FAILURE}
    try:
        name = queue.decode()
    except UnicodeDecodeError:
        return raw
    changed = {"queue_name": name, "options": options, "message_timestamp": int(now * 1000)}
    return json.dumps({**fields, **changed}, separators=(",", ":")).encode()


def result_keys(queue: str, actor: str, identity: str) -> tuple[bytes, bytes]:
    """Where Dramatiq's own result backend in Redis keeps the result: by digest, or by name."""
    name = f"{_RESULTS}:{queue}:{actor}:{identity}".encode("utf-8", "surrogatepass")
    from hashlib import md5  # OpenSSL, three megabytes

    return md5(name, usedforsecurity=False).hexdigest().encode(), name


def outcome_in(raw: bytes) -> Outcome | None:
    """Read what a result backend holds; ``None`` for an encoding of the user's own."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and value.get("__t") == _EXCEPTION:
        told = value.get("exn")
        kind, words = (told.get(k) for k in ("type", "msg")) if isinstance(told, dict) else ("", "")
        return Outcome(None, line_of(f"{kind}: {words}"))
    return Outcome(text_of(value), None)


def _moment(value: object) -> datetime | None:
    seconds = milliseconds(value)
    if seconds is None or seconds > 253_402_300_799:  # the end of the year 9999
        return None
    return datetime.fromtimestamp(seconds, timezone.utc)


def _count(value: object) -> int | None:
    plain = isinstance(value, int) and not isinstance(value, bool)
    return value if plain and isinstance(value, int) and 0 <= value < 2**31 else None


def _children(target: object) -> tuple[str, ...]:
    """The next message of a pipeline, which is sent when this one has ended well."""
    identity = target.get("message_id") if isinstance(target, dict) else None
    return (line_of(identity, _LONGEST_ID),) if isinstance(identity, str) and identity else ()


def _facts(options: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    told = [(name, v) for name, v in options.items() if name not in _TOLD_ELSEWHERE]
    return tuple(
        (line_of(name, _LONGEST_FACT), text_of(value, _LONGEST_FACT))
        for name, value in told[:_MOST_FACTS]
    )
