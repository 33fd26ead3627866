"""The mailbox of Celery's workers on Redis: PUBLISH to them, a list for their answers.

A worker that answers looks up who is bound to the reply exchange: our list is bound while we wait,
and not afterwards, so a late answer finds nobody and leaves nothing behind.
"""

from __future__ import annotations

import json
import time
from base64 import b64encode
from typing import TYPE_CHECKING
from uuid import uuid4

from bgtop.backends.celery.control import (
    LONGEST_ANSWER,
    NAMESPACE,
    SECONDS,
    Command,
    Heard,
    answers_of,
)
from bgtop.backends.celery.grants import granted
from bgtop.backends.celery.wire import BINDING, SEPARATOR, body_of, json_of
from bgtop.backends.raw_names import text
from bgtop.backends.redis_link import pack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bgtop.backends.celery.catalog import Catalog
    from bgtop.backends.celery.control import Answer
    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_link import RedisLink

_SECONDS_BETWEEN_LOOKS = 0.02


class RedisMailbox:
    """Implements :class:`bgtop.backends.celery.control.Mailbox` for one key prefix."""

    def __init__(
        self,
        link: RedisLink,
        topic: bytes,
        *,
        prefix: bytes = b"",
        namespace: str = NAMESPACE,
        separator: bytes = SEPARATOR,
    ) -> None:
        """``topic`` stands before the name of the exchange in the name of a channel."""
        self._link = link
        self._exchange = f"{namespace}.pidbox"
        self._reply_exchange = f"reply.{namespace}.pidbox"
        self._channel = prefix + topic + self._exchange.encode()
        self._bindings = prefix + BINDING + self._reply_exchange.encode()
        self._prefix = prefix
        self._separator = separator

    def ask(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        nodes: Sequence[str] | None = None,
        seconds: float = SECONDS,
    ) -> Heard:
        """Send a command and wait for answers; raises :class:`bgtop.contracts.BackendError`."""
        ours = str(uuid4())
        message = Command(command, arguments, nodes, str(uuid4()), seconds)
        queue = f"{ours}.{self._reply_exchange}".encode()
        member = ours.encode() + self._separator * 2 + queue
        publish = ("PUBLISH", self._channel, self._envelope(message, ours))
        bound, heard_by = self._link.exchange(pack(("SADD", self._bindings, member), publish))
        try:
            granted(bound, self._link, "ask the workers")
            listeners = granted(heard_by, self._link, "ask the workers")
            count = listeners if isinstance(listeners, int) else 0
            enough = count if nodes is None else min(count, len(nodes))
            answers = self._collect(self._prefix + queue, message, enough)
        finally:
            done = (("SREM", self._bindings, member), ("DEL", self._prefix + queue))
            self._link.exchange(pack(("MULTI",), *done, ("EXEC",)))
        return Heard(tuple(answers), enough)

    def _envelope(self, message: Command, ours: str) -> bytes:
        body = message.body(self._reply_exchange, ours)
        info = {"exchange": self._exchange, "routing_key": ""}
        properties = {
            "delivery_mode": 2,
            "delivery_info": info,
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid4()),
        }
        envelope = {
            "body": b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": message.headers,
            "properties": properties,
        }
        return json.dumps(envelope).encode()

    def _collect(self, key: bytes, message: Command, enough: int) -> list[Answer]:
        found: list[Answer] = []
        deadline = time.monotonic() + message.seconds
        taking = pack(("MULTI",), ("LRANGE", key, 0, -1), ("DEL", key), ("EXEC",))
        while True:
            done = granted(self._link.exchange(taking)[-1], self._link, "ask the workers")
            taken = done[0] if isinstance(done, list) else None
            for raw in taken if isinstance(taken, list) else []:
                found += _answers(raw, message.ticket)
            if len(found) >= enough or time.monotonic() >= deadline:
                return found
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def _answers(raw: Reply, ticket: str) -> list[Answer]:
    fits = isinstance(raw, bytes) and len(raw) <= LONGEST_ANSWER
    envelope = json_of(raw) if fits and isinstance(raw, bytes) else None
    headers = envelope.get("headers") if isinstance(envelope, dict) else None
    if not isinstance(envelope, dict) or not isinstance(headers, dict):
        return []
    return answers_of(body_of(envelope)) if headers.get("ticket") in (None, ticket) else []


def mailboxes_of(link: RedisLink, topic: bytes, catalog: Catalog) -> list[RedisMailbox]:
    """A mailbox for each application that workers of have announced theirs, or the usual one."""
    found: dict[tuple[bytes, str], bytes] = {}
    for queue in catalog.queues.values():
        node, _, namespace = text(queue.name).removesuffix(".pidbox").rpartition(".")
        if queue.name.endswith(b".pidbox") and node and not node.endswith(".reply"):
            found.setdefault((queue.prefix, namespace), queue.separator)
    return [
        RedisMailbox(link, topic, prefix=prefix, namespace=namespace, separator=separator)
        for (prefix, namespace), separator in (found or {(b"", NAMESPACE): SEPARATOR}).items()
    ]
