"""Dramatiq's keys and messages in Redis, decoded. Nothing here trusts its input or raises.

Facts from Dramatiq 1.17–2.2 (``brokers/redis/dispatch.lua``, ``message.py``) and live brokers. Of a
queue ``Q`` in the namespace ``N``: ``N:Q`` is the list of waiting ids and ``N:Q.msgs`` the hash of
all messages not yet acknowledged; ``N:Q.DQ`` and ``N:Q.DQ.msgs`` are the same for delayed ones;
``N:Q.XQ`` is a sorted set of dead ids; ``N:__acks__.<process>.Q`` is the set of ids a process has
fetched; ``N:__heartbeats__`` scores processes by the milliseconds of their last command. A key
exists only while there is something in it.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import NamedTuple

DEFAULT_NAMESPACE = "dramatiq"
DELAYED = b".DQ"
MESSAGES = b".msgs"
DEAD = b".XQ"

LARGEST_MESSAGE = 64 * 1024
"""Bytes of a message that is fetched to learn its age; larger ones are not worth the traffic."""

_ACKS = b"__acks__."
_PROCESS_LENGTH = 36
# The longest first: Q.XQ.msgs also ends with .msgs.
_OF_QUEUES = (DEAD + MESSAGES, DELAYED + MESSAGES, MESSAGES, DEAD)


class Keys(NamedTuple):
    """The names of the keys of one namespace."""

    namespace: bytes

    @property
    def heartbeats(self) -> bytes:
        """The sorted set of processes."""
        return self.namespace + b":__heartbeats__"

    def queue(self, name: bytes) -> bytes:
        """The list of waiting ids."""
        return self.namespace + b":" + name

    def acks(self, process: bytes, queue: bytes) -> bytes:
        """The set of ids a process has fetched from a queue (or from its ``.DQ``)."""
        return self.namespace + b":" + _ACKS + process + b"." + queue

    def agent(self, process: bytes) -> bytes:
        """The string in which :class:`bgtop.agents.dramatiq.Agent` speaks."""
        return self.namespace + b":__bgtop__." + process

    @property
    def pattern(self) -> bytes:
        """What SCAN matches: every key of the namespace."""
        literal = self.namespace
        for special in (b"\\", b"*", b"?", b"["):
            literal = literal.replace(special, b"\\" + special)
        return literal + b":*"


class Trace(NamedTuple):
    """What the name of one key proves: a queue exists, and ``holder`` fetched from it."""

    queue: bytes
    holder: bytes | None = None


def namespace_of(url: str) -> bytes:
    """The option ``namespace`` of a URL, Dramatiq's own default without it.

    Raises:
        ValueError: when it is empty or cannot be printed.
    """
    query = url.partition("#")[0].partition("?")[2]
    name = DEFAULT_NAMESPACE
    for option in query.split("&"):
        key, _, value = option.partition("=")
        if key == "namespace":
            from urllib.parse import unquote

            name = unquote(value)
    if not name or not name.isprintable():
        raise ValueError("a namespace of Dramatiq is written ?namespace=NAME")
    return name.encode("utf-8", "surrogateescape")


def trace_in(keys: Keys, key: bytes) -> Trace | None:
    """What a key of the namespace tells; names may hold dots, so only known endings are cut."""
    start = len(keys.namespace) + 1
    rest = key[start:]
    if rest.startswith(_ACKS):
        process, dot, queue = _split_acks(rest[len(_ACKS) :])
        queue = queue.removesuffix(DELAYED)
        return Trace(queue, process) if dot == b"." and queue else None
    if rest.startswith(b"__"):
        return None
    for ending in _OF_QUEUES:
        if rest.endswith(ending):
            name = rest[: -len(ending)]
            return Trace(name) if name else None
    return None


def _split_acks(rest: bytes) -> tuple[bytes, bytes, bytes]:
    end = _PROCESS_LENGTH
    return rest[:end], rest[end : end + 1], rest[end + 1 :]


def waiting_since(message: bytes) -> float | None:
    """When a message began to wait, in seconds since the epoch by its sender's clock.

    ``message_timestamp`` is that of the first sending and stays over retries; a retry adds
    ``requeue_timestamp``. ``None`` for an encoding of the user's own, which is never decoded.
    """
    fields = parsed(message) if message.startswith(b"{") else None
    if not isinstance(fields, dict):
        return None
    sent = milliseconds(fields.get("message_timestamp"))
    options = fields.get("options")
    again = options if isinstance(options, dict) else {}
    later = [milliseconds(again.get(name)) for name in ("requeue_timestamp", "eta")]
    return None if sent is None else max([sent, *(moment for moment in later if moment)])


def milliseconds(value: object) -> float | None:
    """Milliseconds as seconds since the epoch; ``None`` for what is no such number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value / 1000 if 0 < value < 2**53 and isfinite(value) else None


def parsed(raw: bytes) -> object:
    """A JSON document, or ``None``."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
