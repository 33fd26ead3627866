"""One look at the queues of a vhost.

Names and what is unacknowledged come from the management API, the rest from AMQP, or from the API
too where the user has no right to ask for a queue (RabbitMQ since 4.2.6).
The broker must answer; the API may be missing, and then it is said what that hides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.rabbit_cluster import MOST_TOLD, Cluster
from bgtop.backends.rabbit_link import RabbitLink
from bgtop.backends.rabbit_queues import ListedQueue, listed_queue
from bgtop.contracts import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeAlias

    from bgtop.backends.rabbit_channels import Size
    from bgtop.backends.rabbit_link import Sizes
    from bgtop.backends.rabbit_management import Management
    from bgtop.backends.rabbit_url import RabbitAddress
    from bgtop.contracts import Settings

    Choose: TypeAlias = Callable[[list[ListedQueue]], list[ListedQueue]]
    """Which of all known queues to look at."""

SECONDS_FOR_A_GUESS = 1.0
"""How long a management API that nobody named may take to accept a connection."""


class Pause:
    """When to try again what failed: after 1, 2, 4 … at most 60 seconds."""

    FIRST, LONGEST = 1.0, 60.0

    def __init__(self) -> None:
        self._seconds = self.FIRST
        self._until = float("-inf")

    def over(self, tick: float) -> bool:
        """Whether it is time."""
        return tick >= self._until

    def failed(self, tick: float) -> None:
        """It failed again."""
        self._until = tick + self._seconds
        self._seconds = min(self._seconds * 2, self.LONGEST)


class SeenQueue(NamedTuple):
    """One queue as of now; ``None`` is what nobody told."""

    name: str
    ready: int | None
    unacked: int | None
    consumers: int | None
    exclusive: bool = False
    dead_letters_to: str | None = None
    holds_results: bool = False


class Look(NamedTuple):
    """What one look saw, sorted by name."""

    queues: tuple[SeenQueue, ...]
    listed: bool
    """Whether these are all queues of the vhost, and not only those somebody named."""
    missing: frozenset[str]
    """Of the names that were to be tried, those of which there is no queue."""
    tried: frozenset[str]
    served: Mapping[str, frozenset[str]]
    """The queues each connection consumes, where we may see that."""
    warnings: tuple[str, ...]


class Watch:
    """Owns the connections to one vhost; used from one thread, closed from any."""

    def __init__(
        self, address: RabbitAddress, settings: Settings, *, guesses: Iterable[str] = ()
    ) -> None:
        """``guesses`` are names to try where queues cannot be listed."""
        self.address = address
        self.link = RabbitLink(
            address,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
        )
        self._management = _management(address, settings)
        self._has_answered = False
        self._pause = Pause()
        self._trouble: str | None = None
        self._named = address.queues
        self._pauses = {name: Pause() for name in (*address.queues, *guesses)}
        self._known: dict[str, ListedQueue] = {}
        self._missing: set[str] = set()
        self._forbidden: frozenset[str] = frozenset()
        self._may_ask = True
        """Until a queue is forbidden: each refusal is a line in the log of the broker."""
        self._login = 0
        self._in_doubt = True
        self._cluster = Cluster(self._management) if self._management else None

    @property
    def has_management(self) -> bool:
        """Whether there is a management API; decided for good at the first look."""
        return self._management is not None

    @property
    def spent(self) -> tuple[int, int]:
        """Round trips and commands so far."""
        asked = self._management.requests if self._management else 0
        return self.link.round_trips + asked, self.link.commands + asked

    def close(self) -> None:
        """Free all connections; safe from another thread, twice, and during a look."""
        self.link.close()
        if self._management is not None:
            self._management.close()

    def look(self, tick: float, choose: Choose, probes: Sequence[str] = ()) -> Look:
        """See the queues that are chosen, and whether those of ``probes`` are there.

        Raises:
            BackendError: when the broker itself cannot be used.
        """
        if self._in_doubt:
            # The broker's own word first: it says best what is wrong, and soonest.
            self.link.knock()
        self._in_doubt = True
        listing = self._list(tick)
        if listing is not None:
            self._known = {queue.name: queue for queue in listing}
            self._forbidden = frozenset()
        chosen = choose([*self._known.values()])
        due = [n for n, pause in self._pauses.items() if n not in self._known and pause.over(tick)]
        sizes = self._sizes(chosen, *((due, probes) if listing is None else ((), ())))
        self._in_doubt = False
        consumers: Mapping[str, int] | None = None
        if listing is None:
            chosen += choose(self._learn(due, sizes, tick))
        elif not self._may_ask and self._cluster is not None:
            consumers = self._cluster.consumers()
        self._missing = {*self._pauses}.difference(self._known, self._forbidden)
        queues = [
            seen
            for queue in chosen
            for seen in _seen(queue, sizes, consumers, listed=listing is not None)
        ]
        return Look(
            queues=tuple(sorted(queues, key=lambda queue: queue.name)),
            listed=listing is not None,
            missing=frozenset(n for n in probes if n in sizes.refused and sizes.refused[n].missing),
            tried=frozenset(n for n in probes if n in sizes.refused or n in sizes.found)
            - sizes.forbidden,
            served=self._cluster.served if self._cluster and listing is not None else {},
            warnings=self._warnings(chosen),
        )

    def _sizes(
        self, chosen: Iterable[ListedQueue], due: Sequence[str], probes: Sequence[str]
    ) -> Sizes:
        known = [queue.name for queue in chosen if queue.can_be_asked] if self._may_ask else []
        sizes = self.link.sizes(known, [*due, *(probes if self._may_ask else ())])
        if self._login != self.link.logins:
            self._start_over()
        if not sizes.forbidden.isdisjoint((*known, *probes)):
            self._may_ask = False
        return sizes

    def suspect(self, names: Iterable[str]) -> None:
        """Try these names too where queues cannot be listed."""
        for name in names:
            self._pauses.setdefault(name, Pause())

    def _start_over(self) -> None:
        """After a new connection: what was there may be gone, and the other way round."""
        self._login = self.link.logins
        self._may_ask = True
        self._pauses = {name: Pause() for name in self._pauses}
        self._pause = Pause()

    def _list(self, tick: float) -> list[ListedQueue] | None:
        management = self._management
        if management is None or not self._pause.over(tick):
            return None
        try:
            rows = management.queues()
        except BackendError as error:
            self._failed(management, error, tick)
            return None
        self._trouble = None
        self._has_answered = True
        self._pause = Pause()
        found = [queue for row in rows if (queue := listed_queue(row)) is not None]
        if self._cluster is not None:
            self._cluster.look(found, tick)
        return found

    def _failed(self, management: Management, error: BackendError, tick: float) -> None:
        # The broker comes first: when it is lost, that is the failure to tell.
        self.link.knock()
        self._pause.failed(tick)
        self._trouble = str(error)
        if management.address.guessed and not self._has_answered:
            management.close()
            self._management = self._cluster = None

    def _learn(self, due: Sequence[str], sizes: Sizes, tick: float) -> list[ListedQueue]:
        """Note which queues of those tried exist; the new ones."""
        new = []
        self._forbidden = self._forbidden.difference(due) | sizes.forbidden
        for name in due:
            if name in sizes.found:
                new.append(ListedQueue(name))
                self._pauses[name] = Pause()
            else:
                self._pauses[name].failed(tick)
        for name, refused in sizes.refused.items():
            if refused.missing:
                self._known.pop(name, None)
        self._known.update((queue.name, queue) for queue in new)
        return new

    def _warnings(self, chosen: Iterable[ListedQueue]) -> tuple[str, ...]:
        found = [*self._cluster.warnings] if self._cluster and self._trouble is None else []
        if self._management is None:
            why = self._trouble or "it is switched off"
            found.append(
                "without the management API bgtop knows only the queues that ?queues=a,b names, "
                f"and not what is unacknowledged ({why})"
            )
        elif self._trouble is not None:
            found.append(f"what is unacknowledged is unknown: {self._trouble}")
        troubles = [f"there is no queue {name!r}" for name in self._named if name in self._missing]
        troubles += [
            f"since RabbitMQ 4.3 user {self.address.username!r} needs the right to read the queue "
            f"{name!r} to ask for it, or the management API"
            for name in self._named
            if name in self._forbidden and name not in self._known
        ]
        troubles += [words for queue in chosen if (words := _trouble_of(queue))]
        found += troubles[:MOST_TOLD]
        if len(troubles) > MOST_TOLD:
            found.append(f"{len(troubles) - MOST_TOLD} more queues cannot be read")
        return tuple(found)


def _management(address: RabbitAddress, settings: Settings) -> Management | None:
    place = address.management
    if place is None:
        return None
    from bgtop.backends.rabbit_management import Management

    patience = SECONDS_FOR_A_GUESS if place.guessed else settings.connect_timeout
    return Management(
        place,
        address,
        connect_timeout=min(patience, settings.connect_timeout),
        read_timeout=settings.read_timeout,
    )


def _trouble_of(queue: ListedQueue) -> str | None:
    if not queue.live:
        return f"the queue {queue.name!r} is down, so its numbers are unknown"
    if not queue.readable:
        return f"the name of the queue {queue.name!r} is no UTF-8, so its consumers are unknown"
    return None


def _seen(
    queue: ListedQueue, sizes: Sizes, consumers: Mapping[str, int] | None, *, listed: bool
) -> list[SeenQueue]:
    """The row of this queue; none when it has just been deleted.

    ``consumers`` are those of all queues that have any, where queues cannot be asked.
    """
    size, refused = sizes.found.get(queue.name), sizes.refused.get(queue.name)
    if refused is not None and refused.missing:
        return []
    # What cannot be asked is counted by the list, unless its node is down.
    counted = listed and size is None and queue.live
    return [
        SeenQueue(
            name=queue.name,
            ready=size.ready if size else (queue.ready if counted else None),
            unacked=queue.unacked if listed and queue.live else None,
            consumers=_consumers_of(queue, size, consumers),
            exclusive=queue.exclusive or (refused is not None and refused.exclusive),
            dead_letters_to=queue.dead_letters_to,
            holds_results=queue.holds_results,
        )
    ]


def _consumers_of(
    queue: ListedQueue, size: Size | None, consumers: Mapping[str, int] | None
) -> int | None:
    if size is not None:
        return size.consumers
    if consumers is None or not queue.can_be_asked:
        return None
    return consumers.get(queue.name, 0)
