"""Task messages as Celery and kombu store them, read for people; and one written anew.

Facts from Celery 4.4 and 5.7: with protocol 2 the headers of a message hold the task, its id, ETA
and ``argsrepr``/``kwargsrepr`` (texts that may be cut short), and its body is
``[args, kwargs, embed]``; with protocol 1 there are no headers, and the body says it all. A body is
read only if it is plain JSON: pickles, YAML and what is compressed are never opened. Nothing here
raises.
"""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.celery.wire import body_of, instant, json_of
from bgtop.model import JobReading, JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    Fields = Mapping[str, object]

IN_A_LIST = 500
"""Characters of a text that rows of a list have."""

WHOLE = 16 * 1024
"""Characters of a text where one job is looked at."""

UNREAD = "malformed-"
"""How the ids begin by which messages are shown that say no id themselves."""

_LONGEST_NAME = 512
_MOST_FOLLOWERS = 20
_NOT_SHOWN = "the message holds them in another form than JSON: these texts may be cut short"


class Envelope(NamedTuple):
    """A message of kombu, taken apart; ``task`` are its headers, or its body with protocol 1."""

    task: Fields
    properties: Fields
    content: object
    """The body, if it is JSON."""

    @property
    def due_at(self) -> datetime | None:
        """When it is due, if it says so."""
        eta = self.task.get("eta")
        return moment(instant(eta)) if isinstance(eta, str) else None

    @property
    def arguments(self) -> tuple[object, object] | None:
        """``args`` and ``kwargs`` as they were sent; ``None`` if they cannot be read."""
        content = self.content
        if isinstance(content, dict) and content is self.task:
            return content.get("args"), content.get("kwargs")
        if isinstance(content, list) and len(content) == 3:
            return content[0], content[1]
        return None


def envelope_of(message: object) -> Envelope | None:
    """The parts of a message (parsed JSON); ``None`` when it is no task of Celery's."""
    if not isinstance(message, dict):
        return None
    headers, properties = message.get("headers"), message.get("properties")
    if not isinstance(headers, dict) or not isinstance(properties, dict):
        return None
    plain = message.get("content-type") == "application/json" and not headers.get("compression")
    content = body_of(message) if plain else None
    task = headers if headers.get("task") else content
    if not isinstance(task, dict) or not all(named(task.get(key)) for key in ("task", "id")):
        return None
    return Envelope(task, properties, content)


def named(value: object) -> str | None:
    """A name or an id; ``None`` for what is none."""
    return clean(value) if isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME else None


def id_of_unread(raw: bytes) -> str:
    """By what a message is called that says no id itself: its own fingerprint."""
    from hashlib import sha256  # OpenSSL, three megabytes

    return UNREAD + sha256(raw).hexdigest()[:16]


def id_of(raw: bytes) -> str:
    """The id of the job that a message in a list is shown as."""
    envelope = envelope_of(json_of(raw))
    return id_of_unread(raw) if envelope is None else str(named(envelope.task["id"]))


def job_in(raw: bytes, message: object, *, now: datetime, room: int = IN_A_LIST) -> JobReading:
    """The job of a message (parsed JSON) that is stored as ``raw``; it waits, or is not due yet."""
    envelope = envelope_of(message)
    if envelope is None:
        size = ("size", f"{len(raw):,} bytes")
        return JobReading(
            id=id_of_unread(raw), state=JobState.WAITING, malformed=True, facts=(size,)
        )
    task, due_at = envelope.task, envelope.due_at
    args, kwargs, facts = _arguments(envelope, room)
    parent = named(task.get("parent_id"))
    retries = task.get("retries")
    return JobReading(
        id=str(named(task["id"])),
        state=JobState.SCHEDULED if due_at is not None and due_at > now else JobState.WAITING,
        name=named(task["task"]),
        priority=_whole(envelope.properties.get("priority")),
        args=args,
        kwargs=kwargs,
        due_at=due_at,
        attempts=_whole(retries),
        parents=(parent,) if parent else (),
        facts=(*facts, *_facts(envelope), *_followers(envelope)),
    )


def _arguments(
    envelope: Envelope, room: int
) -> tuple[str | None, str | None, tuple[tuple[str, str], ...]]:
    known = envelope.arguments
    if known is not None:
        return in_words(known[0], room), in_words(known[1], room), ()
    texts = (envelope.task.get("argsrepr"), envelope.task.get("kwargsrepr"))
    args, kwargs = (cut(text, room) if isinstance(text, str) else None for text in texts)
    return args, kwargs, (("arguments", _NOT_SHOWN),)


def _facts(envelope: Envelope) -> list[tuple[str, str]]:
    task = envelope.task
    info = envelope.properties.get("delivery_info")
    found = [
        ("root", named(task.get("root_id"))),
        ("group", named(task.get("group") or task.get("taskset"))),
        ("expires", named(task.get("expires"))),
        ("sent by", named(task.get("origin"))),
        ("shown as", named(task.get("shadow"))),
    ]
    facts = [(name, text) for name, text in found if text and text != task["id"]]
    if task.get("redelivered") is True or (isinstance(info, dict) and info.get("redelivered")):
        facts.append(("redelivered", "a worker had it before and gave it back"))
    return facts


def _followers(envelope: Envelope) -> list[tuple[str, str]]:
    """What is sent when this task has ended, by the names of the tasks."""
    content = envelope.content
    embed = content[2] if isinstance(content, list) and len(content) == 3 else content
    if not isinstance(embed, dict):
        return []
    found = []
    # A chain is stored with its next task at the end.
    for key, label in (("chain", "then"), ("callbacks", "if it succeeds"), ("errbacks", "if not")):
        tasks = embed.get(key)
        steps = tasks[-_MOST_FOLLOWERS:] if isinstance(tasks, list) else []
        names = [named(step.get("task")) for step in steps if isinstance(step, dict)]
        if key == "chain":
            names.reverse()
        if words := ", ".join(name for name in names if name):
            found.append((label, words))
    return found


def in_words(value: object, room: int) -> str | None:
    """A JSON value as one text of bounded length."""
    try:
        return cut(json.dumps(value, ensure_ascii=False), room)
    except (RecursionError, ValueError):
        return None


def cut(text: str, room: int) -> str:
    """A text of at most ``room`` characters that can be encoded."""
    return clean(text if len(text) <= room else text[: room - 1] + "…")


def one_line(text: str, most: int = 200) -> str:
    """What a program said, as one line that can be printed."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text[:most])
    return " ".join(plain.split())


def clean(text: str) -> str:
    """Without lone surrogates, which JSON can hold and no terminal can take."""
    return text.encode("utf-8", "backslashreplace").decode()


def moment(seconds: float | None) -> datetime | None:
    """Seconds since the epoch as a time; ``None`` when there is no such time."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None


def _whole(value: object) -> int | None:
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return value if known and isinstance(value, int) else None


def new_task(
    job_id: str, name: str, args: list[object], kwargs: Fields, *, parent: str | None = None
) -> tuple[dict[str, object], bytes]:
    """Headers and body (JSON) of a task of protocol 2, alone: no chain, chord or callback."""
    headers: dict[str, object] = {
        "lang": "py",
        "task": name,
        "id": job_id,
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": job_id,
        "parent_id": parent,
        "argsrepr": in_words(args, 1024),
        "kwargsrepr": in_words(kwargs, 1024),
        "origin": "bgtop",
        "ignore_result": False,
    }
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return headers, json.dumps([args, kwargs, embed]).encode()


def for_redis(headers: Fields, body: bytes, queue: str, tag: str, *, priority: int = 0) -> bytes:
    """A task as kombu stores it in a list of Redis; ``tag`` is its delivery tag."""
    properties = {
        "correlation_id": headers["id"],
        "reply_to": "",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": queue},
        "priority": priority,
        "body_encoding": "base64",
        "delivery_tag": tag,
    }
    message = {
        "body": b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
    }
    return json.dumps(message).encode()
