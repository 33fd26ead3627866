"""arq on Redis: one poll is three round trips, whatever the database holds.

The state is split by what it knows: :mod:`names` the queues, :mod:`heads` what waits and runs,
:mod:`checks` what workers reported. All of it belongs to the thread that polls.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bgtop.backends.arq.actions import Actions
from bgtop.backends.arq.checks import Checks
from bgtop.backends.arq.clock import ServerClock
from bgtop.backends.arq.heads import Heads
from bgtop.backends.arq.looking import Looking, Scope
from bgtop.backends.arq.names import MOST_QUEUES, Names
from bgtop.backends.raw_names import labels
from bgtop.backends.redis_errors import first_told, is_wrong_type, unread
from bgtop.backends.redis_link import RedisLink
from bgtop.backends.redis_search import first_steps, steps_of_a_new_pass
from bgtop.contracts import BackendError, Interest
from bgtop.model import BackendInfo, Capability, QueueReading, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hiredis import ReplyError

    from bgtop.actions import Action, Outcome
    from bgtop.backends.redis_link import Part
    from bgtop.backends.redis_url import RedisAddress
    from bgtop.contracts import Settings

COMMANDS_PER_TRIP = 30_000
"""Numbers of 2,500 queues and more. The answers are short, so the server holds little for us."""

CAPABILITIES = frozenset(
    {
        *(Capability.DEPTH, Capability.SCHEDULED, Capability.RUNNING),
        *(Capability.OLDEST_AGE, Capability.WORKERS, Capability.JOBS),
    }
)

_POLLS_BEFORE_ACTING = 20
"""How often a source is polled until what was found is measured."""


class ArqOnRedis:
    """Implements :class:`bgtop.contracts.Backend`; a poll sends read-only commands."""

    def __init__(
        self, address: RedisAddress, settings: Settings, configured: tuple[bytes, ...] = ()
    ) -> None:
        self.info = BackendInfo(
            system="arq",
            broker="redis",
            url=address.url,
            capabilities=CAPABILITIES,
            verbs=Actions.verbs(),
        )
        self._link = RedisLink(
            address,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
        )
        self._looking = Looking(self._link)
        self._actions = Actions(self._link, self._looking)
        self._clock = ServerClock()
        self._names = Names(configured)
        self._heads = Heads()
        self._checks = Checks()
        self._planned: int | None = None
        self._labels: dict[bytes, str] = {}

    def close(self) -> None:
        """Free the connection; safe from another thread, twice, and during a poll."""
        self._link.close()

    def poll(self, interest: Interest, /) -> Reading:
        """One look; raises :class:`bgtop.contracts.BackendError`."""
        link = self._link
        before = link.round_trips, link.commands
        tick = time.monotonic()
        if not link.connected:
            self._names.search.start_over()
        for _ in first_steps(lambda: self._names.searched, tick):
            link.ask(self._search(tick))
        self._measure(tick)
        query = interest.jobs
        jobs = None if query is None else self._looking.answer(query, self._scope())
        return Reading(
            taken_at=datetime.now(timezone.utc),
            queues=tuple(sorted(map(self._queue, self._labels), key=lambda queue: queue.name)),
            workers=self._checks.workers(self._labels),
            broker_version=link.version,
            round_trips=link.round_trips - before[0],
            commands=link.commands - before[1],
            warnings=tuple(self._warnings()),
            complete=self._names.settled
            and self._planned == self._names.version
            and not self._heads.pending,
            jobs=jobs,
        )

    def perform(self, action: Action, /) -> Outcome:
        """Do this; queues are looked for and measured anew before.

        Raises :class:`bgtop.contracts.BackendError`.
        """
        self._actions.check(action)
        self.poll(Interest())
        for _ in steps_of_a_new_pass(self._names.search):
            self._link.ask(self._search(time.monotonic()))
        for _ in range(_POLLS_BEFORE_ACTING):
            if self.poll(Interest()).complete:
                break
        return self._actions.perform(action, self._scope())

    def _scope(self) -> Scope:
        found = self._heads.found
        running = {name: numbers.running or 0 for name, numbers in found.items()}
        return Scope(self._labels, running, self._clock.now_ms())

    def _search(self, tick: float) -> Part:
        names = self._names
        return names.requests(tick), lambda replies: names.absorb(replies, time.monotonic())

    def _measure(self, tick: float) -> None:
        """How large and how late it is; the ids at the front; what becomes of them."""
        names, heads, checks, link = self._names, self._heads, self._checks, self._link
        if self._planned != names.version:
            self._planned = names.version
            self._labels = labels(names.known)
            heads.plan(tuple(names.known))
            checks.plan(tuple(names.known))
        link.ask(
            (self._clock.requests(), self._clock.absorb),
            (heads.sizes(), lambda replies: heads.absorb_sizes(replies, tick)),
            (checks.requests(), checks.absorb),
            (names.sizes(), lambda replies: names.absorb_sizes(replies, tick)),
            self._search(tick),
            at_once=COMMANDS_PER_TRIP,
        )
        now_ms = self._clock.now_ms()
        try:
            link.ask(
                (heads.ids(now_ms), heads.absorb_ids),
                (names.first_ids(), names.absorb_first_ids),
                at_once=COMMANDS_PER_TRIP,
            )
        except BackendError as fault:
            # Other kinds tell of the server; this one of an answer larger than we hold.
            if type(fault) is not BackendError:
                raise
            heads.leave_alone(tick)
        link.ask(
            (heads.states(now_ms), lambda replies: heads.absorb_states(replies, now_ms)),
            (names.proofs(), names.absorb_proofs),
            at_once=COMMANDS_PER_TRIP,
        )

    def _queue(self, name: bytes) -> QueueReading:
        numbers = self._heads.found[name]
        return QueueReading(
            name=self._labels[name],
            depth=numbers.waiting,
            scheduled=numbers.scheduled,
            running=numbers.running,
            oldest=numbers.oldest,
            malformed=is_wrong_type(numbers.refusal),
        )

    def _warnings(self) -> Iterator[str]:
        names = self._names
        if not names.searched:
            yield f"still looking for queues: {names.search.progress}"
        if names.search.refusal is not None:
            yield (
                "queues may be missing: the server does not let us list its keys by their type "
                "(name them in the address: ?queue=NAME)"
            )
        if names.full:
            yield f"there are more than {MOST_QUEUES:,} queues: some are left out"
        yield from self._checks.warnings()
        found = self._heads.found
        refused = [
            *(_refused(self._labels[n], f.refusal) for n, f in found.items() if f.refusal),
            *(_unseen(self._labels[n]) for n, f in found.items() if f.unseen),
        ]
        yield from first_told(refused, str, "queues")
        # Without TIME the clock of this machine does.
        yield from self._link.not_permitted("TIME")


def _refused(name: str, refusal: ReplyError) -> str:
    wrong = f"the depth of {name!r} is not known: its key is not of the type that arq writes"
    return unread(f"the queue {name!r}", refusal, wrong)


def _unseen(name: str) -> str:
    return (
        f"what runs and what waits in {name!r} cannot be told apart: its jobs could not be looked "
        "at one by one"
    )
