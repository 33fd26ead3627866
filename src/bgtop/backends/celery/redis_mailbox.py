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
    Collected,
    Mailbox,
    answers_of,
)
from bgtop.backends.celery.grants import granted
from bgtop.backends.celery.wire import BINDING, SEPARATOR, body_of, json_of
from bgtop.backends.raw_names import text
from bgtop.backends.redis_link import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.backends.celery.catalog import Catalog
    from bgtop.backends.celery.control import Call, Command, Heard
    from bgtop.backends.redis_link import RedisLink

_SECONDS_BETWEEN_LOOKS = 0.02


class RedisMailbox(Mailbox):
    """The mailboxes of the workers of one key prefix."""

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

    @property
    def prefix(self) -> str:
        """That of the application's keys."""
        return text(self._prefix)

    def ask_all(
        self, calls: Sequence[Call], *, nodes: Sequence[str] | None, seconds: float
    ) -> list[Heard]:
        """Send commands and wait for answers; raises :class:`bgtop.contracts.BackendError`."""
        ours = str(uuid4())
        found = Collected(calls, nodes, seconds, str(uuid4()))
        queue = f"{ours}.{self._reply_exchange}".encode()
        member = ours.encode() + self._separator * 2 + queue
        sent = [("PUBLISH", self._channel, self._envelope(one, ours)) for one in found.commands]
        bound, *heard_by = self._link.exchange(pack(("SADD", self._bindings, member), *sent))
        try:
            granted(bound, self._link, "ask the workers")
            reached = [granted(one, self._link, "ask the workers") for one in heard_by]
            # Who went away between two commands answers the first of them only.
            count = min((one for one in reached if isinstance(one, int)), default=0)
            enough = count if nodes is None else min(count, len(nodes))
            self._collect(self._prefix + queue, found, enough, seconds)
        finally:
            done = (("SREM", self._bindings, member), ("DEL", self._prefix + queue))
            self._link.exchange(pack(("MULTI",), *done, ("EXEC",)))
        return found.heard(enough)

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

    def _collect(self, key: bytes, found: Collected, enough: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        taking = pack(("MULTI",), ("LRANGE", key, 0, -1), ("DEL", key), ("EXEC",))
        while True:
            done = granted(self._link.exchange(taking)[-1], self._link, "ask the workers")
            taken = done[0] if isinstance(done, list) else None
            for raw in taken if isinstance(taken, list) else []:
                if isinstance(raw, bytes):
                    _take(raw, found)
            if found.by_all(enough) or time.monotonic() >= deadline:
                return
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def _take(raw: bytes, found: Collected) -> None:
    envelope = json_of(raw) if len(raw) <= LONGEST_ANSWER else None
    headers = envelope.get("headers") if isinstance(envelope, dict) else None
    if isinstance(envelope, dict) and isinstance(headers, dict):
        found.add(headers.get("ticket"), answers_of(body_of(envelope)))


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
