"""The Dramatiq backend for RabbitMQ: one poll is two round trips, or one without management API.

Dramatiq declares three queues for each one of the application: ``Q``; ``Q.DQ``, from which workers
fetch delayed messages into their memory at once; and ``Q.XQ``, which nobody consumes, for dead.
Its workers give no names to their connections, so that they are there is all that is inferred.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bgtop.backends.dramatiq.rabbit_actions import Actions
from bgtop.backends.rabbit_queues import DRAMATIQ, dramatiq_queues, systems_of, with_its_shadows
from bgtop.backends.rabbit_watch import Watch
from bgtop.model import (
    BackendInfo,
    Capability,
    QueueReading,
    Reading,
    WorkerReading,
    WorkerState,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgtop.actions import Action, Outcome
    from bgtop.backends.rabbit_queues import ListedQueue
    from bgtop.backends.rabbit_url import RabbitAddress
    from bgtop.backends.rabbit_watch import Look, SeenQueue
    from bgtop.contracts import Interest, Settings

ALWAYS = frozenset({Capability.DEPTH, Capability.DEAD, Capability.CONSUMERS})
WITH_MANAGEMENT = ALWAYS | {Capability.UNACKED, Capability.SCHEDULED, Capability.WORKERS}

DEFAULT_QUEUE = "default"
INFERRED = "dramatiq (inferred)"


class DramatiqOnRabbit:
    """Implements :class:`bgtop.contracts.Backend`; a poll asks only.

    Single messages are not shown: to look at one would take it out of its queue for a moment.
    """

    def __init__(self, address: RabbitAddress, settings: Settings) -> None:
        names = (*address.queues, DEFAULT_QUEUE)
        guesses = (one for name in names for one in with_its_shadows(name))
        self._watch = Watch(address, settings, guesses=guesses)
        self._actions = Actions(self._watch.link, settings.read_timeout)
        self.info = self._describe()

    def _describe(self) -> BackendInfo:
        """What can be told, as the first look found it."""
        return BackendInfo(
            system="dramatiq",
            broker="rabbitmq",
            url=self._watch.address.url,
            capabilities=WITH_MANAGEMENT if self._watch.has_management else ALWAYS,
            verbs=Actions.verbs(),
        )

    def close(self) -> None:
        """Free all connections; safe from another thread, twice, and during a poll."""
        self._watch.close()

    def poll(self, interest: Interest) -> Reading:  # noqa: ARG002  # there are no internal queues
        """One look; raises :class:`bgtop.contracts.BackendError`."""
        before = self._watch.spent
        now = time.time()
        look = self._watch.look(time.monotonic(), self._choose)
        if self._watch.has_management != (Capability.UNACKED in self.info.capabilities):
            self.info = self._describe()
        spent = self._watch.spent
        queues = tuple(_queues(look))
        return Reading(
            taken_at=datetime.fromtimestamp(now, timezone.utc),
            queues=queues,
            workers=_workers(queues) if self._watch.has_management else (),
            broker_version=self._watch.link.version,
            round_trips=spent[0] - before[0],
            commands=spent[1] - before[1],
            warnings=look.warnings,
        )

    def perform(self, action: Action) -> Outcome:
        """Do this in the queues there are now; raises :class:`bgtop.contracts.BackendError`."""
        self._actions.check(action)
        look = self._watch.look(time.monotonic(), self._choose)
        return self._actions.perform(action, sorted(dramatiq_queues(look.queues)))

    def _choose(self, queues: list[ListedQueue]) -> list[ListedQueue]:
        """Those of Dramatiq; where only named queues are known, whichever of them is there."""
        if not self._watch.has_management:
            return queues
        systems = systems_of(queues)
        return [queue for queue in queues if systems[queue.name] == DRAMATIQ]


def _queues(look: Look) -> list[QueueReading]:
    seen = {queue.name: queue for queue in look.queues}
    names = sorted(dramatiq_queues(look.queues))
    return [_queue(seen, name) for name in names]


def _queue(seen: Mapping[str, SeenQueue], name: str) -> QueueReading:
    main, delayed, dead = (seen[one] for one in with_its_shadows(name))
    # Without what is fetched, the messages in workers' memories, the rest would be far too few.
    known = delayed.ready is not None and delayed.unacked is not None
    return QueueReading(
        name=name,
        depth=main.ready,
        unacked=main.unacked,
        scheduled=(delayed.ready or 0) + (delayed.unacked or 0) if known else None,
        dead=dead.ready,
        consumers=main.consumers,
    )


def _workers(queues: tuple[QueueReading, ...]) -> tuple[WorkerReading, ...]:
    """One row for all workers, while any of them consumes."""
    if not any(queue.consumers for queue in queues):
        return ()
    state = WorkerState.ACTIVE if any(queue.unacked for queue in queues) else WorkerState.IDLE
    if state is WorkerState.IDLE and any(queue.unacked is None for queue in queues):
        state = WorkerState.UNKNOWN  # while the management API is away
    return (WorkerReading(name=INFERRED, state=state),)
