"""Which job systems live in this vhost of RabbitMQ: what to do with a URL that names none.

The names of its queues tell, where the management API lists them; without it the names systems
give by default are tried. An exchange tells too: Celery's stay when its workers are gone.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from bgtop.backends.recognition import Recognition
from bgtop.contracts import BrokerPlugin, WatchOnly
from bgtop.model import BackendInfo, Reading
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import amqp

    from bgtop.backends.rabbit_queues import ListedQueue
    from bgtop.backends.rabbit_url import RabbitAddress
    from bgtop.contracts import Finding, Interest, Mark, Settings

SECONDS_BETWEEN_LOOKS: Final = 60.0
"""Once something is found; a system that joins is seen that late."""

EXCHANGE: Final = "exchange"
QUEUE: Final = "queue"


class RabbitProber(WatchOnly):
    """Implements :class:`bgtop.contracts.Prober` with passive declarations and one list."""

    def __init__(
        self, address: RabbitAddress, settings: Settings, marks: Mapping[str, Sequence[Mark]]
    ) -> None:
        from bgtop.backends.rabbit_watch import Watch

        named = [mark for some in marks.values() for mark in some if "*" not in mark.name]
        self.info = BackendInfo(system=None, broker="rabbitmq", url=address.url)
        self._place = f"{address.place}, vhost {address.vhost!r}"
        self._exchanges = [mark.name for mark in named if mark.type == EXCHANGE]
        guesses = [mark.name for mark in named if mark.type != EXCHANGE]
        self._watch = Watch(address, settings, guesses=guesses)
        self._recognition = Recognition(marks)
        self._names: set[str] = set()
        self._last: Reading | None = None
        self._next_look_at = 0.0

    @property
    def found(self) -> tuple[Finding, ...]:
        """The systems recognised so far."""
        return self._recognition.found

    @property
    def shared(self) -> None:
        """Nothing: its queues are looked at by whoever watches them."""
        return None

    def close(self) -> None:
        """Free the connections; safe from another thread, twice, and during a poll."""
        self._watch.close()

    def poll(self, interest: Interest) -> Reading:  # noqa: ARG002  # nothing here is of a system
        """One look at all names; raises :class:`bgtop.contracts.BackendError`."""
        tick, now = time.monotonic(), datetime.now(timezone.utc)
        if self._last is not None and self.found and tick < self._next_look_at:
            return replace(self._last, taken_at=now, round_trips=0, commands=0)
        before = self._watch.spent
        look = self._watch.look(tick, self._note)
        self._watch.link.use(self._ask_for_exchanges)
        self._recognise()
        self._next_look_at = tick + SECONDS_BETWEEN_LOOKS
        after = self._watch.spent
        self._last = Reading(
            taken_at=now,
            broker_version=self._watch.link.version,
            round_trips=after[0] - before[0],
            commands=after[1] - before[1],
            warnings=self._warnings(listed=look.listed),
        )
        return self._last

    def _note(self, queues: list[ListedQueue]) -> list[ListedQueue]:
        """Remember the names; nothing is to be asked about them."""
        self._names.update(queue.name for queue in queues)
        return []

    def _ask_for_exchanges(self, connection: amqp.Connection) -> None:
        from amqp.exceptions import AccessRefused, NotFound

        for name in self._exchanges:
            try:
                connection.channel().exchange_declare(name, "topic", passive=True)
            except (NotFound, AccessRefused):
                continue  # which closed the channel
            finally:
                self._watch.link.round_trips += 2
            self._recognition.answer(name.encode(), EXCHANGE)

    def _recognise(self) -> None:
        names = [name.encode("utf-8", "surrogatepass") for name in sorted(self._names)]
        self._recognition.look_at(names)
        for name in names:
            self._recognition.answer(name, QUEUE)

    def _warnings(self, *, listed: bool) -> tuple[str, ...]:
        if self.found:
            return ()
        count = len(self._names)
        seen = f"looked at {count:,} queue{'' if count == 1 else 's'}"
        if not listed:
            seen = "without the management API its queues cannot be listed"
        return (f"no job system found at {self._place}: {seen}; celery+amqp:// names one",)


def _probe(url: str, settings: Settings, marks: Mapping[str, Sequence[Mark]]) -> RabbitProber:
    from bgtop.backends.rabbit_url import parse_rabbit_url

    return RabbitProber(parse_rabbit_url(url), settings, marks)


plugin = BrokerPlugin(name="amqp", probe=_probe, requires="pip install 'bgtop[rabbitmq]'")
