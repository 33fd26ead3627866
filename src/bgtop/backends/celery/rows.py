"""The queues as they are shown, and what is wrong with them in words."""

from __future__ import annotations

from itertools import compress
from operator import is_not
from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.celery.deliveries import Apart
from bgtop.backends.raw_names import text
from bgtop.backends.redis_errors import first_told, is_wrong_type, unread
from bgtop.model import QueueReading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from hiredis import ReplyError

    from bgtop.model import Age


class Found(NamedTuple):
    """What one poll found of all queues, by place in the plan or by key."""

    counts: Sequence[Mapping[int, int]]
    """By step; a queue whose mapping is the same object as before has the same depth."""
    refusals: Mapping[int, ReplyError]
    """Why a queue cannot be read."""
    ages: Mapping[int, Age]
    apart: Apart
    completed: Mapping[bytes, datetime]


_NOTHING = Found([], {}, {}, Apart(frozenset(), {}, {}), {})


class Row(NamedTuple):
    """One queue, under the name that is shown."""

    name: str
    key: bytes
    prefix: bytes
    internal: bool


class Rows:
    """The queues in the order in which they are shown; of ten thousand most rest at most times."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._readings: list[QueueReading] = []
        self._last = _NOTHING
        """What the readings were made of."""

    def plan(self, rows: list[Row]) -> None:
        """Show these from now on."""
        self.rows, self._readings, self._last = rows, [], _NOTHING

    def own_names(self) -> dict[str, str]:
        """What an application calls its queues, where they are shown with its prefix."""
        names = {row.name: text(row.key.removeprefix(row.prefix)) for row in self.rows}
        return {shown: name for shown, name in names.items() if shown != name}

    def readings(self, found: Found) -> tuple[QueueReading, ...]:
        """All of them, made anew only where something changed."""
        last, self._last = self._last, found
        known = self._readings
        if len(known) != len(self.rows) or last.apart.prefixes != found.apart.prefixes:
            self._readings = [self._reading(i, found) for i in range(len(self.rows))]
            return tuple(self._readings)
        places = _changed(last, found)
        keys = _changed_keys(last, found)
        if keys:
            places.update(i for i, row in enumerate(self.rows) if row.key in keys)
        for i in places:
            known[i] = self._reading(i, found)
        for i in (last.ages.keys() | found.ages.keys()) - places:
            known[i] = known[i].aged(found.ages.get(i))
        return tuple(known)

    def _reading(self, i: int, found: Found) -> QueueReading:
        row, refusal = self.rows[i], found.refusals.get(i)
        counts = None if refusal is not None else found.counts[i]
        told_apart = row.prefix in found.apart.prefixes
        return QueueReading(
            name=row.name,
            depth=None if counts is None else sum(counts.values()),
            by_priority=counts,
            unacked=found.apart.unacked.get(row.key, 0) if told_apart else None,
            scheduled=found.apart.scheduled.get(row.key, 0) if told_apart else None,
            oldest=found.ages.get(i),
            last_completed_at=found.completed.get(row.key),
            internal=row.internal,
            malformed=is_wrong_type(refusal),
        )


def _changed(last: Found, found: Found) -> set[int]:
    """The places whose depth is another, or was or is refused."""
    places = {*last.refusals, *found.refusals}
    if found.counts is not last.counts:
        differ = map(is_not, last.counts, found.counts)
        places.update(compress(range(len(found.counts)), differ))
    return places


def _changed_keys(last: Found, found: Found) -> set[bytes]:
    """The keys of which something else is told than their depth and age."""
    pairs: list[tuple[Mapping[bytes, object], Mapping[bytes, object]]] = [
        (last.apart.unacked, found.apart.unacked),
        (last.apart.scheduled, found.apart.scheduled),
        (last.completed, found.completed),
    ]
    return {
        key
        for before, after in pairs
        if before != after
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    }


def refusals_in_words(rows: Sequence[Row], refusals: Mapping[int, ReplyError]) -> list[str]:
    """A line for each of the first queues that cannot be read, and one for all others."""

    def in_words(i: int) -> str:
        name = rows[i].name
        wrong = f"the key {name!r} is not a list, so its depth is unknown"
        return unread(f"the queue {name!r}", refusals[i], wrong)

    return first_told([*refusals], in_words, "queues")
