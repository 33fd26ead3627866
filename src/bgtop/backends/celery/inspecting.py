"""Asking Celery's workers what they know, for somebody who wants to know it now.

On a connection of its own, so that neither waits for the other: a look at the broker, and workers
that take their time to answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from bgtop.backends.celery.control import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bgtop.backends.celery.control import Mailbox
    from bgtop.backends.celery.options import Options
    from bgtop.backends.rabbit_url import RabbitAddress
    from bgtop.backends.redis_url import RedisAddress
    from bgtop.contracts import Settings

METHODS: Final = frozenset(
    {
        *("stats", "active_queues", "registered", "scheduled", "active", "reserved", "revoked"),
        *("conf", "clock", "ping", "query_task"),
    }
)
_QUERY: Final = "query_task"
_SECONDS_OF_A_SEARCH: Final = 60.0
"""How long it is believed which applications there are: finding them reads all names."""


class CeleryInspector:
    """Implements :class:`bgtop.contracts.Inspector`, whatever the broker is."""

    def __init__(
        self, mailboxes: Callable[[], Sequence[Mailbox]], close: Callable[[], None]
    ) -> None:
        self._mailboxes = mailboxes
        self.close = close
        self.silent: int | None = None
        self.prefixes: Mapping[str, str] = {}

    def workers(
        self, what: Sequence[str], names: Sequence[str] | None, seconds: float
    ) -> Mapping[str, Mapping[str, object]]:
        """By worker what it answered; raises :class:`bgtop.contracts.BackendError`."""
        calls = [_call(method) for method in what]
        found: dict[str, dict[str, object]] = {}
        prefixes: dict[str, str] = {}
        silent: int | None = 0
        boxes = self._mailboxes()
        several = len({box.prefix for box in boxes}) > 1
        for box in boxes if calls else ():
            before = box.prefix if several else ""
            nodes = None
            if names is not None:
                nodes = [name.removeprefix(before) for name in names if name.startswith(before)]
            if nodes is None or nodes:
                heard = box.ask_all(calls, nodes=nodes, seconds=seconds)
                for method, one in zip(what, heard, strict=True):
                    if silent is not None and one.listeners is not None:
                        silent += max(0, one.listeners - len(one.answers))
                    else:
                        silent = None
                    for answer in one.answers:
                        found.setdefault(before + answer.node, {})[method] = answer.value
                        prefixes[before + answer.node] = box.prefix
        self.silent, self.prefixes = silent, prefixes
        return found


def _call(method: str) -> Call:
    """Raises ``ValueError`` for what no worker knows: it would fill its log."""
    name, _, id_ = method.partition(":")
    if name not in METHODS or bool(id_) is not (name == _QUERY):
        known = ", ".join(sorted(METHODS - {_QUERY}))
        raise ValueError(f"no worker can be asked for {method!r}; but for {known}, {_QUERY}:ID")
    if name == _QUERY:
        return Call(name, {"ids": [id_]})
    # Texts that are short already; what does not know the word ignores it.
    return Call(name, {"safe": True} if name in {"active", "reserved", "scheduled"} else {})


def on_redis(address: RedisAddress, settings: Settings, options: Options) -> CeleryInspector:
    """Who asks the workers of all applications in one database."""
    from bgtop.backends.celery.catalog import Catalog
    from bgtop.backends.celery.discovery import Discovery
    from bgtop.backends.celery.redis_broker import SECONDS_TO_FIND_QUEUES
    from bgtop.backends.celery.redis_mailbox import mailboxes_of
    from bgtop.backends.redis_link import RedisLink, pack

    link = RedisLink(
        address, connect_timeout=settings.connect_timeout, read_timeout=settings.read_timeout
    )
    catalog = Catalog()
    searched_at = float("-inf")

    def mailboxes() -> Sequence[Mailbox]:
        nonlocal searched_at
        began = time.monotonic()
        if began - searched_at > _SECONDS_OF_A_SEARCH:
            discovery = Discovery(catalog)
            while not discovery.complete and time.monotonic() - began < SECONDS_TO_FIND_QUEUES:
                replies = link.exchange(pack(*discovery.commands(time.monotonic())))
                discovery.absorb(replies, time.monotonic(), set)
            searched_at = began
        return mailboxes_of(link, options.topic(address.db), catalog)

    return CeleryInspector(mailboxes, link.close)


def on_rabbit(address: RabbitAddress, settings: Settings) -> CeleryInspector:
    """Who asks the workers of one vhost."""
    from bgtop.backends.celery.rabbit_mailbox import mailboxes_of
    from bgtop.backends.rabbit_queues import node_of
    from bgtop.backends.rabbit_watch import Watch

    watch = Watch(address, settings)

    def mailboxes() -> Sequence[Mailbox]:
        look = watch.look(
            time.monotonic(), lambda queues: [one for one in queues if node_of(one.name)]
        )
        names = [queue.name for queue in look.queues if node_of(queue.name)]
        return mailboxes_of(watch.link, names if look.listed else None)

    return CeleryInspector(mailboxes, watch.close)
