"""Celery's workers on RabbitMQ: by their heartbeats, and by the mailboxes only they can own.

The queue ``<node>.celery.pidbox`` is exclusive: it is there exactly as long as its worker is
connected. Where queues cannot be listed, single mailboxes are asked for.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bgtop.backends.celery.mailboxes import Mailboxes
from bgtop.backends.celery.roster import PATIENCE, Roster
from bgtop.backends.celery.wire import worker_events_in
from bgtop.backends.rabbit_events import Events
from bgtop.backends.rabbit_queues import is_celerys_own, node_of
from bgtop.backends.rabbit_watch import Pause
from bgtop.model import WorkerState
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bgtop.backends.rabbit_link import RabbitLink
    from bgtop.backends.rabbit_watch import Look
    from bgtop.model import WorkerReading


class Workers:
    """Keeps the roster up to date: per poll ``drain``, ``probes``, ``absorb``, ``listen``."""

    def __init__(self, link: RabbitLink) -> None:
        self.roster = Roster()
        self._events = Events(link, "celeryev", "worker.#", self._hear)
        self._pause = Pause()
        self._looked_at = time.time()
        self._began_at = 0.0
        self._began = float("-inf")
        self._mailboxes = Mailboxes(self.roster)
        self._listed = False
        self._queues: dict[str, tuple[str, ...]] = {}

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why workers cannot be heard at present."""
        refused = self._events.refused
        return () if refused is None else (f"no heartbeats: {refused}",)

    def _hear(self, _topic: str, body: bytes) -> None:
        now = time.time()
        for event in worker_events_in(body):
            self.roster.hear(b"", event, since=self._looked_at, now=now)

    def drain(self, now: float) -> None:
        """Fold what arrived since the last look."""
        self._events.poll()
        self._looked_at = now

    def probes(self, now: float, tick: float) -> list[str]:
        """Mailboxes to ask for; nothing where they are listed."""
        return [] if self._listed else self._mailboxes.probes(now, tick)

    def absorb(self, look: Look, mailboxes: Iterable[str], now: float, tick: float) -> None:
        """Learn who is connected from a look."""
        self._listed = look.listed
        self._queues = _queues_of_nodes(look.served)
        if look.listed:
            nodes = {node for node in map(node_of, mailboxes) if node is not None}
            self.roster.announce({b"": nodes}, now, proof=True)
            return
        self._mailboxes.absorb(look.tried, look.missing, now, tick)
        self.roster.announce({b"": self._mailboxes.vouched}, now)

    def listen(self, now: float, tick: float, anyone: bool) -> None:
        """Begin to listen where there is a sign of workers; their exchange may come later."""
        if self._events.listening:
            return
        if anyone or self._began < 0:
            self._try_to_listen(now, tick)

    def _try_to_listen(self, now: float, tick: float) -> None:
        if not self._pause.over(tick):
            return
        if self._events.listen():
            self._pause = Pause()
            self._looked_at = self._began_at = now
            self._began = tick
        else:
            self._pause.failed(tick)
            self._began = max(self._began, 0.0)

    def is_sure(self, tick: float, anyone: bool) -> bool:
        """Whether who is silent by now is not just about to speak."""
        if not self._events.listening or tick - self._began >= PATIENCE:
            return True
        if self._listed and self.roster.anyone_announced:
            return self.roster.all_heard(self._began_at)
        return not anyone

    def readings(self, now: float, dead_after: float) -> tuple[WorkerReading, ...]:
        """All workers; one that is connected and silent is neither dead nor known to be well."""
        found = self.roster.readings(WorkerState.UNKNOWN, quiet_since=now - dead_after)
        return tuple(replace(one, queues=self._queues.get(one.name)) for one in found)


def _queues_of_nodes(served: Mapping[str, frozenset[str]]) -> dict[str, tuple[str, ...]]:
    """Which queues each node takes tasks from: a worker's mailbox is on the same connection."""
    found = {}
    for queues in served.values():
        nodes = [node for node in map(node_of, queues) if node is not None]
        tasks = tuple(sorted(queue for queue in queues if not is_celerys_own(queue)))
        found.update(dict.fromkeys(nodes, tasks))
    return found
