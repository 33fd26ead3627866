"""Which queues and worker nodes a broker announces; filled by discovery, read by everyone else."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.celery.wire import (
    BINDING,
    PIDBOX,
    SEPARATOR,
    Binding,
    read_binding,
    routes_to,
)
from bgtop.backends.raw_names import text, unique

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MOST_QUEUES = 100_000
MOST_PREFIXES = 100
"""A broker with more is misused or hostile; the rest is left out with a warning."""

_MOST_SEPARATORS = 16


class Queue(NamedTuple):
    """A queue by its raw name; ``prefix`` is the application's ``global_keyprefix``."""

    prefix: bytes
    name: bytes
    separator: bytes

    @property
    def key(self) -> bytes:
        """The list of priority step 0."""
        return self.prefix + self.name

    @property
    def internal(self) -> bool:
        """Whether Celery keeps it for itself: mailboxes, replies, event consumers."""
        return self.name.endswith(b".pidbox") or self.name.startswith(b"celeryev.")

    def list_of(self, step: int) -> bytes:
        """The list that holds the messages of one priority step."""
        return self.key if step == 0 else self.key + self.separator + b"%d" % step


def split_binding_key(key: bytes) -> tuple[bytes, bytes]:
    """``myapp:_kombu.binding.mail`` is the exchange ``mail`` of the prefix ``myapp:``."""
    prefix, _, exchange = key.partition(BINDING)
    return prefix, exchange


class Catalog:
    """Everything discovery has learnt. ``version`` grows with every change of ``queues``."""

    def __init__(self) -> None:
        self.version = 0
        self.queues: dict[bytes, Queue] = {}
        self.nodes: dict[bytes, frozenset[str]] = {}
        self.prefixes: tuple[bytes, ...] = (b"",)
        """Those of all queues; the empty one is always looked at."""
        self.full = False
        """Whether something had to be left out."""
        self._bindings: dict[bytes, tuple[Binding, ...]] = {}
        self._unread: dict[bytes, int] = {}
        self._separators: dict[bytes, None] = {SEPARATOR: None}
        self._announced: set[bytes] = set()
        self._passes = 0
        self._evidence: dict[bytes, int] = {}

    @property
    def binding_keys(self) -> Iterable[bytes]:
        """The binding sets known to exist."""
        return self._bindings.keys()

    @property
    def unread(self) -> int:
        """How many bindings could not be understood."""
        return sum(self._unread.values())

    def learn_bindings(self, key: bytes, members: Iterable[bytes]) -> None:
        """Replace what is known of one binding set; an empty one no longer exists."""
        prefix, exchange = split_binding_key(key)
        read = [self._read(member) for member in sorted(members)]
        found = [binding for binding in read if binding is not None]
        for binding in found:
            self._announce(Queue(prefix, binding.queue, binding.separator))
        if exchange == PIDBOX[1:]:
            names = (binding.queue.removesuffix(PIDBOX) for binding in found)
            self.nodes[prefix] = frozenset(text(name) for name in names if name)
        if found:
            self._bindings[key] = tuple(found)
        else:
            self._bindings.pop(key, None)
        self._unread[key] = len(read) - len(found)

    def _read(self, member: bytes) -> Binding | None:
        binding = read_binding(member, self._separators)
        if binding is not None and len(self._separators) < _MOST_SEPARATORS:
            self._separators.setdefault(binding.separator)
        return binding

    def _announce(self, queue: Queue) -> None:
        """Note what a binding says: other than a message, it knows the separator."""
        known = self.queues.get(queue.key)
        if known is not None and queue.key not in self._announced:
            better = known._replace(separator=queue.separator)
            self.version += better != known
            self.queues[queue.key] = better
        self._announced.add(queue.key)
        self.learn_queue(queue)

    def learn_queue(self, queue: Queue) -> None:
        """Note that something points to this queue; the first to name it is believed."""
        key = queue.key
        self._evidence[key] = self._passes
        if key in self.queues:
            return
        new_prefix = queue.prefix not in self.prefixes
        if len(self.queues) >= MOST_QUEUES or (new_prefix and len(self.prefixes) >= MOST_PREFIXES):
            self.full = True
            return
        if new_prefix:
            self.prefixes = (*self.prefixes, queue.prefix)
        self.queues[key] = queue
        self.version += 1

    def end_pass(self, in_use: Iterable[bytes]) -> None:
        """Forget the queues that no binding, message or delivery named for two passes."""
        self._passes += 1
        bound = (
            split_binding_key(key)[0] + binding.queue
            for key, bindings in self._bindings.items()
            for binding in bindings
        )
        for key in (*bound, *in_use):
            self._evidence[key] = self._passes
        for key in [key for key, seen in self._evidence.items() if seen < self._passes - 1]:
            del self._evidence[key]
            self._announced.discard(key)
            if self.queues.pop(key, None) is not None:
                self.version += 1
        self.prefixes = (b"", *sorted({queue.prefix for queue in self.queues.values()} - {b""}))

    def queue_of(self, prefix: bytes, exchange: bytes, routing_key: bytes) -> Queue | None:
        """The one queue a delivered message came from; ``None`` when that is ambiguous."""
        if not exchange:
            known = self.queues.get(prefix + routing_key)
            return known or Queue(prefix, routing_key, SEPARATOR)
        bindings = self._bindings.get(prefix + BINDING + exchange, ())
        names = {binding.queue for binding in bindings if routes_to(binding, routing_key)}
        return self.queues.get(prefix + names.pop()) if len(names) == 1 else None

    def labels(self, queues: Iterable[Queue]) -> Mapping[bytes, str]:
        """Names to show, by key, each one unique.

        Where one database serves several prefixes, the prefix is a part of the name. Two raw names
        may read the same once decoded; the later one gets a mark.
        """
        several = len({queue.prefix for queue in self.queues.values()}) > 1
        return unique((queue.key, text(queue.key if several else queue.name)) for queue in queues)

    def warnings(self) -> Iterator[str]:
        """What is left out."""
        if self.full:
            limits = f"{MOST_QUEUES:,} queues or {MOST_PREFIXES} key prefixes"
            yield f"there are more than {limits}: some are left out"
        if self.unread:
            yield f"{self.unread} bindings of queues could not be understood"
