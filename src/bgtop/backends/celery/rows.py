"""One queue as it is shown, and what is wrong with it in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.redis_errors import first_told, is_wrong_type, unread
from bgtop.model import QueueReading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from bgtop.backends.celery.catalog import Queue
    from bgtop.model import Age


class Row:
    """Ten thousand of them are built anew only where numbers changed."""

    __slots__ = ("_internal", "_last", "_told", "key", "name", "prefix")

    def __init__(self, name: str, queue: Queue) -> None:
        self.name = name
        self.key = queue.key
        self.prefix = queue.prefix
        self._internal = queue.internal
        self._last: QueueReading | None = None
        self._told: tuple[object, ...] = ()
        """What it was made of."""

    def reading(
        self,
        found: Mapping[int, int] | ReplyError,
        unacked: int | None,
        scheduled: int | None,
        oldest: Age | None,
        last_completed_at: datetime | None,
    ) -> QueueReading:
        """The reading of these numbers; ``found`` by step, or why it cannot be read."""
        last = self._last
        told = (found, unacked, scheduled, oldest, last_completed_at)
        if last is None or told != self._told:
            self._told = told
            counts = None if isinstance(found, ReplyError) else found
            last = self._last = QueueReading(
                name=self.name,
                depth=None if counts is None else sum(counts.values()),
                by_priority=counts,
                unacked=unacked,
                scheduled=scheduled,
                oldest=oldest,
                last_completed_at=last_completed_at,
                internal=self._internal,
                malformed=is_wrong_type(found),
            )
        return last


def refusals_in_words(rows: Sequence[Row], refusals: Mapping[int, ReplyError]) -> list[str]:
    """A line for each of the first queues that cannot be read, and one for all others."""

    def in_words(i: int) -> str:
        name = rows[i].name
        wrong = f"the key {name!r} is not a list, so its depth is unknown"
        return unread(f"the queue {name!r}", refusals[i], wrong)

    return first_told([*refusals], in_words, "queues")
