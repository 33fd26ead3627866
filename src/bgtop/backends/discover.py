"""Which job systems live at this Redis: what to do with a URL that names none.

What systems call their registries is asked for by name, in one trip. The names of all keys are read
besides, ten thousand a poll at most, for systems that keep no registry and for prefixes nobody told
us. It is the only search at this place: the systems found there are told the names they look for.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.recognition import Recognition
from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.redis_search import STEPS_OF_FIRST_POLLS, SharedSearch, first_steps
from bgtop.backends.redis_url import parse_redis_url
from bgtop.contracts import BrokerPlugin, NotPermitted, WatchOnly
from bgtop.model import BackendInfo, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_url import RedisAddress
    from bgtop.contracts import Finding, Interest, Mark, Settings

STEPS_OF_LATER_POLLS = 10
"""What changes in a database that was read once is not urgent."""

_BLIND = "job systems cannot be recognised: the server does not let us ask for TYPE"


class RedisProber(WatchOnly):
    """Implements :class:`bgtop.contracts.Prober` with DBSIZE, TYPE and SCAN."""

    def __init__(
        self, address: RedisAddress, settings: Settings, marks: Mapping[str, Sequence[Mark]]
    ) -> None:
        self.info = BackendInfo(system=None, broker="redis", url=address.url)
        self._link = RedisLink(
            address,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
        )
        self._recognition = Recognition(marks)
        self._search = SharedSearch()
        self._place = f"{address.place}/{address.db}"
        self._asked: list[bytes] = []
        self._due = False
        """Whether the keys known by name are still to be asked for in this poll."""
        self._blind = False

    @property
    def found(self) -> tuple[Finding, ...]:
        """The systems recognised so far."""
        return self._recognition.found

    @property
    def shared(self) -> SharedSearch:
        """The search of all names, for the systems found here."""
        return self._search

    def close(self) -> None:
        """Free the connection; safe from another thread, twice, and during a poll."""
        self._link.close()

    def poll(self, interest: Interest) -> Reading:  # noqa: ARG002  # nothing here is of a system
        """One bounded step; raises :class:`bgtop.contracts.BackendError`."""
        before = self._link.round_trips, self._link.commands
        began = time.monotonic()
        if not self._link.connected:
            self._search.start_over()
        self._due = True
        found = len(self.found)
        urgent = not (self._searched and self._search.told_everybody)
        steps = STEPS_OF_FIRST_POLLS if urgent else STEPS_OF_LATER_POLLS
        for _ in first_steps(self._settled, began, steps):
            recognition = self._recognition
            self._ask(recognition.questions() if self._due else recognition.suspects, began)
            self._due = False
        if self._blind and not self.found and self._search.complete:
            # Nothing is shown then, and nothing would say so to whoever reads the exit status.
            raise NotPermitted(f"{self._place}: {_BLIND}; allow it, or name a system (rq+redis://)")
        return Reading(
            taken_at=datetime.now(timezone.utc),
            broker_version=self._link.version,
            round_trips=self._link.round_trips - before[0],
            commands=self._link.commands - before[1],
            warnings=tuple(self._warnings()),
            # Who was found just now will want to be told.
            complete=self._searched and self._search.told_everybody and len(self.found) == found,
        )

    def _settled(self) -> bool:
        """Whether there is nothing more to ask until the next poll."""
        return not (self._due or self._recognition.suspects or self._search.under_way)

    @property
    def _searched(self) -> bool:
        return self._search.complete and not self._recognition.suspects

    def _ask(self, keys: list[bytes], now: float) -> None:
        self._asked = keys
        types = [pack(*(("TYPE", key) for key in keys))] if keys else []
        names = self._search.commands(now)
        self._link.ask(
            (types, self._absorb_types), ([pack(*names)] if names else [], self._absorb_names)
        )

    def _absorb_types(self, replies: Sequence[Reply]) -> None:
        for key, reply in zip(self._asked, replies, strict=True):
            # A key we may not look at is none of a system that we could watch.
            kind = reply.decode("ascii", "replace") if isinstance(reply, bytes) else "none"
            self._recognition.answer(key, kind)
        self._blind = all(_is_command_refused(reply) for reply in replies)

    def _absorb_names(self, replies: Sequence[Reply]) -> None:
        step = self._search.absorb(replies, time.monotonic())
        if step is not None:
            self._recognition.look_at(step.keys)

    def _warnings(self) -> list[str]:
        if self._blind:
            return [_BLIND]
        if self._search.refusal is not None:
            old = "unknown command" in str(self._search.refusal)
            reason = "is too old to" if old else "does not let us"
            return [f"job systems may be missing: the server {reason} list its keys"]
        if not self._searched:
            return [f"looking for job systems: {self._search.progress}"]
        if not self.found:
            count = self._search.keys
            keys = f"{count:,} key{'' if count == 1 else 's'}"
            return [f"no job system found at {self._place}: looked at {keys}"]
        return []


def _is_command_refused(reply: Reply) -> bool:
    return isinstance(reply, ReplyError) and "'type'" in str(reply)


def _probe(url: str, settings: Settings, marks: Mapping[str, Sequence[Mark]]) -> RedisProber:
    return RedisProber(parse_redis_url(url), settings, marks)


plugin = BrokerPlugin(name="redis", probe=_probe)
