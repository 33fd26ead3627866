"""Celery's and kombu's bytes in Redis, decoded. Nothing here trusts its input or raises.

Facts from kombu 5.4–5.7 (``transport/redis.py``, ``transport/virtual``) and live brokers: a binding
is ``routing key SEP pattern SEP queue`` in the set ``_kombu.binding.<exchange>``; messages of
priority step N wait in the list ``<queue> SEP N``; ``unacked`` holds ``[message, exchange, routing
key]`` as JSON; an event is a kombu envelope whose body is base64 of JSON.
"""

from __future__ import annotations

import json
from binascii import a2b_base64
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BINDING = b"_kombu.binding."
SEPARATOR = b"\x06\x16"
PIDBOX = b".celery.pidbox"

STEPS = range(1, 10)
"""Priority steps that have a list of their own; step 0 is the queue's bare name."""

LONGEST_EVENT = 64 * 1024
"""Worker events are some 800 bytes; longer ones are not worth the memory, nor are results."""

_LONGEST_BATCH = 4 * LONGEST_EVENT
"""A worker sends its task events by up to 24, with arguments cut by itself."""

_LONGEST_KIND = 32
_LONGEST_SEPARATOR = 8
_LONGEST_ROUTING = 1024
_LONGEST_NODE_NAME = 512
_BEYOND = 2**53
_KINDS = {f"worker-{kind}": kind for kind in ("online", "heartbeat", "offline")}


class Binding(NamedTuple):
    """Messages with this routing key (or matching it, when there is a pattern) reach a queue."""

    routing_key: bytes
    pattern: bytes
    queue: bytes
    separator: bytes


class WorkerEvent(NamedTuple):
    """What a worker says of itself; ``kind`` is ``online``, ``heartbeat`` or ``offline``."""

    kind: str
    node: str
    timestamp: float | None
    """Seconds since the epoch by the clock of the worker."""
    active: int | None
    processed: int | None
    pid: int | None
    version: str | None
    load: tuple[float, ...] | None = None
    """The load averages of its machine, over 1, 5 and 15 minutes."""
    platform: str | None = None


class TaskResult(NamedTuple):
    """A task that ended; ``queue`` is the routing key it came with."""

    queue: bytes
    done_at: float | None
    """Seconds since the epoch by the clock of the worker."""


def read_binding(member: bytes, separators: Iterable[bytes]) -> Binding | None:
    """A member of a binding set, split by the first separator that fits, else by a guess."""
    for separator in separators:
        parts = member.split(separator)
        if len(parts) == 3 and parts[2]:
            key, pattern, queue = parts
            # Nearly always the same word, ten thousand times: in memory once.
            return Binding(queue if key == queue else key, pattern, queue, separator)
    return _guess_binding(member)


def _guess_binding(member: bytes) -> Binding | None:
    """Read ``queue SEP SEP queue`` or ``SEP SEP node.celery.pidbox`` of an unknown separator."""
    for length in range(_LONGEST_SEPARATOR, 0, -1):
        if member.endswith(PIDBOX) and member[:length] == member[length : 2 * length]:
            return Binding(b"", b"", member[2 * length :], member[:length])
        size = (len(member) - 2 * length) // 2
        queue, separator = member[: max(size, 0)], member[size : size + length]
        if queue and member == queue + separator * 2 + queue:
            return Binding(queue, b"", queue, separator)
    return None


def routes_to(binding: Binding, routing_key: bytes) -> bool:
    """Whether a message with this routing key reaches the queue of ``binding``."""
    if binding.routing_key == routing_key:
        return True
    return bool(binding.pattern) and _topic_matches(binding.routing_key, routing_key)


def _topic_matches(topic: bytes, routing_key: bytes) -> bool:
    """AMQP's rule: ``*`` is one word, ``#`` any number. The stored regex is never compiled."""
    if len(topic) + len(routing_key) > _LONGEST_ROUTING:
        return False
    words = routing_key.split(b".")
    # reached[i]: the part of the topic read so far matches the first i words.
    reached = [True] + [False] * len(words)
    for part in topic.split(b"."):
        if part == b"#":
            for i in range(len(words)):
                reached[i + 1] = reached[i + 1] or reached[i]
        else:
            fits = [part in (b"*", word) for word in words]
            reached = [False] + [reached[i] and fits[i] for i in range(len(words))]
    return reached[-1]


def delivered_by(entry: bytes) -> tuple[bytes, bytes] | None:
    """Exchange and routing key of an entry of ``unacked``: the two strings at its very end."""
    tail = entry[-_LONGEST_ROUTING:].rstrip()
    if not tail.endswith(b"]"):
        return None
    routing_key, rest = _last_string(tail[:-1])
    exchange, _ = _last_string(rest)
    return None if routing_key is None or exchange is None else (exchange, routing_key)


def due_at(entry: bytes) -> float | None:
    """When the message of an entry of ``unacked`` is due, if it says so: seconds since the epoch.

    Protocol 2 has the ETA in the headers, protocol 1 in the body, which is read only if it is JSON.
    """
    content = json_of(entry)
    message = content[0] if isinstance(content, list) and content else None
    if not isinstance(message, dict):
        return None
    headers = message.get("headers")
    eta = headers.get("eta") if isinstance(headers, dict) else None
    if eta is None and not headers and message.get("content-type") == "application/json":
        body = body_of(message)
        eta = body.get("eta") if isinstance(body, dict) else None
    return instant(eta) if isinstance(eta, str) else None


def instant(text: str) -> float | None:
    """ISO 8601 as Celery writes it; without an offset it is UTC, Celery's own default."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    try:
        return aware.timestamp()
    except (OverflowError, ValueError):
        return None


def _last_string(tail: bytes) -> tuple[bytes | None, bytes]:
    """The JSON string (``null`` counts as empty) that ends ``tail``, and what is before it."""
    tail = tail.rstrip(b", ")
    if tail.endswith(b"null"):
        return b"", tail[:-4]
    start = len(tail) - 1
    while tail.endswith(b'"') and (start := tail.rfind(b'"', 0, start)) >= 0:
        before = tail[:start]
        # An odd number of backslashes before a quote makes it a part of the string.
        if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
            word = json_of(tail[start:])
            return (word.encode("utf-8", "replace") if isinstance(word, str) else None), before
    return None, b""


def json_of(raw: bytes) -> object:
    """What these bytes say as JSON; ``None`` also for what is none."""
    try:
        # As bytes their encoding would be guessed, which takes as long as reading them.
        return json.loads(raw.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None


def worker_events(payload: bytes) -> list[WorkerEvent]:
    """The worker events in one pub/sub message; an empty list for anything else."""
    if len(payload) > LONGEST_EVENT:
        return []
    envelope = json_of(payload)
    if not isinstance(envelope, dict) or envelope.get("content-type") != "application/json":
        return []
    return _worker_events(body_of(envelope))


def task_kinds(payload: bytes) -> list[tuple[str, str]]:
    """Kind and node of each task event in one pub/sub message; an empty list for anything else."""
    envelope = json_of(payload) if len(payload) <= _LONGEST_BATCH else None
    content = body_of(envelope) if isinstance(envelope, dict) else None
    return [
        (kind, node)
        for event in (content if isinstance(content, list) else [content])
        if isinstance(event, dict)
        and isinstance(kind := event.get("type"), str)
        and kind.startswith("task-")
        and len(kind) < _LONGEST_KIND
        and isinstance(node := event.get("hostname"), str)
        and len(node) <= _LONGEST_NODE_NAME
    ]


def worker_events_in(body: bytes) -> list[WorkerEvent]:
    """The worker events in the body of one message of AMQP; an empty list for anything else."""
    return _worker_events(json_of(body)) if len(body) <= LONGEST_EVENT else []


def _worker_events(content: object) -> list[WorkerEvent]:
    """One event, or a list of them."""
    events = content if isinstance(content, list) else [content]
    return [event for event in map(_worker_event, events) if event is not None]


def result_of(payload: bytes) -> TaskResult | None:
    """The end of a task of a known queue, as announced by the result backend; else ``None``."""
    fields = json_of(payload) if len(payload) <= LONGEST_EVENT else None
    if not isinstance(fields, dict) or fields.get("status") not in ("SUCCESS", "FAILURE"):
        return None
    queue, done = fields.get("queue"), fields.get("date_done")
    if not isinstance(queue, str) or not queue:
        return None
    done_at = instant(done) if isinstance(done, str) else None
    return TaskResult(queue.encode("utf-8", "replace"), done_at)


def body_of(envelope: Mapping[str, object]) -> object:
    """The body of a kombu message, if it is JSON; else ``None``."""
    body, properties = envelope.get("body"), envelope.get("properties")
    if not isinstance(body, str) or not isinstance(properties, dict):
        return None
    if properties.get("body_encoding") != "base64":
        return json_of(body.encode("utf-8", "replace"))
    try:
        return json_of(a2b_base64(body))
    except ValueError:
        return None


def _worker_event(fields: object) -> WorkerEvent | None:
    if not isinstance(fields, dict):
        return None
    kind, node = fields.get("type"), fields.get("hostname")
    if not isinstance(kind, str) or not isinstance(node, str):
        return None
    name = _KINDS.get(kind)
    if name is None or not 0 < len(node) <= _LONGEST_NODE_NAME:
        return None
    version, platform = fields.get("sw_ver"), fields.get("sw_sys")
    return WorkerEvent(
        kind=name,
        node=node,
        timestamp=_moment(fields.get("timestamp")),
        active=_count(fields.get("active")),
        processed=_count(fields.get("processed")),
        pid=_count(fields.get("pid")),
        version=version if isinstance(version, str) and len(version) < 64 else None,
        load=_load(fields.get("loadavg")),
        platform=platform if isinstance(platform, str) and len(platform) < 64 else None,
    )


def _load(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, list) or len(value) != 3:
        return None
    known = [one for one in map(_moment, value) if one is not None and one >= 0]
    return tuple(known) if len(known) == 3 else None


def _count(value: object) -> int | None:
    # A bool is an int to Python, but of another type, and JSON knows numbers no counter reaches.
    return value if type(value) is int and 0 <= value < _BEYOND else None


def _moment(value: object) -> float | None:
    # What is no number at all, or infinite, is not between these either.
    if type(value) is float or type(value) is int:
        return float(value) if -_BEYOND < value < _BEYOND else None
    return None
