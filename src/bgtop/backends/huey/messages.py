"""Huey's tasks and results as it stores them, read without loading anything.

Facts from Huey 2.5 and 3.5 (``registry.py``, ``serializer.py``, ``utils.py``): a task is the pickle
of a named tuple ``Message``, an error that of ``Error``. Applications may compress them or sign
them, or bring a serializer of their own; what that one wrote is shown by a digest.
"""

from __future__ import annotations

import re
import zlib
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, NamedTuple

from bgtop.backends.job_text import ending_of, line_of, text_of
from bgtop.backends.pickle_reading import LARGEST, Made, Unreadable, moment_in, read

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIELDS: Final = (
    *("id", "name", "eta", "retries", "retry_delay", "priority", "args", "kwargs"),
    *("on_complete", "on_error", "expires", "expires_resolved", "timeout"),
)
_FEWEST_FIELDS = 8
_SIGNATURE: Final = re.compile(rb":[0-9a-f]{40}\Z")
_LONGEST_ID = 512
_GZIP, _ZLIB = 31, 15
"""Window sizes of zlib that say which header comes first."""


class Coding(NamedTuple):
    """How an application writes what it stores; ``window`` is that of its compression."""

    window: int | None
    signed: bool


class Task(NamedTuple):
    """One task as it is stored."""

    id: str
    name: str
    coding: Coding
    args: str
    kwargs: str
    eta: datetime | None
    retries: int | None
    priority: int | None
    children: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


class Result(NamedTuple):
    """What is stored of a task that has ended."""

    failed: bool
    text: str | None = None
    error: str | None = None
    traceback: str | None = None


def task_in(raw: bytes) -> Task | None:
    """Read a stored task; ``None`` for anything Huey's own serializers did not write."""
    value, coding = _unwrapped(raw)
    fields = _fields(value)
    identity, name = fields.get("id"), fields.get("name")
    if not isinstance(identity, str) or not isinstance(name, str) or not identity:
        return None
    return Task(
        id=line_of(identity, _LONGEST_ID),
        name=line_of(name, _LONGEST_ID),
        coding=coding,
        args=text_of(fields.get("args")),
        kwargs=text_of(fields.get("kwargs")),
        eta=_utc(fields.get("eta")),
        retries=_count(fields.get("retries")),
        priority=_count(fields.get("priority")),
        children=_children(fields.get("on_complete")),
        facts=tuple(_facts(fields)),
    )


def result_in(raw: bytes) -> Result | None:
    """Read a stored result; ``None`` for one in a serializer of the user's own."""
    value, coding = _unwrapped(raw)
    if value is None and coding.signed:
        return None
    if isinstance(value, Made) and value.name == "huey.utils.Error" and value.values:
        told = value.values[0]
        told = told if isinstance(told, dict) else {}
        error, traceback = told.get("error"), told.get("traceback")
        return Result(
            failed=True,
            error=line_of(error) if isinstance(error, str) else None,
            traceback=ending_of(traceback) if isinstance(traceback, str) else None,
        )
    return Result(failed=False, text=text_of(value))


def digest_of(raw: bytes) -> str:
    """A name for a task that cannot be read, by which it can be found again."""
    from hashlib import blake2b  # with OpenSSL, three megabytes

    return "unread-" + blake2b(raw, digest_size=8).hexdigest()


_REVOKED_ONCE: Final = b"\x80\x02N\x88\x86."
"""The pickle of ``(None, True)``: no matter when, and only its next run."""


def revocation(coding: Coding) -> bytes:
    """What Huey's ``Result.revoke`` stores, as an application with this coding reads it."""
    if coding.window is None:
        return _REVOKED_ONCE
    packer = zlib.compressobj(wbits=coding.window)
    return packer.compress(_REVOKED_ONCE) + packer.flush()


def _unwrapped(raw: bytes) -> tuple[object, Coding]:
    """The value, and how it was wrapped; ``None`` with an unknown coding when it is unreadable."""
    window = {b"\x1f": _GZIP, b"\x78": _ZLIB}.get(raw[:1])
    try:
        if window is not None:
            # Never more than is read of any pickle, whatever it would unpack to.
            raw = zlib.decompressobj(wbits=window).decompress(raw, LARGEST)
        return read(raw), Coding(window, signed=_SIGNATURE.search(raw) is not None)
    except (Unreadable, zlib.error):
        return None, Coding(None, signed=True)


def _fields(value: object) -> dict[str, object]:
    if not isinstance(value, Made) or value.name != "huey.registry.Message":
        return {}
    if len(value.values) < _FEWEST_FIELDS:
        return {}
    return dict(zip(_FIELDS, value.values, strict=False))


def _utc(value: object) -> datetime | None:
    """Huey makes every time one of UTC, unless it was told not to, and leaves the zone out."""
    moment = moment_in(value)
    return None if moment is None else moment.replace(tzinfo=timezone.utc)


def _count(value: object) -> int | None:
    plain = isinstance(value, int) and not isinstance(value, bool)
    return value if plain and isinstance(value, int) and abs(value) < 2**31 else None


def _children(value: object) -> tuple[str, ...]:
    """The task that follows when this one has ended well."""
    identity = _fields(value).get("id")
    return (line_of(identity, _LONGEST_ID),) if isinstance(identity, str) and identity else ()


def _facts(fields: dict[str, object]) -> Sequence[tuple[str, str]]:
    found = []
    for name in ("retries", "retry_delay", "expires_resolved", "timeout"):
        value = fields.get(name)
        if value:
            found.append((name.removesuffix("_resolved"), text_of(value, 200)))
    return found
