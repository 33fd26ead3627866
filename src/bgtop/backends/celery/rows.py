"""One queue as it is shown, and what is wrong with it in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.redis_errors import code_of
from bgtop.model import QueueReading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from hiredis import ReplyError

    from bgtop.backends.celery.catalog import Queue
    from bgtop.model import Age

_MOST_REFUSED = 5


class Numbers(NamedTuple):
    """What a poll found of one queue; ``counts`` is by priority step."""

    counts: Mapping[int, int] | None
    unacked: int | None
    scheduled: int | None
    oldest: Age | None = None
    last_completed_at: datetime | None = None


class Row:
    """Ten thousand of them are built anew only where numbers changed."""

    __slots__ = ("_internal", "_last", "_numbers", "key", "name", "prefix")

    def __init__(self, name: str, queue: Queue) -> None:
        self.name = name
        self.key = queue.key
        self.prefix = queue.prefix
        self._internal = queue.internal
        self._numbers: Numbers | None = None
        self._last = QueueReading(name=name)

    def reading(self, numbers: Numbers) -> QueueReading:
        """The reading of these numbers."""
        if self._numbers != numbers:
            self._numbers = numbers
            counts, unacked, scheduled, oldest, last_completed_at = numbers
            self._last = QueueReading(
                name=self.name,
                depth=None if counts is None else sum(counts.values()),
                by_priority=counts,
                unacked=unacked,
                scheduled=scheduled,
                oldest=oldest,
                last_completed_at=last_completed_at,
                internal=self._internal,
            )
        return self._last


def refusals_in_words(rows: Sequence[Row], refusals: Mapping[int, ReplyError]) -> list[str]:
    """A line for each of the first queues that cannot be read, and one for all others."""
    found = [_refused(rows[i].name, refusal) for i, refusal in refusals.items()]
    if len(found) <= _MOST_REFUSED:
        return found
    return [*found[:_MOST_REFUSED], f"{len(found) - _MOST_REFUSED} more queues cannot be read"]


def _refused(name: str, refusal: ReplyError) -> str:
    if code_of(refusal) == "WRONGTYPE":
        return f"the key {name!r} is not a list, so its depth is unknown"
    if code_of(refusal) == "NOPERM":
        return f"the server does not let us read the queue {name!r}"
    return f"the queue {name!r} cannot be read ({code_of(refusal)})"
